"""What a training run prints."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TextIO

from ..checkpoint import Checkpoint, CheckpointFolder
from ..data import DataLoader, Dataset, DeviceLoader
from ..group import Group
from ..models import LeNet5
from ..recipe import Settings
from ..terminal import printable, show
from ..train import Evaluation, History, confusion_table
from .extension import epochs_before


@dataclass
class Console:
    """The output of a run: printed by rank 0 only, and with --quiet only the result."""

    rank: int
    quiet: bool

    def print(self, text: object, file: TextIO | None = None) -> None:
        if self.rank == 0:
            show(text, file=file)

    def detail(self, text: object) -> None:
        if not self.quiet:
            self.print(text)

    def introduce(
        self,
        data: Dataset,
        loader: DataLoader | DeviceLoader,
        resume: Checkpoint | None,
        epochs: int,
        checkpoints: CheckpointFolder | None,
    ) -> None:
        """Print the data set, the checkpoint of a run that resumes, and what a new one moves."""
        if data.notice:
            self.print(printable(data.notice), file=sys.stderr)
        images, tests = len(loader.images), len(data.test_images)
        self.detail(
            f"{printable(data.name)} from {printable(data.source)}: {images:,} training, "
            f"{len(data.train_images) - images:,} validation, {tests:,} test images"
        )
        if resume:
            self.detail(f"resuming from {printable(resume.path)}")
        elif checkpoints and checkpoints.latest.is_file():
            kept = checkpoints.folder / f"previous-{checkpoints.latest.name}"
            self.detail(f"a new run; the earlier one becomes {printable(kept)}")
        if done := epochs_before(resume, epochs):
            self.detail(
                f"its {done} epochs were finished: {epochs - done} more, with a new schedule"
            )

    def announce(
        self,
        model: LeNet5,
        settings: Settings,
        backend: str,
        group: Group,
        loader: DataLoader | DeviceLoader,
        checkpoints: CheckpointFolder | None,
    ) -> None:
        """Print model, step, backend and epochs, whether the model is kept, and the layers."""
        parameters = sum(p.data.size for p in model.parameters())
        step = "textbook layers" if settings.eager else "compiled step"
        ranks = f", {group.size} processes" if group.size > 1 else ""
        self.detail(
            f"LeNet-5, {parameters:,} parameters; {step} on {backend}{ranks}; "
            f"{settings.epochs} epochs of {len(loader)} steps"
        )
        if checkpoints is None:
            self.detail("the model is not kept: --output DIR keeps it, and a report")
        if not settings.eager:
            self.detail(
                "the compiled step computes what the layers compute; --eager runs the layers"
            )
        self.detail(model.summary((1, *loader.images.shape[1:])))

    def conclude(
        self,
        history: History,
        epochs: int,
        data: Dataset,
        tested: Evaluation,
        inverted: Evaluation,
    ) -> None:
        done = len(history.epochs)
        if done < epochs:
            reason = f"interrupted by {history.interrupted}" if history.interrupted else "stopped"
            self.print(f"{reason} after {done} complete epochs; results so far:")
        self.detail(confusion_table(tested.confusion, [printable(name) for name in data.classes]))
        self.print(
            f"test accuracy {tested.accuracy:.2%}, on inverted images {inverted.accuracy:.2%}, "
            f"trained in {history.seconds:.2f} s"
        )
