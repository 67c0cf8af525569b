"""The layers in lanes, one file a layer as in ``nplenet/layers``.

``operation.py`` says what lanes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...checks import Pair
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
from .activation import LeakyReLULanes, ReLULanes, SigmoidLanes, TanhLanes
from .batchnorm import BatchNormLanes, FrozenBatchNormLanes
from .conv import Conv2dLanes
from .dense import DenseLanes
from .dropout import DropoutLanes
from .flatten import FlattenLanes
from .fold import FoldedConv2dLanes, FoldedConvReLUAvgPoolLanes, FoldedDenseLanes
from .fused import BatchNormReLUAvgPoolLanes, can_be_fused
from .loss import CrossEntropyLanes
from .operation import Buffer, Calls, Chunk, Limits, Operation, Value
from .pooling import AvgPool2dLanes, MaxPool2dLanes

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
"""The operation of each layer, in training."""

AnyOperation = Operation[Any]
NORMS = (BatchNorm1d, BatchNorm2d)
THIN = 8  # output channels of a convolution that gains by tiles


def training_operations(layers: Sequence[Layer], x: Value, limits: Limits) -> list[AnyOperation]:
    """Return the operations of a training step; each layer's own ``training`` flag counts."""
    operations: list[AnyOperation] = []
    waiting = [o for o in layers if not isinstance(o, Dropout) or (o.training and o.p > 0.0)]
    while waiting:
        operation, used = next_for_training(waiting, x, limits)
        operations.append(operation)
        waiting, x = waiting[used:], operation.y
    return operations


def next_for_training(
    waiting: Sequence[Layer], x: Value, limits: Limits
) -> tuple[AnyOperation, int]:
    """Return the operation of the first layer, or first few, and how many layers it stands for."""
    match waiting[:4]:
        case [BatchNorm2d(training=True) as norm, ReLU(), AvgPool2d() as pool, *_]:
            if can_be_fused(pool, *x.shape[1:]):
                return BatchNormReLUAvgPoolLanes(norm, pool, x, limits), 3
        case [Conv2d() as conv, BatchNorm2d(training=True), ReLU(), AvgPool2d() as pool]:
            if can_be_fused(pool, *conv.output_shape((1, *x.shape))[2:]):
                return Conv2dLanes(conv, x, limits, tile_for(conv, pool)), 1
    layer = waiting[0]
    if isinstance(layer, NORMS) and not layer.training:
        return FrozenBatchNormLanes(layer, x, limits), 1
    return LANES[type(layer)](layer, x, limits), 1


def tile_for(conv: Conv2d, pool: AvgPool2d) -> Pair:
    """Return the ``tile`` of a convolution before a fused pooling."""
    fitting = max(pool.window.size) == 2 and conv.out_channels <= THIN
    return pool.window.size if fitting else (1, 1)


def inference_operations(layers: Sequence[Layer], x: Value, limits: Limits) -> list[AnyOperation]:
    """Return the operations of a forward in ``eval``, with batch norms folded where they can be."""
    operations: list[AnyOperation] = []
    waiting = [layer for layer in layers if not isinstance(layer, Dropout)]
    while waiting:
        operation, used = next_for_inference(waiting, x, limits)
        operations.append(operation)
        waiting, x = waiting[used:], operation.y
    return operations


def next_for_inference(
    waiting: Sequence[Layer], x: Value, limits: Limits
) -> tuple[AnyOperation, int]:
    """Return what ``next_for_training`` does, for inference."""
    match waiting[:4]:
        case [Conv2d() as conv, BatchNorm2d() as norm, ReLU(), AvgPool2d() as pool]:
            if can_be_fused(pool, *conv.output_shape((1, *x.shape))[2:]):
                tile = tile_for(conv, pool)
                return FoldedConvReLUAvgPoolLanes(conv, norm, pool, x, limits, tile), 4
    match waiting[:2]:
        case [Conv2d() as conv, BatchNorm2d() as norm]:
            return FoldedConv2dLanes(conv, norm, x, limits), 2
        case [Dense() as dense, BatchNorm1d() as dense_norm]:
            return FoldedDenseLanes(dense, dense_norm, x, limits), 2
    layer = waiting[0]
    if isinstance(layer, NORMS):
        return FrozenBatchNormLanes(layer, x, limits), 1
    return LANES[type(layer)](layer, x, limits), 1


__all__ = [
    "LANES",
    "Buffer",
    "Calls",
    "Chunk",
    "CrossEntropyLanes",
    "Limits",
    "Operation",
    "Value",
    "inference_operations",
    "training_operations",
]
