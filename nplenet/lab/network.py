"""A LeNet-5 whose layers, loss, optimizer and rotation are a student's where they have full points.

The model is the library's; on each layer that a student wrote, ``forward`` and ``backward`` are
replaced by calls of the student's. So it runs the textbook path, layer by layer: no compiled step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..augment.rotation import rotate
from ..layers import AvgPool2d, BatchNorm2d, Conv2d, Dense, Dropout, Layer, ReLU
from ..losses import CrossEntropyLoss
from ..models import LeNet5
from ..optim import Adam
from .answer import Answer
from .assignment import ASSIGNMENTS
from .compare import WrongAnswer
from .grader import grade
from .worker import source_of

LIBRARY = "nplenet"
# Whose forward and whose backward, for each kind of layer; and the constructor's arguments.
KINDS: tuple[tuple[type[Layer], str, str, tuple[str, ...]], ...] = (
    (
        Conv2d,
        "conv",
        "conv-backward",
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "bias"),
    ),
    (BatchNorm2d, "batch-norm", "batch-norm", ("num_features", "eps", "momentum")),
    (ReLU, "activations", "activations", ()),
    (AvgPool2d, "pooling", "pooling", ("kernel_size", "stride", "padding")),
    (Dense, "dense", "dense", ("in_features", "out_features", "bias")),
    (Dropout, "dropout", "dropout", ()),
)


@dataclass
class Network:
    """What is trained.

    Attributes
    ----------
    model, loss, optimizer
        The library's, or a student's.
    rotate : function
        Takes images, angles and fill.
    origins : list of (path, kind, forward's file, backward's file)
        For each part whose it is: the name of a file, or ``nplenet``.
    notes : list of str
        Why an answer is not used.
    """

    model: Any
    loss: Any
    optimizer: Any
    rotate: Any
    origins: list[tuple[str, str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def answers(folders: Sequence[Path], everything: bool) -> tuple[dict[str, Answer], list[str]]:
    """Return the loaded answers with full points by assignment, and why others are left out.

    ``everything`` uses those that lose points, too. If two folders hold one assignment, the first
    one counts.
    """
    found: dict[str, Answer] = {}
    notes = []
    for folder in folders:
        for result in grade(folder):
            home = folder.parent if folder.is_file() else folder
            if result.name in found or result.name == "cuda":
                continue
            if result.points < result.of:
                left = "" if everything else ", so nplenet's own is used"
                notes.append(f"{result.file} has {result.points} of {result.of} points{left}")
            if result.points == result.of or everything:
                try:
                    found[result.name] = loaded(home / result.file)
                except WrongAnswer as wrong:
                    notes.append(f"{result.file} can't be used: {wrong}")
    return found, notes


def loaded(path: Path) -> Answer:
    """Return the answer in a file, which has been run."""
    answer = Answer(path.resolve(), source_of(path))
    answer.load()
    return answer


def build(folders: Sequence[Path], *, seed: int = 0, everything: bool = False) -> Network:
    """Return the network made of the answers in some folders."""
    given, notes = answers(folders, everything)
    model = LeNet5(seed=seed)
    origins = []
    for path, layer in model.modules():
        for kind, forward, backward, names in KINDS:
            if type(layer) is kind:
                students = {
                    name: twin(layer, kind, given[name], names)
                    for name in {forward, backward} & given.keys()
                }
                replace(layer, students.get(forward), students.get(backward))
                whose = [origin(name, given) for name in (forward, backward)]
                origins.append((path.rstrip("."), kind.__name__, whose[0], whose[1]))
    loss: Any = CrossEntropyLoss()
    if "cross-entropy" in given:
        loss = given["cross-entropy"].module.__dict__["CrossEntropyLoss"]()
    optimizer: Any = Adam
    if "optimizers" in given:
        optimizer = given["optimizers"].module.__dict__["Adam"]
    turn: Any = given["rotation"].module.__dict__["rotate"] if "rotation" in given else rotate
    for name, kind_name, task in (
        ("loss", "CrossEntropyLoss", "cross-entropy"),
        ("optimizer", "Adam", "optimizers"),
        ("augmentation", "rotate", "rotation"),
    ):
        whose = [origin(task, given)]
        origins.append((name, kind_name, whose[0], whose[0] if name == "loss" else ""))
    return Network(model, loss, optimizer(model.parameters(), 2e-3), turn, origins, notes)


def origin(name: str, given: Mapping[str, Answer]) -> str:
    """Return the file of an assignment, if it is used."""
    return ASSIGNMENTS[name].file if name in given else LIBRARY


def twin(layer: Any, kind: type[Layer], answer: Answer, names: Sequence[str]) -> Any:
    """Return the student's layer that shares parameters and statistics with the library's."""
    arguments = layer.arguments()
    given = {name: arguments[name] for name in names}
    if kind is Dropout:
        given = {"p": layer.p, "rng": layer.rng}
    own = answer.module.__dict__[kind.__name__](**given)
    for name, value in vars(layer).items():
        if hasattr(value, "grad"):
            setattr(own, name, value)
    for name in layer.buffers:
        if hasattr(own, name):
            setattr(own, name, getattr(layer, name))
    return own


def replace(layer: Any, front: Any, back: Any) -> None:
    """Let ``layer`` run the forward of ``front`` and the backward of ``back``; None is its own.

    What an answer gives is converted to float32, in which the network computes, and a gradient
    that it puts in place of ``grad`` is copied into it.
    """
    forward, backward = layer.forward, layer.backward

    def run(x: Any) -> Any:
        for own in (front, back):
            if own is not None:
                own.training = layer.training
        y = forward(x) if front is None or back is None else None
        if back is not None and back is not front:
            y = back.forward(x)
        if front is not None:
            y = front.forward(x)
        return np.asarray(y, np.float32)

    def run_back(dy: Any) -> Any:
        if back is None:
            return backward(dy)
        grads = {p.name: p.grad for p in layer.parameters()}
        dx = back.backward(dy)
        for p in layer.parameters():
            if p.grad is not grads[p.name]:
                grads[p.name][...] = p.grad
                p.grad = grads[p.name]
        return np.asarray(dx, np.float32)

    if front is not None or back is not None:
        layer.forward, layer.backward = run, run_back
