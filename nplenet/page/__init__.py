"""The page on which one draws a digit: one HTML file with the model and its weights inside.

The page computes by itself, in plain JavaScript: ``page/model.js`` is the forward pass of every
layer, ``page/prepare.js`` is ``recognize.prepare``. Its modules are put into the file as they are,
in the order in which they build on each other.
"""

from __future__ import annotations

import base64
import json
import os
import re
from importlib import resources
from string import Template
from typing import Any

import numpy.typing as npt

from ..architecture import describe
from ..data import load_digits
from ..files import atomic_write
from ..layers import Layer

MODULES = (
    "model.js",
    "prepare.js",
    "canvas.js",
    "markup.js",
    "explain.js",
    "maps.js",
    "view.js",
    "main.js",
)
SIDES = (32, 28)  # of the images of ``recognize.prepare``, and of MNIST's own inside them
EXAMPLES = (7, 49, 267, 314, 174, 208, 161, 315, 229, 303)  # bundled test digits, easy to read
FIRST_EXAMPLE = 5  # what is on the board when the page opens


def write_page(path: str | os.PathLike[str], model: Layer) -> None:
    """Write the page of a model to one HTML file, which needs no other and no network.

    Parameters
    ----------
    path : path
    model : Layer
        Of the library's layers; maps (N, 1, 32, 32), or (N, 1, 28, 28), to logits (N, classes).

    Raises
    ------
    TypeError
        When a layer is not one of the library's.
    ValueError
        When the model takes other images or gives no logits.
    OSError
        When the file can't be written; one that was there is there still.
    """
    contents = render(model)
    with atomic_write(path) as file:
        file.write(contents.encode())


def render(model: Layer) -> str:
    """Return the page's HTML; arguments and errors as ``write_page``."""
    folder = resources.files(__package__)
    side = _input_side(model)
    weights = sum(parameter.data.size for parameter in model.parameters())
    data = {
        "model": describe(model),
        "tensors": encode(model),
        "side": side,
        "examples": _examples(),
        "first": FIRST_EXAMPLE,
    }
    return Template((folder / "page.html").read_text("utf-8")).substitute(
        about=f"This one has {weights:,} learned numbers.",
        style=(folder / "style.css").read_text("utf-8"),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # no </script> in it
        script="\n".join(_inlined(name, (folder / name).read_text("utf-8")) for name in MODULES),
    )


def encode(model: Layer) -> dict[str, dict[str, Any]]:
    """Return the model's ``state_dict`` for JSON: shapes, and base64 of little-endian float32."""
    return {
        name: {"shape": list(array.shape), "data": _base64(array.astype("<f4"))}
        for name, array in model.state_dict().items()
    }


def _base64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _input_side(model: Layer) -> int:
    refusals = []
    for side in SIDES:
        try:
            shape = model.output_shape((1, 1, side, side))
        except ValueError as error:
            refusals.append(str(error))
            continue
        if len(shape) == 2:
            return side
        refusals.append(f"its output for (1, 1, {side}, {side}) is {shape}, not (1, classes)")
    raise ValueError(
        "the page needs a model that maps one grey image of 32x32 or 28x28 to a number for each "
        f"class: {refusals[0]}"
    )


def _examples() -> list[dict[str, Any]]:
    images, labels = load_digits("test")
    return [{"label": int(labels[i]), "data": _base64(images[i])} for i in EXAMPLES]


def _inlined(name: str, source: str) -> str:
    """Return a module's source for the one script in which all modules share their names."""
    body = re.sub(r"^import [^;]+;\n", "", source, flags=re.MULTILINE)
    return f"// ===== {name} =====\n\n" + re.sub(r"^export ", "", body, flags=re.MULTILINE)
