"""A list of NumPy calls for one number of images, and how it runs.

begin: bring the weights into order
each worker loads its images into lanes
for each stage:               # what lies between two barriers
    each worker makes its calls, chunk by chunk
    one worker makes the calls ``once``, when all have arrived at the barrier
end: add what the workers have summed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .chunks import Calls


class Images(Protocol):
    """A batch of images (N, ...): an array, or images that are made when a slice is taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class Barrier(Protocol):
    """Where the workers of a step wait for each other: ``threads.ThreadBarrier``, or a ``Crew``."""

    def wait(self, worker: int, once: Calls) -> None:
        """Wait for all others; one of the workers makes the calls ``once``, then all continue."""


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

    ``inputs`` are per worker; outputs, of inference only, are pairs of images and their array
    (n, ...). The last stage has no barrier, so its ``once`` is empty.
    """

    workers: int
    begin: Calls
    inputs: list[list[Inlet]]
    stages: list[Stage]
    end: Calls
    outputs: list[tuple[slice, np.ndarray]]

    def load(self, x: Images, worker: int) -> None:
        """Copy a worker's images into their lanes; lazy images are made here."""
        part = self.images_of(worker)
        own, normal = x[part], getattr(x, "normal", None)  # of images that are made here
        for inlet in self.inputs[worker]:
            rows = slice(inlet.images.start - part.start, inlet.images.stop - part.start)
            inlet.load(own[rows], normal)

    def images_of(self, worker: int) -> slice:
        """Return which images of the batch are a worker's."""
        inputs = self.inputs[worker]
        return slice(inputs[0].images.start, inputs[-1].images.stop) if inputs else slice(0, 0)

    def compute(self, worker: int, barrier: Barrier) -> None:
        """Do a worker's part of a step, once its images are loaded."""
        for stage in self.stages[:-1]:
            execute(stage.calls[worker])
            barrier.wait(worker, stage.once)
        execute(self.stages[-1].calls[worker])

    def unload(self, out: np.ndarray) -> None:
        """Copy the output to ``out``."""
        for rows, array in self.outputs:
            out[rows] = array


def execute(calls: Calls) -> None:
    for call in calls:
        call()
