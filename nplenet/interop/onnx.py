"""Export to ONNX: write a model as a file for onnxruntime and other inference engines.

A model of this library is a chain of layers, and so is its graph: ``EXPORTERS`` has, for each class
of layer, the operators that compute the same numbers. Only ``Residual`` branches. All sizes except
the batch size are known when the graph is written, so a pooling in ``ceil_mode`` becomes a pooling
with explicit padding: engines differ in how they read ONNX's ``ceil_mode`` at the border.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..architecture import check_not_patched, unsupported
from ..backend import Array
from ..checks import sizes
from ..files import atomic_write
from ..layers import (
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Residual,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..layers.gelu import CUBIC, ROOT
from ..layers.pooling import max_pool
from ..layers.sequential import LAYER_ERRORS, is_chain
from ..version import __version__
from ..window import Window
from . import onnx_input

if TYPE_CHECKING:
    from onnx import ModelProto

# Of 2021 (ONNX 1.10), for old engines too. Before 14 a batch norm did not say whether it trains.
OPSET, IR_VERSION = 15, 8
INPUT, OUTPUT = "x", "logits"

Shape = tuple[int, ...]
Exporter = Callable[[Any, Shape, np.dtype], "list[Operator]"]


@dataclass(frozen=True)
class Operator:
    """A node of the graph: its first input is the output of the layer's node before it.

    Attributes
    ----------
    kind : str
        Name of the ONNX operator.
    constants : dict of str to array
        The other inputs in their order, by their names within the layer.
    attributes : dict
    takes_x : bool
        Whether the input of the layer is another input, after the first.
    """

    kind: str
    constants: dict[str, Array] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    takes_x: bool = False


def export(
    model: Layer,
    path: str | os.PathLike[str],
    input_shape: tuple[int, ...],
    *,
    dynamic_batch: bool = True,
    preprocessing: bool = True,
) -> None:
    """Write ``model`` as an ONNX file that computes what ``model.eval()`` computes.

    The input is named ``x``, the output ``logits``, both of the dtype of the parameters; the
    weights have the names of ``model.state_dict()``. The graph begins with ``model.preprocessing``,
    if that normalises: ``x`` is then pixels from 0 to 1. The metadata say so, and hold the names of
    the classes. The model itself is not changed, nor is its training mode.

    ONNX keeps ``eps`` of a batch norm and ``negative_slope`` in float32, so a float64 model differs
    by up to 6e-8 of these. onnxruntime has no float64 convolution for the CPU: to run there, export
    ``model.astype("float32")``.

    The maximum of values with a NaN is NaN here; ONNX does not define it, and onnxruntime ignores
    NaN.

    Parameters
    ----------
    model : Layer
        A layer of this library, or a ``Sequential`` of them, nested or not, on any backend.
    path : path
        Created or replaced only when the whole file is written and checked.
    input_shape : tuple of int
        Shape of ``x``, batch axis first, such as (1, 1, 32, 32).
    dynamic_batch : bool
        Whether the file takes any batch size (the axis is named ``N``), or only the batch size in
        ``input_shape``.
    preprocessing : bool
        Whether the graph begins with the model's preprocessing.

    Raises
    ------
    ImportError
        When the package onnx is missing.
    UnsupportedLayerError
        A TypeError, for a layer without an entry in ``EXPORTERS``; it names the layer and its path.
    ValueError
        When ``input_shape`` does not fit, when the parameters are of two dtypes, and for a pooling
        that ONNX can't express: a window with no pixel of the image in it. Also for a preprocessing
        of your own.
    OSError
        When the file can't be written.
    """
    try:
        import onnx
    except ImportError as error:
        message = "an ONNX export needs the package onnx: pip install 'nplenet[onnx]'"
        raise ImportError(message) from error
    shape = sizes(input_shape, "export: input_shape")
    proto = _proto(model, shape, dynamic_batch, preprocessing)
    onnx.helper.set_model_props(proto, onnx_input.metadata(model, preprocessing))
    onnx.checker.check_model(proto, full_check=True)
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _proto(model: Layer, shape: Shape, dynamic_batch: bool, preprocessing: bool) -> ModelProto:
    """Return the ONNX model that ``export`` writes."""
    from onnx import helper, numpy_helper

    dtype = onnx_input.dtype_of(model)
    made, x = _Nodes(dtype), INPUT
    for kind, constants in onnx_input.normalising(model, shape, dtype) if preprocessing else []:
        x = made.node("preprocessing.", Operator(kind, constants), [x])
    before, output_shape = len(made.nodes), made.add(model, "", x, shape)[1]
    if len(made.nodes) == before:
        raise ValueError(f"{model} has no layer to export")
    element = helper.np_dtype_to_tensor_dtype(dtype)
    batch = "N" if dynamic_batch else shape[0]
    proto = helper.make_model(
        helper.make_graph(
            [],
            type(model).__name__,
            [helper.make_tensor_value_info(INPUT, element, [batch, *shape[1:]])],
            [helper.make_tensor_value_info(OUTPUT, element, [batch, *output_shape[1:]])],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nplenet",
        producer_version=__version__,
    )
    graph = proto.graph  # filled in place: ``make_model`` would copy all of it, twice
    for name, (inputs, operator) in made.nodes.items():
        y = OUTPUT if len(graph.node) + 1 == len(made.nodes) else f"{name}.y"
        node = helper.make_node(operator.kind, inputs, [y], name, **operator.attributes)
        graph.node.append(node)
    for key, array in made.constants.items():
        numbers = model.backend.to_numpy(array)
        native = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
        graph.initializer.append(numpy_helper.from_array(native, key))
    return proto


class _Nodes:
    """The nodes of a graph by name, with their inputs, and the constants, in the order of use."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.nodes: dict[str, tuple[list[str], Operator]] = {}
        self.constants: dict[str, Array] = {}

    def add(self, layer: Layer, path: str, x: str, shape: Shape) -> tuple[str, Shape]:
        """Add a layer that reads the value ``x``; return the name and the shape of its output.

        Paths are empty or end with a dot.
        """
        check_not_patched(layer, path)
        if is_chain(layer):
            for name, child in layer.children().items():
                x, shape = self.add(child, f"{path}{name}.", x, shape)
            return x, shape
        if type(layer) is Residual:
            ways = layer.children().items()
            ends = [self.add(way, f"{path}{name}.", x, shape)[0] for name, way in ways]
            y = self.node(path, Operator("Add"), [*ends, x][:2])
        elif type(layer) in EXPORTERS or "onnx" in vars(type(layer)):
            try:
                layer.output_shape(shape)
            except LAYER_ERRORS as error:
                raise ValueError(
                    f"export: input_shape, which begins with the batch axis, does not fit layer "
                    f"{path.rstrip('.') or 'at the top'}: {error}"
                ) from None
            y, exporter = x, EXPORTERS.get(type(layer)) or type(layer).onnx  # type: ignore[attr-defined]
            for operator in exporter(layer, shape, self.dtype):
                y = self.node(path, operator, [y, x] if operator.takes_x else [y])
        else:
            raise unsupported(
                layer,
                path,
                "for which nplenet/interop/onnx.py has no ONNX operators; `python -m nplenet "
                "layers` lists the layers that it exports; a class of your own says them by a "
                "method onnx(input_shape, dtype)",
            )
        return y, layer.output_shape(shape)

    def node(self, path: str, operator: Operator, inputs: list[str]) -> str:
        """Add a node and its constants; return the name of its output."""
        name, number = path + operator.kind, 1
        while name in self.nodes:
            number += 1
            name = f"{path}{operator.kind}{number}"
        constants = {path + key: array for key, array in operator.constants.items()}
        self.constants |= constants
        self.nodes[name] = [*inputs, *constants], operator
        return f"{name}.y"


