"""Which operation in lanes a layer becomes, and which layers become one.

``lanes/lane.py`` says what lanes are; the other files of ``lanes`` mirror ``nplenet/layers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from ...layers import (
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
from ...layers.sequential import is_patched, leaves
from ...losses import CrossEntropyLoss
from ..step import why_loss_not_compiled, why_model_not_compiled
from .lanes.activation import LeakyReLULanes, ReLULanes, SigmoidLanes, TanhLanes
from .lanes.batchnorm import BatchNormLanes, FrozenBatchNormLanes
from .lanes.conv import Conv2dLanes
from .lanes.dense import DenseLanes
from .lanes.dropout import DropoutLanes
from .lanes.flatten import FlattenLanes
from .lanes.fold import FoldedConv2dLanes, FoldedConvReLUAvgPoolLanes, FoldedDenseLanes
from .lanes.fused import BatchNormReLUAvgPoolLanes, can_be_fused
from .lanes.lane import Lane, LaneValue, Limits
from .lanes.pooling import AvgPool2dLanes, MaxPool2dLanes
from .lanes.textbook import TextbookInferenceLanes, TextbookLanes

LANES: dict[type[Layer], Any] = {
    Conv2d: Conv2dLanes,
    BatchNorm1d: BatchNormLanes,
    BatchNorm2d: BatchNormLanes,
    AvgPool2d: AvgPool2dLanes,
    MaxPool2d: MaxPool2dLanes,
    Dense: DenseLanes,
    Dropout: DropoutLanes,
    Flatten: FlattenLanes,
    ReLU: ReLULanes,
    LeakyReLU: LeakyReLULanes,
    Sigmoid: SigmoidLanes,
    Tanh: TanhLanes,
}
"""The operation of each layer, where it is trained and alone."""

NORMS = (BatchNorm1d, BatchNorm2d)

AnyLane = Lane[Any]


def training_lane(layers: Sequence[Layer], x: LaneValue, limits: Limits) -> tuple[AnyLane, int]:
    """Return the operation of the first layer, or of the first few, and how many they are."""
    if not has_lanes(layers[0]):
        return TextbookLanes(layers[0], x, limits), 1
    match with_lanes(layers[:4]):
        case [BatchNorm2d(training=True) as norm, ReLU(), AvgPool2d() as pool, *_]:
            if can_be_fused(pool, *x.shape[1:]) and x.tile == pool.window.size:
                return BatchNormReLUAvgPoolLanes(norm, pool, x, limits), 3
        case [Conv2d() as conv, BatchNorm2d(training=True), ReLU(), AvgPool2d() as pool]:
            if can_be_fused(pool, *conv.output_shape((1, *x.shape))[2:]):
                tile, enlarged = pool.window.size, enlarge(conv, pool, limits)
                return Conv2dLanes(conv, x, limits, tile, enlarged), 1
    return single_lane(layers[0], x, limits, layers[0].training), 1


def inference_lane(layers: Sequence[Layer], x: LaneValue, limits: Limits) -> tuple[AnyLane, int]:
    """Do what ``training_lane`` does for a forward in ``eval``, with batch norms folded."""
    if not has_lanes(layers[0]):
        return TextbookInferenceLanes(layers[0], x, limits), 1
    match with_lanes(layers[:4]):
        case [Conv2d() as conv, BatchNorm2d() as norm, ReLU(), AvgPool2d() as pool]:
            if can_be_fused(pool, *conv.output_shape((1, *x.shape))[2:]):
                enlarged = enlarge(conv, pool, limits)
                return FoldedConvReLUAvgPoolLanes(conv, norm, pool, x, limits, enlarged), 4
    match with_lanes(layers[:2]):
        case [Conv2d() as conv, BatchNorm2d() as norm]:
            return FoldedConv2dLanes(conv, norm, x, limits), 2
        case [Dense() as dense, BatchNorm1d() as dense_norm]:
            return FoldedDenseLanes(dense, dense_norm, x, limits), 2
    return single_lane(layers[0], x, limits, training=False), 1


def single_lane(layer: Layer, x: LaneValue, limits: Limits, training: bool) -> AnyLane:
    """Return the operation of one layer."""
    if isinstance(layer, NORMS) and not training:
        return FrozenBatchNormLanes(layer, x, limits)
    operation: AnyLane = LANES[type(layer)](layer, x, limits)
    return operation


def enlarge(conv: Conv2d, pool: AvgPool2d, limits: Limits) -> bool:
    """Say whether a convolution before a fused pooling makes whole tiles in one product.

    Where it has few channels that is faster with some BLAS; see ``Conv2dLanes``.
    """
    return max(pool.window.size) == 2 and conv.out_channels <= limits.tile_channels


def features_follow_a_barrier(layers: Sequence[Layer]) -> bool:
    """Say whether no convolution lies between the last batch norm of images and the features.

    The layers between are cheap then, so one worker can do these and the features while the others
    wait at the barrier of that batch norm.
    """
    follow = False
    for layer in layers:
        if isinstance(layer, BatchNorm2d) and layer.training:
            follow = True
        elif isinstance(layer, Conv2d):
            follow = False
        elif isinstance(layer, Flatten):
            return follow
    return False


def has_lanes(layer: Layer) -> bool:
    """Say whether a layer has an operation in lanes; otherwise its textbook form runs."""
    plain = layer.is_plain if isinstance(layer, Conv2d) else True
    return type(layer) in LANES and plain and not is_patched(layer)


def with_lanes(layers: Sequence[Layer]) -> list[Layer]:
    """Return the first layers that have lanes: a pattern would match a subclass, too."""
    return list(takewhile(has_lanes, layers))


def why_not_compiled(model: Layer, loss: CrossEntropyLoss) -> str:
    """Return why a model cannot be compiled; an empty string if it can."""
    why = why_loss_not_compiled(loss)
    if why:
        return why
    for _, layer in model.modules():
        if layer.backend.name != "numpy":
            return f"the model is on the {layer.backend.name} backend, not on numpy"
    layers = [layer for _, layer in leaves(model)]
    if not any(map(has_lanes, layers)):
        names = ", ".join(dict.fromkeys(type(layer).__name__ for layer in layers))
        return f"none of its layers has a compiled form: {names or 'it has none'}"
    return why_model_not_compiled(model)
