"""A plan is for any executor: a third one, on plain arrays (N, C, H, W), runs it in these tests.

It knows one operation per layer and none of NumPy's lanes. It has what a GPU has: blocks of images
that go through a whole pass in memory that they share, barriers between passes, and other memory
for what outlives a pass. The four files of the plan need no change for it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet.compiled
from nplenet.compiled.operation import Buffer, LossOperation, Operation, Value
from nplenet.compiled.passes import Part, Work
from nplenet.compiled.placement import Lifetimes
from nplenet.compiled.plan import Plan, make_plan
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    Tanh,
)
from nplenet.layers.dropout import keep_mask
from nplenet.layers.sequential import leaves
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5

N, PARTS = 12, 3
HERE = Path(nplenet.compiled.__file__).parent

# ------------------------------------------------------------------------------ the executor


class Block:
    """A part of the batch; ``block[value]`` is its array."""

    def __init__(self, index: int, array_of: Callable[[Value, int], np.ndarray]) -> None:
        self.index, self._array_of = index, array_of

    def __getitem__(self, value: Value) -> np.ndarray:
        return self._array_of(value, self.index)


class LayerOperation(Operation[Layer]):
    """The textbook layer itself, once for each part of the batch, with the same parameters."""

    def __init__(self, layer: Layer, x: Value) -> None:
        super().__init__(layer, x)
        self.layers = [copy.copy(layer) for _ in range(PARTS)]

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.y]
        return [self.x, self.y, self.dy, self.dx]

    def run(self, part: Part, block: Block) -> None:
        layer = self.layers[block.index]
        if part is Part.FORWARD:
            block[self.y][...] = layer.forward(block[self.x])
            return
        layer.input_gradient = self.dx is not None
        dx = layer.backward(block[self.dy])
        if self.dx is not None:
            block[self.dx][...] = dx


class DropoutOperation(LayerOperation):
    """One key for the mask of the whole batch."""

    def run(self, part: Part, block: Block) -> None:
        layer = self.layer
        assert isinstance(layer, Dropout)
        if part is Part.FORWARD and block.index == 0:
            self.key = int(layer.rng.integers(2**64, dtype=np.uint64))
        source, target = (self.x, self.y) if part is Part.FORWARD else (self.dy, self.dx)
        assert target is not None
        x = block[source]
        kept = keep_mask(self.key, x.size, round(layer.p * 2**32), block.index * x.size)
        block[target][...] = x * kept.reshape(x.shape) / (1.0 - layer.p)


class BatchNormOperation(Operation[Any]):
    """Sums of each part, joined at the barriers."""

    barrier = True

    def uses(self, part: Part) -> list[Value | None]:
        return {
            Part.STATISTICS: [self.x],
            Part.FORWARD: [self.x, self.y],
            Part.GRADIENT_SUMS: [self.x, self.__dict__.get("dy")],
            Part.BACKWARD: [self.x, self.__dict__.get("dy"), self.dx],
        }[part]

    def run(self, part: Part, block: Block) -> None:
        x = block[self.x].reshape(N // PARTS, self.x.shape[0], -1)
        if part is Part.STATISTICS:
            self.sums = {} if block.index == 0 else self.sums
            self.sums[block.index] = x.sum(axis=(0, 2)), (x * x).sum(axis=(0, 2))
            return
        xhat = (x - self.mean[:, None]) * self.inverse_std[:, None]
        weight, bias = self.layer.weight.data[:, None], self.layer.bias.data[:, None]
        if part is Part.FORWARD:
            block[self.y].reshape(x.shape)[...] = weight * xhat + bias
            return
        dy = block[self.dy].reshape(x.shape)
        if part is Part.GRADIENT_SUMS:
            self.sums = {} if block.index == 0 else self.sums
            self.sums[block.index] = dy.sum(axis=(0, 2)), (dy * xhat).sum(axis=(0, 2))
        elif self.dx is not None:
            means = (self.sum_dy / self.m)[:, None], (self.sum_dy_xhat / self.m)[:, None]
            dx = weight * self.inverse_std[:, None] * (dy - means[0] - xhat * means[1])
            block[self.dx].reshape(x.shape)[...] = dx

    def join(self, part: Part) -> None:
        first, second = (sum(column) for column in zip(*self.sums.values(), strict=True))
        layer = self.layer
        if part is Part.GRADIENT_SUMS:
            self.sum_dy, self.sum_dy_xhat = first, second
            layer.bias.grad += first
            layer.weight.grad += second
            return
        self.m = N * int(np.prod(self.x.shape[1:]))
        self.mean = first / self.m
        var = second / self.m - self.mean**2
        self.inverse_std = 1.0 / np.sqrt(var + layer.eps)
        layer.num_batches_tracked += 1
        layer.running_mean += layer.momentum * (self.mean - layer.running_mean)
        unbiased = var * self.m / (self.m - 1)
        layer.running_var += layer.momentum * (unbiased - layer.running_var)


class PlainLoss(LossOperation):
    """The mean over the batch, a part at a time."""

    name = "CrossEntropyLoss"

    def __init__(self, loss: CrossEntropyLoss, logits: Value) -> None:
        self.x, self.dx = logits, Value(logits.shape, logits.dtype)
        self.loss = CrossEntropyLoss("sum", loss.label_smoothing)
        self.targets = np.zeros(N, np.int64)
        self.value = self.correct = 0.0

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.dx]

    def run(self, part: Part, block: Block) -> None:
        own = slice(block.index * N // PARTS, (block.index + 1) * N // PARTS)
        self.value += float(self.loss(block[self.x], self.targets[own])) / N
        self.correct += float((block[self.x].argmax(axis=1) == self.targets[own]).sum())
        block[self.dx][...] = self.loss.backward() / N


class PlainExecutor:
    """Parts of the batch in turn, each through a whole pass; see ``nplenet.compiled.plan``."""

    def operation(self, layers: Sequence[Layer], x: Value, training: bool) -> tuple[Any, int]:
        layer = layers[0]
        if isinstance(layer, Dropout):
            return DropoutOperation(layer, x), 1
        if isinstance(layer, (BatchNorm1d, BatchNorm2d)) and training and layer.training:
            return BatchNormOperation(layer, x), 1
        return LayerOperation(layer, x), 1

    def loss(self, loss: CrossEntropyLoss, logits: Value) -> PlainLoss:
        return PlainLoss(loss, logits)

    def kind(self, value: Value) -> None:
        """Only barriers end a pass."""

    def uses(self, work: Work, at_barrier: bool) -> Iterable[Value]:
        operation: Any = work.operation
        return [value for value in operation.uses(work.part) if value is not None]

    def room(self, value: Value) -> int:
        return value.nbytes(N // PARTS)


class Memory:
    """Memory that the blocks share, and one of its own for each part."""

    def __init__(self, plan: Plan) -> None:
        self.placement = plan.placement
        self.shared = np.full(self.placement.shared, 255, np.uint8)  # NaN as floats
        self.kept: dict[tuple[Buffer, int], np.ndarray] = {}

    def array(self, value: Value, part: int) -> np.ndarray:
        size, buffer = value.nbytes(N // PARTS), value.buffer
        if buffer in self.placement.kept:
            memory = self.kept.setdefault((buffer, part), np.full(size, 255, np.uint8))
        else:
            start = self.placement.offsets[buffer]
            memory = self.shared[start : start + size]
        return memory.view(value.dtype).reshape(N // PARTS, *value.shape)


def run(plan: Plan, x: np.ndarray) -> np.ndarray:
    """Run a plan and return the output of the model."""
    memory = Memory(plan)
    blocks = [Block(i, memory.array) for i in range(PARTS)]
    output = []
    for number, each in enumerate(plan.passes):
        for block, images in zip(blocks, np.split(x, PARTS), strict=True):
            if number == 0:
                block[plan.x][...] = images
            for work in each.works:
                operation: Any = work.operation
                operation.run(work.part, block)
                if work.part is Part.FORWARD and operation.y is plan.y:
                    output.append(block[plan.y].copy())
        if each.barrier is not None:
            barrier: Any = each.barrier.operation
            barrier.join(each.barrier.part)
    return np.concatenate(output)


# --------------------------------------------------------------------------- it equals the textbook


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


MODELS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "lenet5": (lambda: LeNet5(seed=1, dropout=0.3), (1, 32, 32)),
    "no-batch-norm": (
        lambda: Sequential(Conv2d(2, 3, 3, rng=rng()), Tanh(), Flatten(), Dense(48, 10, rng=rng())),
        (2, 6, 6),
    ),
    "batch-norm-first-and-twice": (
        lambda: Sequential(
            BatchNorm2d(2), BatchNorm2d(2), MaxPool2d(2), Flatten(), Dense(18, 10, rng=rng())
        ),
        (2, 6, 6),
    ),
    "dense": (
        lambda: Sequential(
            Dense(7, 9, rng=rng()), BatchNorm1d(9), ReLU(), Dropout(0.5, rng=rng()), Dense(9, 10)
        ),
        (7,),
    ),
    "one-convolution": (
        lambda: Sequential(Conv2d(1, 10, 4, stride=2, rng=rng()), AvgPool2d(2), Flatten()),
        (1, 6, 6),
    ),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_a_plan_on_plain_arrays_equals_the_textbook(
    make: Callable[[], Layer], shape: tuple[int, ...]
) -> None:
    textbook = make().astype(np.float64)
    planned, loss = copy.deepcopy(textbook), CrossEntropyLoss(label_smoothing=0.1)
    x = rng().standard_normal((N, *shape))
    targets = np.arange(N) % 10
    layers = [layer for _, layer in leaves(planned)]
    for step in range(2):
        value = loss(textbook(x), targets)
        textbook.zero_grad()
        textbook.input_gradient = False
        textbook.backward(loss.backward())

        plan = make_plan(layers, Value(shape, np.dtype(np.float64)), PlainExecutor(), loss)
        assert isinstance(plan.loss, PlainLoss)
        plan.loss.targets[:] = targets
        planned.zero_grad()
        run(plan, x)
        assert abs(plan.loss.value - float(value)) < 1e-12, step
        for p, q in zip(planned.parameters(), textbook.parameters(), strict=True):
            np.testing.assert_allclose(p.grad, q.grad, rtol=0, atol=1e-10, err_msg=p.name)
        for name, array in textbook.state_dict().items():
            np.testing.assert_allclose(planned.state_dict()[name], array, rtol=0, atol=1e-10)

    textbook.eval()
    planned.eval()
    inference = make_plan(layers, Value(shape, np.dtype(np.float64)), PlainExecutor())
    np.testing.assert_allclose(run(inference, x), textbook(x), rtol=0, atol=1e-10)


def test_only_barriers_cut_the_passes_of_an_executor_without_a_rule() -> None:
    model = LeNet5(seed=0)
    layers = [layer for _, layer in leaves(model)]
    x = Value((1, 32, 32), np.dtype(np.float32))
    plan = make_plan(layers, x, PlainExecutor(), CrossEntropyLoss())
    assert [each.barrier is not None for each in plan.passes] == [True, True, True, True, False]
    assert str(plan.passes[-1]) == "BatchNorm2d backward, Conv2d backward"
    assert plan.operations[0].dx is None  # the images need no gradient


# --------------------------------------------------------------------------- what a plan is made of


@pytest.mark.parametrize("name", ["operation", "passes", "placement", "plan"])
def test_the_files_of_the_plan_hold_no_array_no_call_and_no_thread(name: str) -> None:
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    imported = {
        alias.name if isinstance(node, ast.Import) else f"{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported <= {
        "__future__",
        "collections.abc",
        "dataclasses",
        "enum",
        "math",
        "typing",
        "layers",
        "layers.sequential",
        "losses",
        "operation",
        "passes",
        "placement",
    }


def test_buffers_overlap_only_where_they_are_not_in_use_together() -> None:
    lifetimes, random = Lifetimes(), np.random.default_rng(0)
    uses: dict[Buffer, set[tuple[int, int]]] = {}
    for _ in range(60):
        buffer = Buffer(features=False, scratch=bool(random.integers(2)))
        number, first = int(random.integers(4)), int(random.integers(8))
        last = first + int(random.integers(1, 4))
        size = int(random.integers(1, 100))
        for place in (first, last):
            lifetimes.note(buffer, size, (number, place))
        places = (first, last) if buffer.scratch else range(first, last + 1)
        uses[buffer] = {(number, place) for place in places}
    lasting = Buffer(features=False, scratch=False)
    lifetimes.note(lasting, 10, (0, 3))
    lifetimes.note(lasting, 10, (2, 0))
    placement = lifetimes.place()
    assert placement.kept == (lasting,)
    for one, at in placement.offsets.items():
        assert at + placement.sizes[one] <= placement.shared
        for other, there in placement.offsets.items():
            if one is not other and uses[one] & uses[other]:
                apart = at + placement.sizes[one] <= there or there + placement.sizes[other] <= at
                assert apart
    assert placement.shared < sum(placement.sizes.values())  # some do share