# ---------------------------------------------------------------------------- one layer, its nodes


def _weights(layer: Conv2d | Dense) -> dict[str, Array]:
    weight = {"weight": layer.weight.data}
    return weight if layer.bias is None else {**weight, "bias": layer.bias.data}


def _conv(layer: Conv2d, shape: Shape, dtype: np.dtype) -> list[Operator]:
    attributes = _window(layer.window, shape) | {"group": layer.groups}
    return [Operator("Conv", _weights(layer), attributes)]


def _dense(layer: Dense, shape: Shape, dtype: np.dtype) -> list[Operator]:
    return [Operator("Gemm", _weights(layer), {"transB": 1})]


def _batch_norm(layer: BatchNorm1d | BatchNorm2d, shape: Shape, dtype: np.dtype) -> list[Operator]:
    constants = {
        "weight": layer.weight.data,
        "bias": layer.bias.data,
        "running_mean": layer.running_mean,
        "running_var": layer.running_var,
    }
    return [Operator("BatchNormalization", constants, {"epsilon": layer.eps})]


def _group_norm(layer: GroupNorm, shape: Shape, dtype: np.dtype) -> list[Operator]:
    rows, back = [0, layer.num_groups, -1], [0, *shape[1:]]  # a 0 keeps the size of the batch
    operators = _normalised(rows, layer.num_groups, layer.eps, back, dtype)
    column = (-1, *[1] * (len(shape) - 2))
    return operators + _scaled(layer, lambda array: array.reshape(column))


