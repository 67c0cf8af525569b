"""A list of NumPy calls for one number of images, and how it runs.

load the images into lanes
for each stage:               # what lies between two barriers
    each worker makes its calls, chunk by chunk
    the last worker to arrive makes the calls ``once``
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .chunks import Calls
from .workers import Barrier


class Images(Protocol):
    """A batch of images (N, ...): an array, or images that are made when a slice is taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass
class Inlet:
    """Where some images of a batch go.

    Attributes
    ----------
    images : slice
        Which images.
    lanes : array (..., n)
    staging : array (n, ...)
        Room for floats on their way. Images of 32x32 lie a power of two apart, so the same pixel of
        all images falls into one set of the cache; here they do not. A copy to here and one to the
        lanes take 0.54 us per image, a single copy takes 2.3.
    """

    images: slice
    lanes: np.ndarray
    staging: np.ndarray

    def __post_init__(self) -> None:
        self.axes = (*range(1, self.lanes.ndim), 0)
        self.turned = self.staging.transpose(self.axes)

    def load(self, images: np.ndarray, normal: np.ndarray | None) -> None:
        """Copy the images; uint8 is divided by 255, as ``ToFloat`` does it, and normalised.

        ``normal`` (2, C) is mean and standard deviation of each channel, or None.
        """
        if images.dtype.kind == "f":
            np.copyto(self.staging, images, casting="same_kind")
            np.copyto(self.lanes, self.turned)
        else:
            np.copyto(self.lanes, images.transpose(self.axes))
            np.divide(self.lanes, self.lanes.dtype.type(255), out=self.lanes)
        if normal is not None:
            mean, std = normal[:, :, None, None, None]  # an image is the last axis
            np.subtract(self.lanes, mean, out=self.lanes)
            np.divide(self.lanes, std, out=self.lanes)


@dataclass
class Stage:
    """The calls of each worker up to a barrier, and the calls made there once for all."""

    calls: list[Calls]
    once: Calls


@dataclass
class Program:
    """The calls for one number of images, and where their inputs and outputs lie.

    ``inputs`` and ``outputs`` are per worker; outputs, of inference only, are pairs of images and
    their array (n, ...). The last stage has no barrier, so its ``once`` is empty.
    """

    workers: int
    begin: Calls
    inputs: list[list[Inlet]]
    stages: list[Stage]
    end: Calls
    outputs: list[list[tuple[slice, np.ndarray]]]

    def load(self, x: Images, worker: int) -> None:
        """Copy a worker's images into their lanes; lazy images are made here."""
        inputs = self.inputs[worker]
        if not inputs:
            return
        first, last = inputs[0].images.start, inputs[-1].images.stop
        own, normal = x[first:last], getattr(x, "normal", None)  # of images that are made here
        for inlet in inputs:
            inlet.load(own[inlet.images.start - first : inlet.images.stop - first], normal)

    def work(self, x: Images, worker: int, barrier: Barrier) -> None:
        """Do a worker's part of a step."""
        self.load(x, worker)
        for stage in self.stages[:-1]:
            execute(stage.calls[worker])
            barrier.wait(worker, stage.once)
        execute(self.stages[-1].calls[worker])

    def unload(self, out: np.ndarray, worker: int) -> None:
        """Copy a worker's part of the output to ``out``."""
        for rows, array in self.outputs[worker]:
            out[rows] = array


def execute(calls: Calls) -> None:
    for call in calls:
        call()
