"""The one table: one row per layer, loss or model, with its cases and its rungs.

Gradient checks and tests iterate over ``ROWS``; a layer of the library without a row fails the
test-suite. A case's input is small, because a finite difference costs one forward per number.

A rung is another form of the same mathematics, such as a CUDA kernel or an ONNX operator. A row
names its rungs; their code lies where it is used, and a test compares it with the rows. A rung that
a row does not name is missing on purpose: ``WITHOUT`` says what happens instead.
``python -m nplenet layers`` prints the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .backend import Array, get_backend
from .layers import (
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
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from .losses import CrossEntropyLoss
from .models import LeNet5

RUNGS: dict[str, str] = {
    "textbook": "plain forward and backward, on NumPy and CuPy",
    "kernel": "CUDA kernels for its primitives",
    "cpu": "its operation in the compiled step on the CPU",
    "cuda": "its operation in the compiled step on a GPU",
    "onnx": "operators in the export to ONNX",
    "page": "computed and explained on the page of `nplenet draw`",
    "golden": "tested against values computed by PyTorch",
    "docs": "an entry in the reference",
}
"""The rungs, explained. Every row has the rungs that are not in ``WITHOUT``."""

WITHOUT: dict[str, str] = {
    "kernel": "on a GPU its primitives run as array operations of CuPy",
    "cpu": "the compiled step runs its textbook form at a barrier, which describe() names",
    "cuda": "on a GPU its textbook kernels run, in a graph or one by one",
    "onnx": "`nplenet export` refuses the model with an error that names the layer",
    "page": "`nplenet draw` refuses the model with an error that names the layer",
    "golden": "only finite differences check its gradients",
}
"""What happens if a row does not name the rung."""


@dataclass(frozen=True)
class Case:
    """A layer or loss with one set of arguments, and the shape of a test input.

    Attributes
    ----------
    name : str
        Full name, such as ``conv2d/stride``.
    make : callable
        Takes a random generator for weights or masks; returns a new layer or loss.
    input_shape : tuple of int
        Shape of ``x``, batch axis first; of ``logits`` for a loss.
    """

    name: str
    make: Callable[[np.random.Generator], Layer | CrossEntropyLoss]
    input_shape: tuple[int, ...]

    def build(
        self, seed: int = 0, dtype: npt.DTypeLike = np.float64, backend: str = "numpy"
    ) -> Layer | CrossEntropyLoss:
        """Return a new layer or loss; the same seed gives the same one.

        Parameters and running statistics get random values: the initial weight of 1, bias of 0 and
        mean of 0 of a batch norm would hide a missing term.
        """
        rng = np.random.default_rng(seed)
        made = self.make(rng)
        if not isinstance(made, Layer):
            return made
        for parameter in made.parameters():
            parameter.data += 0.2 * rng.standard_normal(parameter.data.shape, np.float32)
        for _, layer in made.modules():
            if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
                layer.running_mean += 0.2 * rng.standard_normal(layer.num_features, np.float32)
                layer.running_var += rng.uniform(-0.5, 0.5, layer.num_features)
        return made.astype(dtype).to(backend)

    def input(
        self, seed: int = 0, dtype: npt.DTypeLike = np.float64, backend: str = "numpy"
    ) -> Array:
        """Return a standard normal array of ``input_shape``."""
        values = np.random.default_rng([seed, 1]).standard_normal(self.input_shape)
        return get_backend(backend).asarray(values, dtype=dtype)

    def targets(self, seed: int = 0, backend: str = "numpy") -> Array:
        """Return labels (N,) for a loss on logits (N, K): int64, 0..K-1."""
        n, k = self.input_shape
        return get_backend(backend).asarray(np.random.default_rng([seed, 2]).integers(0, k, n))


@dataclass(frozen=True)
class Row:
    """A layer, loss or model class, its cases and its rungs.

    Attributes
    ----------
    name : str
        The name of the class in lower case, which commands use: ``conv2d``.
    kind : type
        The class itself.
    cases : tuple of Case
        At least one.
    rungs : frozenset of str
        The names of its rungs, keys of ``RUNGS``.
    """

    name: str
    kind: type
    cases: tuple[Case, ...]
    rungs: frozenset[str]


Make = Callable[[np.random.Generator], Layer | CrossEntropyLoss]


def _row(
    kind: type,
    input_shape: tuple[int, ...],
    makes: dict[str, Make | tuple[Make, tuple[int, ...]]],
    rungs: str = "",
) -> Row:
    """Return a row; a case uses ``input_shape`` unless its entry in ``makes`` has its own shape."""
    name = kind.__name__.lower()
    cases = []
    for label, entry in makes.items():
        make, shape = entry if isinstance(entry, tuple) else (entry, input_shape)
        cases.append(Case(f"{name}/{label}", make, shape))
    optional = frozenset(rungs.split())
    if not optional <= WITHOUT.keys():
        raise ValueError(f"{name}: unknown rungs {sorted(optional - WITHOUT.keys())}")
    return Row(name, kind, tuple(cases), optional | (RUNGS.keys() - WITHOUT.keys()))


ROWS: tuple[Row, ...] = (
    _row(
        Conv2d,
        (2, 2, 6, 5),
        {
            "3x3": lambda rng: Conv2d(2, 3, 3, rng=rng),
            "1x1": lambda rng: Conv2d(2, 3, 1, rng=rng),
            "stride": lambda rng: Conv2d(2, 3, 3, stride=2, rng=rng),
            "padding": lambda rng: Conv2d(2, 3, 3, padding=2, rng=rng),
            "rectangular": lambda rng: Conv2d(2, 3, (2, 3), stride=(3, 2), padding=(1, 0), rng=rng),
            "gaps": lambda rng: Conv2d(2, 3, 2, stride=3, rng=rng),
            "no-bias": lambda rng: Conv2d(2, 3, 3, bias=False, rng=rng),
            "one-pixel-out": (lambda rng: Conv2d(3, 2, 4, rng=rng), (2, 3, 4, 4)),
            "dilation": lambda rng: Conv2d(2, 3, 3, padding=2, dilation=(2, 1), rng=rng),
            "groups": (lambda rng: Conv2d(4, 6, 3, stride=2, groups=2, rng=rng), (2, 4, 6, 5)),
            "depthwise": (
                lambda rng: Conv2d(3, 6, 2, dilation=2, groups=3, bias=False, rng=rng),
                (2, 3, 5, 4),
            ),
        },
        "kernel cpu cuda onnx page golden",
    ),
    _row(
        BatchNorm2d,
        (3, 2, 4, 3),
        {
            "train": lambda rng: BatchNorm2d(2),
            "eval": lambda rng: BatchNorm2d(2).eval(),
            "average": lambda rng: BatchNorm2d(2, momentum=None),
        },
        "kernel cpu cuda onnx page golden",
    ),
    _row(
        BatchNorm1d,
        (6, 3),
        {
            "train": lambda rng: BatchNorm1d(3),
            "eval": lambda rng: BatchNorm1d(3).eval(),
            "sequence": (lambda rng: BatchNorm1d(3), (3, 3, 4)),
        },
        "kernel cpu cuda onnx page golden",
    ),
    _row(
        GroupNorm,
        (3, 4, 3, 2),
        {
            "two-groups": lambda rng: GroupNorm(2, 4),
            "one-group": lambda rng: GroupNorm(1, 4, eps=0.1),
            "plain": lambda rng: GroupNorm(4, 4, affine=False),
            "features": (lambda rng: GroupNorm(2, 6), (3, 6)),
            "sequence": (lambda rng: GroupNorm(3, 6), (2, 6, 4)),
        },
        "onnx page golden",
    ),
    _row(
        LayerNorm,
        (4, 6),
        {
            "no-bias": lambda rng: LayerNorm(6, eps=0.1, bias=False),
            "plain": lambda rng: LayerNorm(6, elementwise_affine=False),
            "affine": (lambda rng: LayerNorm(5), (2, 3, 5)),
            "images": (lambda rng: LayerNorm((2, 3, 4)), (3, 2, 3, 4)),
        },
        "onnx page golden",
    ),
    _row(
        AvgPool2d,
        (2, 2, 6, 7),
        {
            "2x2": lambda rng: AvgPool2d(2),
            "overlap": lambda rng: AvgPool2d(3, stride=1),
            "gaps": lambda rng: AvgPool2d(2, stride=3),
            "padding": lambda rng: AvgPool2d(3, stride=2, padding=1),
            "padding-not-counted": lambda rng: AvgPool2d(
                3, stride=2, padding=1, count_include_pad=False
            ),
            "ceil": lambda rng: AvgPool2d(2, ceil_mode=True),
            "ceil-padding": lambda rng: AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
            "rectangular": lambda rng: AvgPool2d(
                (2, 3), stride=(1, 2), padding=(0, 1), ceil_mode=True, count_include_pad=False
            ),
        },
        "kernel cpu cuda onnx page golden",
    ),
    _row(
        MaxPool2d,
        (2, 2, 6, 7),
        {
            "2x2": lambda rng: MaxPool2d(2),
            "overlap": lambda rng: MaxPool2d(3, stride=1),
            "gaps": lambda rng: MaxPool2d(2, stride=3),
            "padding": lambda rng: MaxPool2d(3, stride=2, padding=1),
            "dilation": lambda rng: MaxPool2d(2, stride=1, dilation=(2, 3)),
            "ceil": lambda rng: MaxPool2d(2, ceil_mode=True),
            "rectangular": lambda rng: MaxPool2d(
                (3, 2), stride=(2, 1), padding=(1, 0), dilation=(2, 1), ceil_mode=True
            ),
        },
        "kernel cpu cuda onnx page golden",
    ),
    _row(
        GlobalAvgPool2d, (2, 3, 4, 5), {"maps": lambda rng: GlobalAvgPool2d()}, "onnx page golden"
    ),
    _row(
        Dense,
        (4, 5),
        {
            "bias": lambda rng: Dense(5, 3, rng=rng),
            "no-bias": lambda rng: Dense(5, 3, bias=False, rng=rng),
            "one-output": lambda rng: Dense(5, 1, rng=rng),
        },
        "kernel cpu cuda onnx page golden",
    ),
    _row(Flatten, (2, 3, 2, 4), {"images": lambda rng: Flatten()}, "cpu cuda onnx page golden"),
    _row(
        Dropout,
        (4, 3, 5),
        {
            "train": lambda rng: Dropout(0.4, rng=rng),
            "eval": lambda rng: Dropout(0.4, rng=rng).eval(),
            "keep-all": lambda rng: Dropout(0.0, rng=rng),
            "drop-all": lambda rng: Dropout(1.0, rng=rng),
        },
        "kernel cpu cuda onnx page",
    ),
    _row(ReLU, (3, 4, 5), {"plain": lambda rng: ReLU()}, "kernel cpu cuda onnx page golden"),
    _row(
        LeakyReLU,
        (3, 4, 5),
        {"default": lambda rng: LeakyReLU(), "steep": lambda rng: LeakyReLU(0.3)},
        "kernel cpu cuda onnx page golden",
    ),
    _row(Sigmoid, (3, 4, 5), {"plain": lambda rng: Sigmoid()}, "kernel cpu cuda onnx page golden"),
    _row(Tanh, (3, 4, 5), {"plain": lambda rng: Tanh()}, "kernel cpu cuda onnx page golden"),
    _row(
        GELU,
        (3, 4, 5),
        {"exact": lambda rng: GELU(), "tanh": lambda rng: GELU("tanh")},
        "onnx page golden",
    ),
    _row(
        Softmax,
        (4, 5),
        {"features": lambda rng: Softmax(), "maps": (lambda rng: Softmax(), (2, 3, 4, 2))},
        "onnx page golden",
    ),
    _row(
        Sequential,
        (3, 2, 6, 6),
        {
            "nested": lambda rng: Sequential(
                features=Sequential(Conv2d(2, 3, 3, rng=rng), Tanh(), AvgPool2d(2)),
                classifier=Sequential(
                    Flatten(), Dense(12, 4, rng=rng), LeakyReLU(), Dropout(0.3, rng=rng)
                ),
            ),
            # The gradient of this bias is zero: batch norm subtracts it again.
            "bias-before-batchnorm": lambda rng: Sequential(
                Conv2d(2, 3, 3, rng=rng), BatchNorm2d(3), ReLU(), MaxPool2d(2)
            ),
            "dense-batchnorm": lambda rng: Sequential(
                Flatten(), Dense(72, 5, rng=rng), BatchNorm1d(5), Sigmoid()
            ),
        },
        "kernel cpu cuda onnx page",
    ),
    _row(
        Residual,
        (3, 2, 5, 4),
        {
            "identity": lambda rng: Residual(
                Sequential(Conv2d(2, 2, 3, padding=1, rng=rng), BatchNorm2d(2), Tanh())
            ),
            "projection": lambda rng: Residual(
                Sequential(Conv2d(2, 4, 3, stride=2, padding=1, rng=rng), GroupNorm(2, 4)),
                Conv2d(2, 4, 1, stride=2, rng=rng),
            ),
            "nested": lambda rng: Residual(Residual(Tanh()), Dropout(0.3, rng=rng)),
        },
        "kernel onnx page",
    ),
    _row(
        CrossEntropyLoss,
        (4, 5),
        {
            "mean": lambda rng: CrossEntropyLoss(),
            "sum": lambda rng: CrossEntropyLoss(reduction="sum"),
            "smoothing": lambda rng: CrossEntropyLoss(label_smoothing=0.1),
            "smoothing-sum": lambda rng: CrossEntropyLoss("sum", label_smoothing=1.0),
            "none": lambda rng: CrossEntropyLoss("none"),
            "smoothing-none": lambda rng: CrossEntropyLoss("none", label_smoothing=0.1),
            "weight": lambda rng: CrossEntropyLoss(weight=[1, 2, 0.5, 0, 3]),
            "ignore": lambda rng: CrossEntropyLoss(ignore_index=1, label_smoothing=0.1),
        },
        "kernel cpu cuda golden",
    ),
    _row(
        LeNet5,
        (2, 1, 32, 32),
        {
            "grey": lambda rng: LeNet5(seed=int(rng.integers(2**31))),
            "colour": (
                lambda rng: LeNet5(
                    num_classes=4, conv_bias=True, in_channels=3, seed=int(rng.integers(2**31))
                ),
                (2, 3, 32, 32),
            ),
        },
        "kernel cpu cuda onnx page golden",
    ),
)

CASES: dict[str, Case] = {case.name: case for row in ROWS for case in row.cases}


def select(names: Sequence[str] = ()) -> list[Case]:
    """Return the cases of the named rows and the named cases; without names, all cases.

    Raises
    ------
    ValueError
        For a name that is neither, listing the names of the rows.
    """
    chosen: dict[str, Case] = {}
    rows = {row.name: row.cases for row in ROWS}
    for name in names or rows:
        if name not in rows and name not in CASES:
            row = rows.get(name.partition("/")[0])
            known = [case.name for case in row] if row else [*rows]
            hint = "" if row else " or a case of one, such as conv2d/stride"
            raise ValueError(f"unknown name {name!r}, expected one of {', '.join(known)}{hint}")
        cases = rows[name] if name in rows else (CASES[name],)
        chosen.update({case.name: case for case in cases})
    return list(chosen.values())
