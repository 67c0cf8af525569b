"""Export to ONNX: write a model as a file for onnxruntime and other inference engines.

A model of this library is a chain of layers, and so is its graph: ``EXPORTERS`` has, for each class
of layer, the operators that compute the same numbers. All sizes except the batch size are known
when the graph is written, so a pooling in ``ceil_mode`` becomes a pooling with explicit padding:
engines differ in how they read ONNX's ``ceil_mode`` at the border.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..architecture import unsupported
from ..backend import Array
from ..checks import count
from ..files import atomic_write
from ..layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sigmoid,
    Tanh,
)
from ..layers.pooling import max_pool
from ..layers.sequential import is_chain
from ..version import __version__
from ..window import Window

if TYPE_CHECKING:
    from onnx import ModelProto

# Of 2021 (ONNX 1.10), for old engines too. Before 14 a batch norm did not say whether it trains.
OPSET, IR_VERSION = 15, 8
INPUT, OUTPUT = "x", "logits"

Shape = tuple[int, ...]
Exporter = Callable[[Any, Shape, np.dtype], "list[Operator]"]


@dataclass(frozen=True)
class Operator:
    """A node of the chain: its first input is the output of the previous node.

    Attributes
    ----------
    kind : str
        Name of the ONNX operator.
    constants : dict of str to array
        The other inputs in their order, by their names within the layer.
    attributes : dict
    """

    kind: str
    constants: dict[str, Array] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def export(
    model: Layer,
    path: str | os.PathLike[str],
    input_shape: tuple[int, ...],
    *,
    dynamic_batch: bool = True,
) -> None:
    """Write ``model`` as an ONNX file that computes what ``model.eval()`` computes.

    The input is named ``x``, the output ``logits``, both of the dtype of the parameters; the
    weights have the names of ``model.state_dict()``. The model itself is not changed, nor is its
    training mode.

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

    Raises
    ------
    ImportError
        When the package onnx is missing.
    UnsupportedLayerError
        A TypeError, for a layer without an entry in ``EXPORTERS``; it names the layer and its path.
    ValueError
        When ``input_shape`` does not fit, when the parameters are of two dtypes, and for a pooling
        that ONNX can't express: a window with no pixel of the image in it.
    OSError
        When the file can't be written.
    """
    try:
        import onnx
    except ImportError as error:
        message = "an ONNX export needs the package onnx: pip install 'nplenet[onnx]'"
        raise ImportError(message) from error
    shape = tuple(count(size, "a size of input_shape") for size in input_shape)
    proto = _proto(model, shape, dynamic_batch)
    onnx.checker.check_model(proto, full_check=True)
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _proto(model: Layer, shape: Shape, dynamic_batch: bool) -> ModelProto:
    """Return the ONNX model that ``export`` writes."""
    from onnx import helper, numpy_helper

    links = list(_links(model))
    if not links:
        raise ValueError(f"{model} has no layer to export")
    dtype = _dtype(model)
    chain = _operators(links, shape, dtype)
    nodes, constants, x = [], [], INPUT
    for i, (path, operator) in enumerate(chain):
        name = path + operator.kind
        y = f"{name}.y" if i + 1 < len(chain) else OUTPUT
        arrays = {path + key: array for key, array in operator.constants.items()}
        nodes.append(
            helper.make_node(operator.kind, [x, *arrays], [y], name, **operator.attributes)
        )
        for key, array in arrays.items():
            numbers = model.backend.to_numpy(array)
            native = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
            constants.append(numpy_helper.from_array(native, key))
        x = y
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    batch = "N" if dynamic_batch else shape[0]
    graph = helper.make_graph(
        nodes,
        type(model).__name__,
        [helper.make_tensor_value_info(INPUT, kind, [batch, *shape[1:]])],
        [helper.make_tensor_value_info(OUTPUT, kind, [batch, *model.output_shape(shape)[1:]])],
        constants,
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nplenet",
        producer_version=__version__,
    )


def _dtype(model: Layer) -> np.dtype:
    """Return the dtype of the parameters and buffers; float32 for a model without parameters."""
    floats = (a.dtype for a in model.state_dict().values() if a.dtype.kind == "f")
    dtypes = {dtype.newbyteorder("=") for dtype in floats}
    if len(dtypes) > 1:
        raise ValueError(
            "ONNX needs one dtype throughout, but this model's parameters are "
            f"{' and '.join(sorted(map(str, dtypes)))}; convert it with model.astype('float32')"
        )
    return dtypes.pop() if dtypes else np.dtype(np.float32)


def _operators(
    links: list[tuple[str, Layer]], shape: Shape, dtype: np.dtype
) -> list[tuple[str, Operator]]:
    """Return the operators of all layers for an input of ``shape``, each with its layer's path."""
    operators = []
    for path, layer in links:
        output_shape = layer.output_shape(
            shape
        )  # first, because it refuses a shape that does not fit
        operators += [(path, operator) for operator in EXPORTERS[type(layer)](layer, shape, dtype)]
        shape = output_shape
    return operators


def _links(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) of each link of the chain; paths are empty or end with a dot."""
    if is_chain(layer):
        for name, child in layer.children().items():
            yield from _links(child, f"{path}{name}.")
    elif type(layer) in EXPORTERS:
        yield path, layer
    else:
        raise unsupported(
            layer,
            path,
            "for which nplenet/interop/onnx.py has no ONNX operators; "
            "`python -m nplenet layers` lists the layers that it exports",
        )


# ---------------------------------------------------------------------------- one layer, its nodes


def _weights(layer: Conv2d | Dense) -> dict[str, Array]:
    weight = {"weight": layer.weight.data}
    return weight if layer.bias is None else {**weight, "bias": layer.bias.data}


def _conv(layer: Conv2d, shape: Shape, dtype: np.dtype) -> list[Operator]:
    return [Operator("Conv", _weights(layer), _window(layer.window, shape))]


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


EXPORTERS: dict[type[Layer], Exporter] = {
    AvgPool2d: _average_pool,
    BatchNorm1d: _batch_norm,
    BatchNorm2d: _batch_norm,
    Conv2d: _conv,
    Dense: _dense,
    Dropout: _plain("Identity"),
    Flatten: _plain("Flatten"),
    LeakyReLU: _leaky_relu,
    MaxPool2d: _max_pool,
    ReLU: _plain("Relu"),
    Sigmoid: _plain("Sigmoid"),
    Tanh: _plain("Tanh"),
}
"""A function per class of layer: from (layer, input shape, input dtype) to its operators."""