def _layer_norm(layer: LayerNorm, shape: Shape, dtype: np.dtype) -> list[Operator]:
    first = math.prod(shape[1 : len(shape) - len(layer.normalized_shape)])
    operators = _normalised([0, first, -1], first, layer.eps, [0, *shape[1:]], dtype)
    return operators + _scaled(layer, lambda array: array)


def _normalised(
    rows: list[int], channels: int, eps: float, back: list[int], dtype: np.dtype
) -> list[Operator]:
    """Return the operators that normalise rows: as the channels of an instance normalisation."""
    constants = {"one": np.ones(channels, dtype), "zero": np.zeros(channels, dtype)}
    return [
        Operator("Reshape", {"rows": np.array(rows)}),
        Operator("InstanceNormalization", constants, {"epsilon": eps}),
        Operator("Reshape", {"shape": np.array(back)}),
    ]


def _scaled(layer: GroupNorm | LayerNorm, form: Callable[[Array], Array]) -> list[Operator]:
    """Return the operators of weight and bias, as far as the layer has them."""
    operators = []
    if layer.weight is not None:
        operators.append(Operator("Mul", {"weight": form(layer.weight.data)}))
    if layer.bias is not None:
        operators.append(Operator("Add", {"bias": form(layer.bias.data)}))
    return operators


def _global_average_pool(layer: Layer, shape: Shape, dtype: np.dtype) -> list[Operator]:
    return [Operator("GlobalAveragePool"), Operator("Flatten")]


def _average_pool(layer: AvgPool2d, shape: Shape, dtype: np.dtype) -> list[Operator]:
    window, (h, w) = layer.window, shape[2:]
    attributes = _window(window, shape)
    del attributes["dilations"]  # always 1, and unknown to the operator before opset 19
    if not layer.count_include_pad:
        return [Operator("AveragePool", {}, attributes)]
    # Now all pads count, the overhang too: the divisor is KH*KW, which the factor corrects.
    pool = Operator("AveragePool", {}, {**attributes, "count_include_pad": 1})
    divisor = np.outer(window.coverage(h, 0, True), window.coverage(w, 1, True))
    factor = (window.size[0] * window.size[1] / divisor).astype(dtype)
    # Not a Pad before the pool: onnxruntime 1.20 merges the two and then doesn't count the padding.
    return [pool] if (factor == 1).all() else [pool, Operator("Mul", {"factor": factor})]


