"""The pieces of HTML that the report is made of: numbers, tables, figures.

The names and settings of a run may be a stranger's. So every string is text, whose special
characters are escaped where it meets HTML, unless its type says that it is HTML: ``Html``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING

from ..plots.style import BLUE
from ..terminal import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Sequence[str]


class Html(str):
    """A string that is HTML already. Operations of ``str`` return text again, not ``Html``."""


def html(value: str) -> Html:
    """Return ``Html`` as it is, and any other string as text: with its characters escaped."""
    return value if isinstance(value, Html) else Html(escape(printable(value)))


def markup(form: str, **values: str) -> Html:
    """Return HTML with text, or other HTML, in its places: ``markup("<b>{x}</b>", x="text")``."""
    return Html(form.format(**{name: html(value) for name, value in values.items()}))


def lines(text: str) -> Html:
    """Return text of several lines, for a ``pre`` element."""
    return Html("\n".join(map(html, text.split("\n"))))


def fill(template: str, page: Mapping[str, str]) -> str:
    """Return a page with text, or HTML, in its places: ``$name``."""
    return Template(template).substitute({name: html(value) for name, value in page.items()})


def number(value: float | None, form: str, unit: str = "") -> Html:
    """Return a number rounded by ``form``; ``<data value=...>`` around it keeps all digits."""
    if value is None:
        return Html("&ndash;")
    digits = markup(
        '<data value="{all}">{rounded}</data>', all=repr(value), rounded=f"{value:{form}}"
    )
    return Html(digits + html(unit))


def table(caption: str, head: Row, rows: Iterable[Row], kind: str = "figures") -> Html:
    """Return a table; the first cell of each row is its heading."""
    columns = "".join(f'<th scope="col">{html(cell)}</th>' for cell in head)
    header = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{html(first)}</th>'
        + "".join(f"<td>{html(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    inner = f"<caption>{html(caption)}</caption>{header}<tbody>{body}</tbody>"
    return _scrolling(caption, Html(f'<table class="{html(kind)}">{inner}</table>'))


def _scrolling(label: str, inner: Html) -> Html:
    """Return ``inner`` in a box that scrolls, by keyboard too, if it is wider than the screen."""
    return markup(
        '<div class="wide" role="region" aria-label="{label}" tabindex="0">{inner}</div>',
        label=label,
        inner=inner,
    )


def figure(name: str, drawn: Figure, alt: str) -> Html:
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
    # A wide figure scrolls on a phone, where it would be too small to read.
    style = f"max-width:{1.4 * width:.0f}px;min-width:{490 if width > 480 else 320}px"
    picture = markup(
        '<svg viewBox="0 0 {width} {height}" style="{style}" role="img" aria-label="{label}">'
        "{drawing}</svg>",
        width=str(width),
        height=str(height),
        style=style,
        label=alt,
        drawing=Html(drawing),
    )
    return _scrolling(alt, picture)
