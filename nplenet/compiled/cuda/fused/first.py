"""The first convolution and its batch norm on images of bytes, with no barrier between them.

What batch norm must know of the convolution's output over the whole batch follows from the moments
of the windows; see ``kernels/fused/first_norm.cu``. LeNet-5 has three passes so, where it has five
otherwise, and the output of its first convolution stays in the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ....layers import AvgPool2d, BatchNorm2d, Conv2d, Layer, ReLU
from ...operation import Value
from ...passes import Part
from .conv import FusedConv
from .moments import Moments
from .norm import Normalise
from .operation import Saved, Writer, call

BITS = 8  # of a byte: pixels of a pooling window, of which a ReLU notes what it let pass


def can_be_first(layers: Sequence[Layer], image_shape: Sequence[int]) -> bool:
    """Say whether layers begin with a convolution and a batch norm that take moments."""
    if len(layers) < 2:
        return False
    conv, norm = layers[:2]
    if type(conv) is not Conv2d or type(norm) is not BatchNorm2d or not norm.training:
        return False
    trained = all(p.requires_grad for p in (conv.weight, norm.weight, norm.bias))
    return trained and conv.bias is None and Moments.exist(conv, image_shape)


class FirstConv(FusedConv):
    """Its backward leaves sums, of which ``FirstNorm`` makes the gradients of both layers."""

    norm: FirstNorm
    sums_dy = True

    def __init__(self, layer: Conv2d, x: Value, max_sums_bytes: int, threads: int) -> None:
        super().__init__(layer, x, True, max_sums_bytes, threads)
        self.moments = Moments(layer, x.shape)

    @property
    def padded(self) -> bool:
        """Whether windows hold padding: zeros, which are not normalised as pixels are."""
        return self.layer.window.padding != (0, 0)

    def complete(self, w: Writer) -> None:
        self.norm.complete(w)


class FirstNorm(Normalise):
    """The batch norm behind a ``FirstConv``.

    For backward it keeps where a ReLU let a pixel pass; with other nonlinearities its input.
    """

    x_saved: Saved | None
    passed: Saved | None

    def __init__(
        self,
        layer: BatchNorm2d,
        conv: FirstConv,
        activation: Layer | None = None,
        pool: AvgPool2d | None = None,
    ) -> None:
        super().__init__(layer, conv.y, True, activation, pool)
        self.conv, self.x_saved, self.passed = conv, None, None
        conv.norm = self
        if type(activation) is ReLU and prod(self.pool) <= BITS:
            self.passed = Saved(self.y.shape, np.dtype(np.uint8))
        else:
            self.x_saved = self.saved(conv.y)

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.dy, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("window_moments", "first_norm")
        joined, moments = w.scratch("Two", self.joined_bytes), self.conv.moments
        arguments = (moments.of_step(w, w.feed_row()), self._filters(w), joined)
        windows = (moments.struct(w),)
        w.before.append(call("window_statistics", *arguments, template=windows))
        self.use_statistics(w, joined)
        self.save(w, self.x, self.x_saved)
        template = ("I", self.constants(w))
        pointers = (w.at(self.x), self.coefficients(w), w.at(self.y))
        passed = () if self.passed is None else (w.at(self.passed),)
        line = call("norm_forward", self.act, *pointers, "count", *passed, template=template)
        w.each.append(line)

    def backward(self, w: Writer) -> None:
        assert self.dx is not None
        if self.passed is not None:
            template = ("I", self.constants(w))
            arguments = (w.at(self.passed), w.at(self.dy), w.at(self.dx), "count")
            w.each.append(call("first_norm_relu_backward", *arguments, template=template))
            return
        assert self.x_saved is not None
        self.set_coefficients(w, "norm_values", self.statistics_of_batch(w))
        unscaled = ("I", self.constants(w), "false")
        values = self.coefficients(w)
        pointers = (w.at(self.x_saved), w.at(self.dy), values, "nullptr", w.at(self.dx))
        w.each.append(call("norm_backward", self.act, *pointers, "count", template=unscaled))

    def complete(self, w: Writer) -> None:
        """Have the gradients of both layers made beside the next launch, a block for a filter."""
        conv, moments = self.conv, self.conv.moments
        products, blocks = w.rows_before(f"{conv.label}_rows")
        sums, _ = w.rows_before(f"{conv.label}_bias_rows")
        out = [
            w.gradient(of.label, of.layer, which)[1]
            for of, which in ((conv, "weight"), (self, "weight"), (self, "bias"))
        ]
        arguments = (
            "job",
            *(products, sums, blocks, moments.of_step(w, "s.now"), self._filters(w)),
            *(self.array(w, "weight"), self.statistics_of_batch(w), f"{float(self.layer.eps)!r}"),
            *(*out, "(double*)shared"),
        )
        line = call("first_norm_gradients", *arguments, template=(moments.struct(w),))
        w.job(self.channels, line, 8 * (w.threads + moments.pixels), (), 0)

    def _filters(self, w: Writer) -> str:
        """Return a pointer to the weights of the convolution."""
        return w.array(f"{self.conv.label}_weight", self.conv.layer.weight)
