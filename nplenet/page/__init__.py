"""The page for drawing a digit: one HTML file with the model and its weights inside.

The page computes in plain JavaScript: ``page/model.js`` is the forward pass of each layer,
``page/prepare.js`` is ``recognize.prepare``. The modules are copied into the file unchanged, each
after the modules that it imports.
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

from ..architecture import describe, unsupported
from ..augment import described
from ..data import load_digits
from ..deprecated import model_first
from ..files import atomic_write
from ..layers import Layer
from ..layers.sequential import is_chain

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
SIDES = (32, 28)  # image sizes: of ``recognize.prepare``, and of MNIST inside it
EXAMPLES = (7, 49, 267, 314, 174, 208, 161, 315, 229, 303)  # bundled test digits, easy to read
FIRST_EXAMPLE = 5  # on the board when the page opens


@model_first
def write_page(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write the page of a model as one HTML file that needs no other file and no network.

    Parameters
    ----------
    model : Layer
        Made of the library's layers; from images (N, 1, 32, 32) or (N, 1, 28, 28) to logits
        (N, classes).
    path : path

    Raises
    ------
    UnsupportedLayerError
        A TypeError, for a layer that is not the library's or that ``model.js`` does not compute.
    ValueError
        When the model takes other images, such as normalised ones, or its output is not logits.
    OSError
        When the file can't be written; an existing file is then unchanged.
    """
    contents = render(model)
    with atomic_write(path) as file:
        file.write(contents.encode())


def render(model: Layer) -> str:
    """Return the page's HTML; arguments and errors as ``write_page``."""
    description = describe(model)
    computed = computed_layers()
    for path, layer in model.modules():
        if not is_chain(layer) and type(layer).__name__ not in computed:
            raise unsupported(
                layer,
                path,
                "which nplenet/page/model.js does not compute; "
                "`python -m nplenet layers` lists the layers that the page computes",
            )
    kinds = {part["type"] for part in described(model.preprocessing) or [{"type": "another"}]}
    if model.preprocessing is not None and kinds != {"ToFloat"}:
        raise ValueError(
            f"the page gives a model pixels from 0 to 1, this one takes {model.preprocessing!r}"
        )
    side = _input_side(model)
    weights = sum(parameter.data.size for parameter in model.parameters())
    data = {
        "model": in_order(description),
        "tensors": encode(model),
        "side": side,
        "examples": _examples(),
        "first": FIRST_EXAMPLE,
    }
    return Template(_source("page.html")).substitute(
        about=f"This one has {weights:,} learned numbers.",
        style=_source("style.css"),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # no </script> in it
        script="\n".join(_inlined(name, _source(name)) for name in MODULES),
    )


def in_order(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description whose chains are lists of pairs (name, layer).

    In an object JavaScript puts names that look like numbers first, in the order of the numbers.
    """
    if "layers" not in description:
        return description
    pairs = [[name, in_order(layer)] for name, layer in description["layers"].items()]
    return description | {"layers": pairs}


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
        "the page needs a model that maps one grey image of 32x32 or 28x28 to one number per "
        f"class: {refusals[0]}"
    )


def _examples() -> list[dict[str, Any]]:
    images, labels = load_digits("test")
    return [{"label": int(labels[i]), "data": _base64(images[i])} for i in EXAMPLES]


def _inlined(name: str, source: str) -> str:
    """Return a module's source for the one script in which all modules share their names."""
    body = re.sub(r"^import [^;]+;\n", "", source, flags=re.MULTILINE)
    return f"// ===== {name} =====\n\n" + re.sub(r"^export ", "", body, flags=re.MULTILINE)
