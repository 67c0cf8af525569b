"""A whole training step of the textbook layers in one CUDA graph: its numbers, replay by replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.backend import Array, Backend, get_backend
from nplenet.compiled import TextbookStep
from nplenet.layers import (
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
    Sequential,
    Sigmoid,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam, AdamW, Optimizer, clip_gradient_values, clip_gradients

IMAGES, STEPS = 6, 3
Update = Callable[[Optimizer], object]


def chain() -> Sequential:
    """Return a model with each kind of layer that LeNet-5 lacks, and with strides and paddings."""
    rng, kind = np.random.default_rng(5), {"dtype": np.float64}
    return Sequential(
        Conv2d(3, 7, (3, 5), stride=(2, 1), padding=(1, 2), rng=rng, **kind),
        LeakyReLU(0.1),
        MaxPool2d(3, stride=2, padding=1),
        Conv2d(7, 5, 2, bias=False, rng=rng, **kind),
        Conv2d(5, 10, 2, padding=1, dilation=2, groups=5, rng=rng, **kind),
        Conv2d(10, 5, 1, rng=rng, **kind),
        BatchNorm2d(5, momentum=None, **kind),
        Sigmoid(),
        AvgPool2d(2, padding=1),
        Flatten(),
        Dense(30, 33, bias=False, rng=rng, **kind),
        BatchNorm1d(33, **kind),
        Tanh(),
        Dropout(0.5, rng=np.random.default_rng(6)),
        Dense(33, 10, rng=rng, **kind),
    )


def clipped(optimizer: Optimizer) -> None:
    clip_gradients([p for flat in optimizer.flats for p in flat.parameters], 0.1)


def cut_off(optimizer: Optimizer) -> None:
    clip_gradient_values([p for flat in optimizer.flats for p in flat.parameters], 0.01)


def nothing(optimizer: Optimizer) -> None:
    """Leave the gradients as they are."""


LENET5: tuple[Any, ...] = (lambda: LeNet5(seed=0, dtype=np.float64), (1, 32, 32))
CHAIN: tuple[Any, ...] = (chain, (3, 14, 11))
FEATURES: tuple[Any, ...] = (
    lambda: Sequential(
        Dense(70, 41, rng=np.random.default_rng(1), dtype=np.float64),
        ReLU(),
        Dense(41, 10, rng=np.random.default_rng(2), dtype=np.float64),
    ),
    (70,),
)
# Model, shape of an image, optimizer, clipping, loss. Adam makes a whole step of a gradient that is
# rounding noise, as that of a bias before batch norm: a larger eps prevents it.
CASES: dict[str, tuple[Any, ...]] = {
    "lenet5": (*LENET5, AdamW, {"lr": 0.01, "weight_decay": 0.1}, nothing, {}),
    "lenet5, clipped": (*LENET5, SGD, {"lr": 0.1, "momentum": 0.9}, clipped, {}),
    "chain": (
        *CHAIN,
        SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        nothing,
        {"label_smoothing": 0.1},
    ),
    "chain, clipped": (*CHAIN, Adam, {"lr": 0.01, "eps": 1e-3}, clipped, {"reduction": "sum"}),
    "chain, values clipped": (*CHAIN, SGD, {"lr": 0.1}, cut_off, {}),
    "features": (*FEATURES, SGD, {"lr": 0.1}, nothing, {}),
    "bytes": (*LENET5, SGD, {"lr": 0.1}, nothing, {}),
}


@contextmanager
def counting() -> Iterator[Any]:
    """Count what the simulated device is asked; a real device does not count."""
    if gpusim.installed():
        with gpusim.counting() as count:
            yield count
    else:
        yield None


class Side:
    """A model with its step on one backend, and the arrays of its batch."""

    def __init__(self, case: str, backend: Backend) -> None:
        make, self.shape, optimizer, settings, self.clip, options = CASES[case]
        self.backend, xp = backend, backend.xp
        self.model: Layer = make().to(backend)
        self.optimizer = optimizer(self.model.parameters(), **settings)
        self.loss = CrossEntropyLoss(**options)
        self.step = TextbookStep(self.model, self.loss, self.optimizer, IMAGES, "a test")
        dtypes = (np.uint8, np.uint8) if case == "bytes" else (np.float64, np.int64)
        self.x, self.y = xp.zeros((IMAGES, *self.shape), dtypes[0]), xp.zeros(IMAGES, dtypes[1])
        self.dropouts = [m for _, m in self.model.modules() if isinstance(m, Dropout)]

    def fill(self, number: int) -> None:
        """Write the batch of a step to the arrays where it lies."""
        rng = np.random.default_rng(number)
        x = 255 * rng.random(self.x.shape)
        self.x[...] = self.backend.asarray(x if self.x.dtype == np.uint8 else x / 255, self.x.dtype)
        self.y[...] = self.backend.asarray(rng.integers(0, 10, IMAGES))
        self.optimizer.lr *= 0.9  # a schedule

    def result(self, value: Array) -> dict[str, np.ndarray]:
        arrays = {"loss": value, "correct": self.step.correct, **self.model._state()}
        arrays |= {f"d{p.name}": p.grad for p in self.model.parameters()}
        arrays |= self.optimizer._arrays()
        return {name: np.array(self.backend.to_numpy(array)) for name, array in arrays.items()}

    def eager(self, number: int) -> dict[str, np.ndarray]:
        self.fill(number)
        value = self.step.gradients(self.x, self.y)
        self.clip(self.optimizer)
        self.optimizer.step()
        return self.result(value)


class Graph(Side):
    """The same, captured: all that changes from step to step lies on the device."""

    def __init__(self, case: str, backend: Any) -> None:
        super().__init__(case, backend)
        xp, states = backend.xp, (self.model.state_dict(), self.optimizer.state_dict())
        for layer in self.dropouts:
            layer.key_there = xp.zeros(1, np.uint64)
        self.loss.forward_there = xp.zeros(1, np.int64)
        self.loss.fault_on(backend)
        self.optimizer.step_count = 1
        self.numbers = xp.asarray(self.optimizer.numbers())
        self.pool = xp.cuda.MemoryPool()
        self.stream = xp.cuda.Stream(non_blocking=True)
        xp.cuda.Device().synchronize()  # the stream does not wait for the default stream
        with xp.cuda.using_allocator(self.pool.malloc), self.stream, backend.capturable():
            for _ in range(2):  # compiles, and takes the memory: also what one leaves to the next
                self.work()
            self.stream.begin_capture()
            try:
                with counting() as self.captured:
                    self.value = self.work()
            finally:
                self.graph = self.stream.end_capture()
        self.stream.synchronize()
        self.model.load_state_dict(states[0])  # as before the first run
        self.optimizer.load_state_dict(states[1])

    def work(self) -> Array:
        value = self.step.gradients(self.x, self.y)
        self.clip(self.optimizer)
        self.optimizer.update(self.numbers)
        return value

    def replay(self, number: int) -> dict[str, np.ndarray]:
        self.fill(number)
        for layer in self.dropouts:
            layer.key_there[...] = self.backend.asarray(layer.draw_key(), np.uint64)
        self.loss.forward_there[...] = self.loss.count_forward()
        self.optimizer.step_count += 1
        self.numbers[...] = self.backend.asarray(self.optimizer.numbers())
        self.backend.xp.cuda.Device().synchronize()
        with counting() as self.count:
            self.graph.launch(self.stream)
        self.stream.synchronize()
        return self.result(self.value)


@pytest.mark.parametrize("case", CASES)
def test_a_captured_step_equals_the_step_of_numpy(cuda: Backend, case: str) -> None:
    graph, numpy = Graph(case, cuda), Side(case, get_backend("numpy"))
    if graph.captured:  # nothing ran, waited, was allocated or came from the host
        assert graph.captured.value.nonzero().keys() == {"captured"}
    for number in range(STEPS):
        found, expected = graph.replay(number), numpy.eager(number)
        if graph.count:
            assert graph.count.value.nonzero() == {"graph_launches": 1}
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            limit = 1e-10 * max(1.0, np.abs(array).max(initial=0))  # sums in another order
            np.testing.assert_allclose(found[name], array, rtol=0, atol=limit, err_msg=name)
    graph.loss.check()


@pytest.mark.parametrize("case", ["lenet5", "chain, clipped"])
def test_replays_give_the_same_bits_in_any_order_of_threads(cuda: Backend, case: str) -> None:
    results = []
    for order in ("forward", "reverse", "random:3"):
        graph = Graph(case, cuda)
        with gpusim.thread_order(order):
            found = [graph.replay(number) for number in range(2)]
        results.append([{k: v.tobytes() for k, v in step.items()} for step in found])
    assert results[0] == results[1] == results[2]


def test_a_label_out_of_range_in_a_replay_is_named_with_its_batch(cuda: Backend) -> None:
    graph = Graph("features", cuda)
    graph.replay(0)
    graph.fill = lambda number: graph.y.__setitem__(2, 77 if number == 1 else 3)
    assert np.isnan(graph.replay(1)["loss"])
    graph.replay(2)
    with pytest.raises(ValueError, match=r"label 77 of sample 2 in batch 2 of the 3 since"):
        graph.loss.check()


def test_cublas_in_a_capture_is_refused_by_cupy(cuda: Backend) -> None:
    x, weight = cuda.xp.ones((3, 4)), cuda.xp.ones((4, 5))
    stream = cuda.xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
                cuda.xp.matmul(x, weight)
        finally:
            stream.end_capture()
