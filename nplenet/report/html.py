"""The pieces of HTML that the report is made of: numbers, tables, figures.

The names and settings of a run may be a stranger's. So every string is text, whose special
characters are escaped where it meets HTML, unless its type says that it is HTML: ``Html``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import zip_longest
from string import Template
from typing import TYPE_CHECKING, Any

from ..plots.style import BLUE
from ..terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

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
    """Return a table; the first cell of each row is its heading.

    Of the kind "stacked", each row becomes a small block on a phone, whose cells name themselves.
    """
    names = head if "stacked" in kind else ("",) * len(head)
    columns = "".join(f'<th scope="col">{html(cell)}</th>' for cell in head)
    header = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{html(first)}</th>'
        + "".join(_cell(cell, name) for cell, name in zip_longest(rest, names[1:], fillvalue=""))
        + "</tr>"
        for first, *rest in rows
    )
    inner = f"<caption>{html(caption)}</caption>{header}<tbody>{body}</tbody>"
    return _scrolling(caption, Html(f'<table class="{html(kind)}">{inner}</table>'))


def _cell(cell: str, name: str) -> Html:
    label = markup(' data-name="{name}"', name=name) if name else ""
    return markup("<td{label}>{cell}</td>", label=label, cell=cell)


def _scrolling(label: str, inner: Html) -> Html:
    """Return ``inner`` in a box that scrolls, by keyboard too, if it is wider than the screen."""
    return markup(
        '<div class="wide" role="region" aria-label="{label}" tabindex="0">{inner}</div>',
        label=label,
        inner=inner,
    )


def figure(name: str, drawn: Figure, alt: str, box: Bbox | None = None) -> Html:
    """Return a Figure, or its part in ``box`` (in inches), as SVG in the colours of the page.

    ``name`` makes its ids unique.
    """
    file = io.StringIO()
    crop: Any = box or "tight"
    drawn.savefig(file, format="svg", transparent=True, bbox_inches=crop, pad_inches=0.05)
    svg = file.getvalue()
    found = re.search(r'<svg[^>]* viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', svg, re.DOTALL)
    if found is None:
        raise ValueError("Matplotlib wrote an SVG file without a viewBox")
    width, height, drawing = float(found[1]), float(found[2]), found[3]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("xlink:href", "href").replace('id="', f'id="{name}-')
    drawing = drawing.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    drawing = drawing.replace("#000000", "currentColor").replace(BLUE.lower(), "var(--blue)")
    return markup(
        '<svg viewBox="0 0 {width} {height}" {more}>{drawing}</svg>',
        width=str(width),
        height=str(height),
        more=_alone(1.4 * width, alt) if alt else Html('aria-hidden="true"'),
        drawing=Html(drawing),
    )


def _alone(width: float, alt: str) -> Html:
    """Return the attributes of a picture that is not part of another: its width and its meaning."""
    form = 'style="max-width:{width}px" role="img" aria-label="{alt}"'
    return markup(form, width=f"{width:.0f}", alt=alt)


def charts(name: str, drawn: Figure, alt: str, groups: Sequence[Sequence[Axes]]) -> Html:
    """Return a Figure cut into groups of its axes: side by side on a desk, stacked on a phone.

    All parts have the size of the first, so that their axes are in line.
    """
    if not groups:
        return figure(name, drawn, alt)
    from matplotlib import rc_context

    drawn.draw_without_rendering()  # places the axes, which then stay there
    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        drawn.set_layout_engine(None)  # not "none", for which each part would be drawn twice
    parts = []
    for k, (group, box) in enumerate(zip(groups, _boxes(groups), strict=True)):
        for ax in drawn.axes:
            ax.set_visible(ax in group)
        box = box.transformed(drawn.dpi_scale_trans.inverted())
        parts.append(figure(f"{name}{k}", drawn, "", box))
    return markup(
        '<div class="charts" role="img" aria-label="{alt}">{parts}</div>',
        alt=alt,
        parts=Html("".join(parts)),
    )


def _boxes(groups: Sequence[Sequence[Axes]]) -> list[Bbox]:
    """Return the pixels of each group: its axes, and the widest margins of labels and titles."""
    from matplotlib.transforms import Bbox

    inner = [Bbox.union([ax.get_window_extent() for ax in group]) for group in groups]
    outer = [Bbox.union([box for ax in group if (box := ax.get_tightbbox())]) for group in groups]
    pairs = list(zip(inner, outer, strict=True))
    left, right = (max(i.x0 - o.x0 for i, o in pairs), max(o.x1 - i.x1 for i, o in pairs))
    below, above = (max(i.y0 - o.y0 for i, o in pairs), max(o.y1 - i.y1 for i, o in pairs))
    width, height = inner[0].width, inner[0].height
    return [
        Bbox.from_extents(b.x0 - left, b.y1 - height - below, b.x0 + width + right, b.y1 + above)
        for b in inner
    ]
