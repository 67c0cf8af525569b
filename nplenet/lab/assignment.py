"""The assignments: names, files and chapters, and the texts that a student gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Assignment:
    """One assignment of the lab.

    Attributes
    ----------
    name : str
        As in ``nplenet lab start NAME``.
    title : str
    file : str
        What the student writes.
    chapter : str
        The chapter of the book that explains it.
    seconds : float
        Time limit per part.
    megabytes : int
        Memory that an answer may take beyond what the grader needs itself.
    """

    name: str
    title: str
    file: str
    chapter: str
    seconds: float = 4.0
    megabytes: int = 1024

    @property
    def parts(self) -> Sequence[Any]:
        """The parts, each with a name, points and a check."""
        module = import_module(f".checks.{self.name.replace('-', '_')}", __package__)
        parts: Sequence[Any] = module.PARTS
        return parts

    @property
    def points(self) -> int:
        """The points of all parts."""
        return sum(part.points for part in self.parts)

    @property
    def skeleton(self) -> str:
        """The file with blanks."""
        return _text(f"skeletons/{self.file}.txt")

    @property
    def instructions(self) -> str:
        """What is to be done, in Markdown, without the table of points."""
        return _text(f"instructions/{self.name}.md")


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


ASSIGNMENTS: dict[str, Assignment] = {
    assignment.name: assignment
    for assignment in (
        Assignment("dense", "Dense layer", "dense.py", "first-network"),
        Assignment("activations", "Activations", "activations.py", "activations"),
        Assignment("cross-entropy", "Cross entropy", "cross_entropy.py", "cross-entropy"),
        Assignment("optimizers", "From SGD to Adam", "optimizers.py", "optimizers"),
        Assignment("conv", "Convolution with im2col", "conv.py", "convolution"),
        Assignment(
            "conv-backward",
            "Backward of the convolution",
            "conv_backward.py",
            "convolution-backward",
        ),
        Assignment("pooling", "Average pooling", "pooling.py", "pooling"),
        Assignment("batch-norm", "Batch normalisation", "batch_norm.py", "batch-norm"),
        Assignment("dropout", "Dropout", "dropout.py", "dropout"),
        Assignment("rotation", "Rotation of images", "rotation.py", "augmentation"),
        Assignment("cuda", "A CUDA kernel", "kernel.cu", "cuda", seconds=20.0, megabytes=4096),
    )
}


def find(name: str) -> Assignment:
    """Return an assignment by its name."""
    if name not in ASSIGNMENTS:
        raise ValueError(f"unknown assignment {name!r}, expected one of {', '.join(ASSIGNMENTS)}")
    return ASSIGNMENTS[name]
