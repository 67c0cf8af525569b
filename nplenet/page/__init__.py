"""The page for drawing a digit: one HTML file with the model and its weights inside.

The page computes in plain JavaScript: ``page/model.js`` is the forward pass of each layer;
``page/recognize.js`` and the modules in ``page/segment`` are ``nplenet.recognize`` and
``nplenet.segment``, function by function. Each module is copied into the file, in a scope of its
own, after the modules that it imports.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy.typing as npt

from ..architecture import check_not_patched, describe, unsupported
from ..data import load_digits
from ..deprecated import model_first
from ..files import atomic_write
from ..layers import Layer
from ..layers.sequential import is_chain
from .book import chapters_beside
from .reading import reading_of
from .words import DIGITS, about, noun_of

MODULES = (
    "model.js",
    "experiment.js",
    "numbers.js",
    "resample.js",
    "segment/windows.js",
    "segment/ink.js",
    "segment/lines.js",
    "segment/parts.js",
    "segment/form.js",
    "segment/shapes.js",
    "segment/notes.js",
    "segment/boxes.js",
    "segment/groups.js",
    "segment/colour.js",
    "segment/contest.js",
    "segment/choose.js",
    "segment/find.js",
    "recognize.js",
    "picture_file.js",
    "photo.js",
    "turn.js",
    "canvas.js",
    "drawing.js",
    "trust.js",
    "markup.js",
    "explain.js",
    "sentences.js",
    "whole.js",
    "maps.js",
    "slide.js",
    "kernels.js",
    "overview.js",
    "answer.js",
    "temperature.js",
    "view.js",
    "tasks.js",
    "main.js",
)
SIDES = (32, 28)  # image sizes: of ``recognize.prepare``, and of MNIST inside it
EXAMPLES = (7, 49, 267, 314, 174, 208, 161, 315, 229, 303)  # bundled test digits, easy to read
FIRST_EXAMPLE = 5  # on the board when the page opens


CREDITS = """<p>Example digits: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, \
UCI Machine Learning Repository, 1998, doi 10.24432/C50P49, CC BY 4.0.</p>"""


@model_first
def write_page(
    model: Layer, path: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> None:
    """Write the page of a model as one HTML file that needs no other file and no network.

    Where the built book lies beside the file, or in ``docs/_build/html`` from there, the layers
    have links to its chapters.

    Parameters
    ----------
    model : Layer
        Made of the library's layers; from images (N, 1, 32, 32) or (N, 1, 28, 28) to logits
        (N, classes).
    path : path
    classes : sequence of str, optional
        Names of the classes (default: what the model's file says, otherwise their numbers).

    Raises
    ------
    UnsupportedLayerError
        A TypeError, for a layer that is not the library's or that ``model.js`` does not compute.
    ValueError
        When the model takes other images, such as coloured ones, or its output is not logits, or
        the names are not one per class.
    OSError
        When the file can't be written; an existing file is then unchanged.
    """
    contents = render(model, classes, chapters_beside(path))
    with atomic_write(path) as file:
        file.write(contents.encode())


def render(
    model: Layer,
    classes: Sequence[str] | None = None,
    chapters: dict[str, dict[str, str]] | None = None,
) -> str:
    """Return the page's HTML; arguments and errors as ``write_page``.

    ``chapters`` are those of the book, as ``chapters_beside`` returns them.
    """
    description = describe(model)
    _check_computed(model)
    side, count = _input_side_and_classes(model)
    names, noun = _names_and_noun(model, classes, count)
    reading = reading_of(model, side)
    is_digits = tuple(names) == DIGITS
    weights = sum(parameter.data.size for parameter in model.parameters())
    data = {
        "model": in_order(description),
        "tensors": encode(model),
        "side": side,
        "classes": names,
        "noun": noun,
        **reading,
        "trust": None if model.trust is None else model.trust.as_record(),
        "chapters": chapters or {},
        "examples": _examples() if is_digits else [],
        "first": FIRST_EXAMPLE,
    }
    return Template(_source("page.html")).substitute(
        title=f"Draw a {noun}",
        noun=noun,
        seen=reading["seen"],
        column=escape("Class" if noun == "picture" else noun.capitalize()),
        about=about(weights, names),
        style=_source("style.css"),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # no </script> in it
        script="const modules = {};\n\n"
        + "\n".join(_inlined(name, _source(name)) for name in MODULES),
        credits=CREDITS if is_digits else "",
    )


def _check_computed(model: Layer) -> None:
    """Refuse a model with a layer that the page does not compute."""
    computed = computed_layers()
    for path, layer in model.modules():
        check_not_patched(layer, path)
        if not is_chain(layer) and type(layer).__name__ not in computed:
            raise unsupported(
                layer,
                path,
                "which nplenet/page/model.js does not compute; "
                "`python -m nplenet layers` lists the layers that the page computes",
            )


def _names_and_noun(
    model: Layer, classes: Sequence[str] | None, count: int
) -> tuple[list[str], str]:
    """Return the names of all classes, and what one draws.

    Without ``classes``, the names are those that the model's file gives, of all or the first ones.
    """
    if classes is not None and len(classes) != count:
        raise ValueError(f"the model has {count} classes, got {len(classes)} names")
    pictures = getattr(model, "pictures", None)
    known = list(classes or getattr(pictures, "classes", None) or ())[:count]
    names = known + [str(k) for k in range(len(known), count)]
    return names, noun_of(names) if known or count == len(DIGITS) else "picture"


def in_order(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description whose chains are lists of pairs (name, layer).

    In an object JavaScript puts names that look like numbers first, in the order of the numbers.
    """
    if "layers" in description:
        pairs = [[name, in_order(layer)] for name, layer in description["layers"].items()]
        return description | {"layers": pairs}
    inner = {k: in_order(v) for k, v in description.items() if isinstance(v, dict)}
    return description | inner  # of a residual block: body and shortcut


def computed_layers() -> frozenset[str]:
    """Return the names of the layer classes in the table FORWARD of ``model.js``."""
    table = _source("model.js").partition("const FORWARD = {\n")[2].partition("\n};")[0]
    return frozenset(re.findall(r"^  (\w+):", table, re.MULTILINE))


def _source(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def encode(model: Layer) -> dict[str, dict[str, Any]]:
    """Return the model's ``state_dict`` for JSON: shapes, and base64 of little-endian float32."""
    return {
        name: {"shape": list(array.shape), "data": _base64(array.astype("<f4"))}
        for name, array in model.state_dict().items()
    }


def _base64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _input_side_and_classes(model: Layer) -> tuple[int, int]:
    refusals = []
    for side in SIDES:
        try:
            shape = model.output_shape((1, 1, side, side))
        except ValueError as error:
            refusals.append(str(error))
            continue
        if len(shape) == 2:
            return side, shape[1]
        refusals.append(f"its output for (1, 1, {side}, {side}) is {shape}, not (1, classes)")
    raise ValueError(
        "the page needs a model that maps one grey image of 32x32 or 28x28 to one number per "
        f"class: {refusals[0]}"
    )


def _examples() -> list[dict[str, Any]]:
    images, labels = load_digits("test")
    return [{"label": int(labels[i]), "data": _base64(images[i])} for i in EXAMPLES]


def _inlined(name: str, source: str) -> str:
    """Return a module's source as a function in the one script, which keeps its names to itself.

    It is called at once and returns what the module exports; an import takes names from there.
    """

    def taken(found: re.Match[str]) -> str:
        return f"const {{{found[1].replace(' as ', ': ')}}} = modules[{quoted(found[2])}];"

    def quoted(imported: str) -> str:
        return json.dumps(posixpath.normpath(posixpath.join(posixpath.dirname(name), imported)))

    body = re.sub(r'^import \{([^}]+)\} from "([^"]+)";$', taken, source, flags=re.MULTILINE)
    exported = re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", body, re.MULTILINE)
    body = re.sub(r"^export ", "", body, flags=re.MULTILINE)
    return (
        f"// ===== {name} =====\n\nmodules[{json.dumps(name)}] = (() => {{\n\n{body}\n"
        f"return {{ {', '.join(exported)} }};\n}})();\n"
    )
