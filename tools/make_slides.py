"""Make the slides of the lesson (docs/lesson.md) with the pictures of the book.

    python tools/make_slides.py slides.html

One HTML file with everything in it: the arrow keys or a click turn the pages, and printing gives a
page for each slide. A picture is found by its chapter and the first words of its alt text, and
drawn by running the chapter's cells up to it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import sys
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import make_notebooks


class Slide(NamedTuple):
    """A title, lines of text (code where they begin with a tab), and a picture of the book."""

    title: str
    lines: tuple[str, ...] = ()
    chapter: str = ""
    alt: str = ""


SLIDES = (
    Slide("A network by hand", ("from one neuron to a network that reads digits",)),
    Slide(
        "What shall we build?",
        (
            "A formula with many numbers in it: the network.",
            "A number that says how wrong it is: the loss.",
            "A loop that moves the numbers until the loss is small: training.",
        ),
    ),
    Slide(
        "A neuron",
        ("\tz = w1 * x1 + w2 * x2 + b", "\th = max(z, 0)"),
        "first-network",
        "Left, max(z, 0)",
    ),
    Slide(
        "Two layers",
        (
            "\tz = W @ x + b            # three neurons",
            "\th = np.maximum(z, 0)",
            "\ty = v @ h + c            # one output",
            "\tL = (y - t)**2",
            "W = (1, -1), (-1, 1), (0.5, 1);   b = (0, 0.5, 0)",
            "v = (1, 3, -0.5);   c = 0.5;   t = 2",
            "With pencil: y for x = (2, 1). Then for x = (1, 2).",
        ),
    ),
    Slide(
        "Backwards",
        (
            "dy is short for dL/dy, and so for every name.",
            "\tdy = 2 * (y - t)",
            "\tdv = dy * h        dc = dy        dh = dy * v",
            "\tdz = dh where z > 0, otherwise 0",
            "\tdW[o, i] = dz[o] * x[i]        db = dz",
            "Where one number is used in several places, the effects add.",
        ),
    ),
    Slide(
        "All of it, for x = (2, 1)",
        ("Black: forward. Red: backward.",),
        "first-network",
        "The network drawn as circles",
    ),
    Slide(
        "A batch: a row for each example",
        (
            "\ty = x @ w.T + b          # (N, I) @ (I, O) -> (N, O)",
            "\tdw = dy.T @ x            # adds over the examples",
            "\tdx = dy @ w              # adds over the outputs",
            "\tdb = dy.sum(axis=0)",
            "Which one is transposed? The shapes fit in one way only.",
        ),
    ),
    Slide(
        "Your turn: 20 minutes",
        (
            "Notebook 01-first-network, exercise 1: dense and dense_backward.",
            "Done? Exercise 3: all the gradients of a network.",
            "The check says Right. or what is wrong.",
        ),
    ),
    Slide(
        "The loop",
        ("forward, loss, backward, step; again",),
        "first-network",
        "Three maps of the square",
    ),
    Slide(
        "The same loop reads digits",
        ("1,024 pixels, 32 neurons, 10 outputs",),
        "arrays",
        "Eight handwritten digits",
    ),
    Slide(
        "Next: neurons that look at a part of the image",
        ("A small kernel slides over the image: a convolution.",),
        "convolution",
        "A digit, and what the two kernels",
    ),
)

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A network by hand: slides</title>
<style>
body { margin: 0; font: 3.2vmin/1.5 system-ui, sans-serif; color: #1a1a1a; background: white; }
section { box-sizing: border-box; min-height: 100vh; padding: 6vmin 8vmin; display: none; }
section.shown { display: flex; flex-direction: column; justify-content: center; }
h1 { font-size: 6vmin; line-height: 1.2; margin: 0 0 3vmin; }
p { margin: 0.4em 0; }
pre { margin: 0.2em 0; padding: 0 0.8em; border-left: 0.2em solid #0072b2; white-space: pre-wrap;
      font: 0.95em/1.6 ui-monospace, monospace; }
img { max-width: 100%; width: 130vmin; max-height: 60vh; object-fit: contain; align-self: center; }
footer { position: fixed; right: 2vmin; bottom: 1vmin; font-size: 2vmin; color: #767676; }
@media print { section { display: flex; flex-direction: column; justify-content: center;
                         break-after: page; } footer { display: none; } }
</style>
SECTIONS
<footer></footer>
<script>
const slides = [...document.querySelectorAll("section")];
function show(i) {
  const shown = Math.min(Math.max(i, 0), slides.length - 1);
  slides.forEach((slide, k) => slide.classList.toggle("shown", k === shown));
  document.querySelector("footer").textContent = `${shown + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${shown + 1}`);
}
const current = () => (parseInt(location.hash.slice(1)) || 1) - 1;
addEventListener("keydown", ({ key }) => {
  if (["ArrowRight", "PageDown", " "].includes(key)) show(current() + 1);
  if (["ArrowLeft", "PageUp"].includes(key)) show(current() - 1);
});
addEventListener("click", ({ clientX }) => show(current() + (clientX < innerWidth / 4 ? -1 : 1)));
show(current());
</script>
</html>
"""


def picture(chapter: str, alt: str) -> str:
    """Run a chapter up to a picture; return an img element with the picture in it."""
    os.environ.setdefault("MPLBACKEND", "agg")
    if str(make_notebooks.DOCS) not in sys.path:  # for the cells, which import from there
        sys.path.insert(0, str(make_notebooks.DOCS))
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": chapter}
    for piece in make_notebooks.pieces(chapter):
        if piece.kind != "code":
            continue
        plt.close("all")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(piece.source, chapter, "exec"), names)
        if piece.alt.startswith(alt):
            drawn = io.BytesIO()
            plt.gcf().savefig(drawn, format="svg")
            data = base64.b64encode(drawn.getvalue()).decode()
            return f'<img alt="{escape(piece.alt)}" src="data:image/svg+xml;base64,{data}">'
    raise SystemExit(f"the chapter {chapter} has no picture whose alt text begins with {alt!r}")


def section(slide: Slide) -> str:
    """Return a slide as HTML."""
    parts = [f"<h1>{escape(slide.title)}</h1>"]
    for line in slide.lines:
        code = line.startswith("\t")
        parts.append(f"<pre>{escape(line[1:])}</pre>" if code else f"<p>{escape(line)}</p>")
    if slide.chapter:
        parts.append(picture(slide.chapter, slide.alt))
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def main() -> None:
    output = Path(sys.argv[1])
    sections = "\n".join(map(section, SLIDES))
    output.write_text(PAGE.replace("SECTIONS", sections), encoding="utf-8")
    print(f"{len(SLIDES)} slides in {output}")


if __name__ == "__main__":
    main()
