"""A textbook layer between lanes: for a layer that has no operation in lanes, such as your own.

A layer may couple the images of a batch, and it has one memory for its backward. So it gets the
whole batch at once, at a barrier, as (N, C, H, W):

    each chunk     copies x from its lanes into the batch
    =============================================== barrier: y = layer.forward(batch)
    each chunk     copies y into its lanes

and the same way back. Here the textbook layer runs on one thread; the copies and all other
operations have the threads of the step.
"""

from __future__ import annotations

import threading
from functools import partial

import numpy as np

from ....layers import Layer
from ....layers.hints import floats_returned
from ....layers.sequential import located
from ..chunks import Calls, Chunk, count_images
from .lane import Lane, LaneValue, Limits, as_numpy


class _Textbook(Lane[Layer]):
    """What training and inference share."""

    def __init__(self, layer: Layer, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        if x.features and not self.y.features:
            with self.at_its_path():
                raise ValueError(
                    f"makes images {self.y.shape} of features, which a compiled step cannot; use "
                    "nplenet.compiled.TextbookStep(model, loss, optimizer, batch_size, why)"
                )

    @property
    def name(self) -> str:
        return f"{type(self.layer).__name__} (textbook)"

    @property
    def trained(self) -> bool:
        return bool(self.layer.parameters())

    def at_its_path(self) -> located:
        """Return a context that adds the layer's path to its errors, as ``Sequential`` does."""
        return located(self.limits.paths[id(self.layer)], self.layer)


class TextbookLanes(_Textbook):
    """A textbook layer in training; its own flags say whether it trains."""

    barrier = True

    def __init__(self, layer: Layer, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.batch_x = np.empty((limits.images, *self.x.shape), x.dtype)
        self.batch_dy = np.empty((limits.images, *self.y.shape), x.dtype)
        self.batch_y, self.batch_dx = self.batch_dy, self.batch_x  # what the layer returned last

    def begin(self) -> Calls:
        return [self.layer.zero_grad]

    def statistics(self, chunk: Chunk) -> Calls:
        return [partial(np.copyto, self.batch_x[chunk.images], images_first(chunk[self.x]))]

    def after_statistics(self, chunks: list[Chunk]) -> Calls:
        return [partial(self.run_forward, self.batch_x[: count_images(chunks)])]

    def run_forward(self, x: np.ndarray) -> None:
        with self.at_its_path():
            y, shape = self.layer.forward(x), (len(x), *self.y.shape)
            self.batch_y = as_numpy(floats_returned(self.layer, y, "forward", shape))

    def forward(self, chunk: Chunk) -> Calls:
        return [partial(self.copy_y, chunk.images, images_first(chunk[self.y]))]

    def copy_y(self, images: slice, y: np.ndarray) -> None:
        y[...] = self.batch_y[images]

    def sums_of_gradient(self, chunk: Chunk) -> Calls:
        return [partial(np.copyto, self.batch_dy[chunk.images], images_first(chunk[self.dy]))]

    def after_sums(self, chunks: list[Chunk]) -> Calls:
        return [partial(self.run_backward, self.batch_dy[: count_images(chunks)])]

    def run_backward(self, dy: np.ndarray) -> None:
        before = self.layer.input_gradient
        self.layer.input_gradient = self.dx is not None
        try:
            with self.at_its_path():
                self.batch_dx = self.layer.backward(dy)
                if self.dx is not None:
                    shape = (len(dy), *self.x.shape)
                    floats_returned(self.layer, self.batch_dx, "backward", shape)
        finally:
            self.layer.input_gradient = before

    def backward(self, chunk: Chunk) -> Calls:
        if self.dx is None:
            return []
        return [partial(self.copy_dx, chunk.images, images_first(chunk[self.dx]))]

    def copy_dx(self, images: slice, dx: np.ndarray) -> None:
        dx[...] = self.batch_dx[images]


class TextbookInferenceLanes(_Textbook):
    """A textbook layer in ``eval`` mode, where images don't depend on each other: by chunks."""

    def __init__(self, layer: Layer, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self._one_at_a_time = threading.Lock()

    def forward(self, chunk: Chunk) -> Calls:
        return [partial(self.run, images_first(chunk[self.x]), images_first(chunk[self.y]))]

    def run(self, x: np.ndarray, y: np.ndarray) -> None:
        with self._one_at_a_time, self.layer.evaluating(), self.at_its_path():
            found = self.layer.forward(np.ascontiguousarray(x))
            y[...] = floats_returned(self.layer, found, "forward", y.shape)


def images_first(lanes: np.ndarray) -> np.ndarray:
    """Return lanes (..., n) as a view (n, ...)."""
    return np.moveaxis(lanes, -1, 0)