def _max_pool(layer: MaxPool2d, shape: Shape, dtype: np.dtype) -> list[Operator]:
    if np.isneginf(max_pool(np, np.zeros((1, 1, *shape[2:])), layer.window)[0]).any():
        raise ValueError(
            f"{layer} has windows with no pixel of an input of shape {shape} in them, "
            "whose maximum ONNX does not define; use less padding or dilation"
        )
    attributes = _window(layer.window, shape)
    border, (kh, kw) = attributes["pads"], layer.window.size
    if all(pad < size for pad, size in zip(border, (kh, kw, kh, kw), strict=True)):
        return [Operator("MaxPool", {}, attributes)]
    # onnxruntime refuses padding of the kernel's size, which a dilated window may hang over by.
    top, left, bottom, right = border
    pads = np.array([0, 0, top, left, 0, 0, bottom, right])
    frame = {"pads": pads, "pad_value": np.array(-np.inf, dtype)}
    return [Operator("Pad", frame), Operator("MaxPool", {}, {**attributes, "pads": [0, 0, 0, 0]})]


def _window(window: Window, shape: Shape) -> dict[str, Any]:
    """Return the attributes of a sliding window, its pads (top, left, bottom, right) explicit."""
    h, w = shape[2:]
    (top, left), (height, width) = window.padding, window.padded_size(h, w)
    return {
        "kernel_shape": window.size,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": [top, left, height - h - top, width - w - left],
    }


def _plain(kind: str) -> Exporter:
    """Return the exporter of a layer that equals one operator without arguments."""
    return lambda layer, shape, dtype: [Operator(kind)]


def _leaky_relu(layer: LeakyReLU, shape: Shape, dtype: np.dtype) -> list[Operator]:
    return [Operator("LeakyRelu", {}, {"alpha": layer.negative_slope})]


def _gelu(layer: GELU, shape: Shape, dtype: np.dtype) -> list[Operator]:
    def number(value: float) -> np.ndarray:
        return np.array(value, dtype)

    if layer.approximate == "none":
        share = [Operator("Div", {"root": number(math.sqrt(2))}), Operator("Erf")]
    else:
        share = [
            Operator("Mul", takes_x=True),
            Operator("Mul", {"cubic": number(CUBIC)}),
            Operator("Add", {"linear": number(1)}),
            Operator("Mul", takes_x=True),
            Operator("Mul", {"root": number(ROOT)}),
            Operator("Tanh"),
        ]
    ends = [Operator("Add", {"one": number(1)}), Operator("Mul", {"half": number(0.5)})]
    return [*share, *ends, Operator("Mul", takes_x=True)]


def _softmax(layer: Softmax, shape: Shape, dtype: np.dtype) -> list[Operator]:
    return [Operator("Softmax", {}, {"axis": layer.dim})]


# A layer of your own says its operators by a method:
#     def onnx(self, input_shape, dtype):  # x * sigmoid(x)
#         return [Operator("Sigmoid"), Operator("Mul", takes_x=True)]
EXPORTERS: dict[type[Layer], Exporter] = {
    AvgPool2d: _average_pool,
    BatchNorm1d: _batch_norm,
    BatchNorm2d: _batch_norm,
    Conv2d: _conv,
    Dense: _dense,
    Dropout: _plain("Identity"),
    Flatten: _plain("Flatten"),
    GELU: _gelu,
    GlobalAvgPool2d: _global_average_pool,
    GroupNorm: _group_norm,
    LayerNorm: _layer_norm,
    LeakyReLU: _leaky_relu,
    MaxPool2d: _max_pool,
    ReLU: _plain("Relu"),
    Sigmoid: _plain("Sigmoid"),
    Softmax: _softmax,
    Tanh: _plain("Tanh"),
}
"""A function per class of layer: from (layer, input shape, input dtype) to its operators."""
