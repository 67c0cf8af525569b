"""The pieces of HTML that the report is made of: numbers, tables, figures."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..plots.style import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Sequence[str]


def number(value: float | None, form: str) -> str:
    """Return a number rounded by ``form``; ``<data value=...>`` around it keeps all digits."""
    return "&ndash;" if value is None else f'<data value="{value!r}">{value:{form}}</data>'


def table(caption: str, head: Row, rows: Iterable[Row], kind: str = "figures") -> str:
    """Return a table of HTML cells; the first cell of each row is its heading."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    header = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    inner = f"<caption>{caption}</caption>{header}<tbody>{body}</tbody>"
    return _scrolling(caption, f'<table class="{kind}">{inner}</table>')


def _scrolling(label: str, inner: str) -> str:
    """Return ``inner`` in a box that scrolls, by keyboard too, if it is wider than the screen."""
    name = escape(label)
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0">{inner}</div>'


def figure(name: str, drawn: Figure, alt: str) -> str:
    """Return a Figure as SVG in the colours of the page; ``name`` makes its ids unique."""
    file = io.StringIO()
    drawn.savefig(file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.05)
    svg = file.getvalue()
    found = re.search(r'<svg[^>]* viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', svg, re.DOTALL)
    if found is None:
        raise ValueError("Matplotlib wrote an SVG file without a viewBox")
    width, height, drawing = float(found[1]), float(found[2]), found[3]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("xlink:href", "href").replace('id="', f'id="{name}-')
    drawing = drawing.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    drawing = drawing.replace("#000000", "currentColor").replace(BLUE.lower(), "var(--blue)")
    label = escape(alt)
    # A wide figure scrolls on a phone, where it would be too small to read.
    style = f"max-width:{1.4 * width:.0f}px;min-width:{490 if width > 480 else 320}px"
    return _scrolling(
        alt,
        f'<svg viewBox="0 0 {width} {height}" style="{style}" role="img" aria-label="{label}">'
        f"{drawing}</svg>",
    )
