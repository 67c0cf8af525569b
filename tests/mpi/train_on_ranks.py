"""Train LeNet-5 on bundled digits, alone or under mpiexec: a program, run by the tests.

    python tests/mpi/train_on_ranks.py FOLDER [name=value ...] [FOLDER [name=value ...]] ...

It takes the numbers and names in ``SETTINGS``. Rank 0 saves to FOLDER and leaves there
``result.npz``: the weights, the loss of each epoch, and the validation loss. A word without "="
begins another training, from the start, in the same processes. On a GPU each rank prints which
kernels it has launched. With ``fault`` a rank does something bad after a few steps; ``differs``
gives the last rank other data, say.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nplenet.augment import Compose, RandomInvert, RandomRotation, ToFloat
from nplenet.backend.launch import Launcher
from nplenet.checkpoint import LATEST, CheckpointFolder, load
from nplenet.compiled import Step, TextbookStep, compile
from nplenet.data import DataLoader, load_digits, pad_images
from nplenet.group import Group
from nplenet.losses import CrossEntropyLoss
from nplenet.machine import environment
from nplenet.models import LeNet5
from nplenet.mpi import join
from nplenet.optim import SGD, Adam, Optimizer
from nplenet.schedules import StepLR
from nplenet.seeds import generator
from nplenet.train import fit

SETTINGS = {
    "images": "320",
    "batch": "32",
    "epochs": "3",
    "until": "0",  # stop after N epochs
    "save": "1000",  # steps from one checkpoint to the next; each epoch ends with one
    "dtype": "float64",
    "backend": "numpy",
    "eager": "",
    "threads": "1",  # of the compiled step; empty leaves its tunables to fit
    "fault": "",
    "rule": "Adam",
    "tuned": "",  # groups, frozen layers, clipping; "weighted": and a loss with class weights
    "rank": "1",  # which has the fault
    "differs": "",
    "seconds": "20",
}


class Faulty(StepLR):
    """A schedule, since that is called at each step, under which a rank fails at the fifth."""

    def __init__(self, optimizer: Optimizer, fault: str) -> None:
        super().__init__(optimizer, step_size=1000)
        self.fault, self.left = fault, 5

    def step(self) -> None:
        super().step()
        self.left -= 1
        if self.left == 0 and self.fault:
            getattr(self, self.fault)()

    def raises(self) -> None:
        raise RuntimeError("this rank has had enough")

    def dies(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def hangs(self) -> None:
        time.sleep(1000)

    def stops(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def is_told_to_end(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def train(folder: Path, settings: dict[str, str], group: Group) -> None:
    last = group.rank == group.size - 1
    differs = settings["differs"] if last else ""
    if hasattr(group, "seconds"):
        group.seconds = float(settings["seconds"])
    dtype = settings["dtype"]
    images, labels = load_digits("train")
    count = int(settings["images"])
    images, labels = pad_images(images[:count]), labels[:count]
    if differs == "versions":
        vars(sys.modules["nplenet.train.fit"])["environment"] = lambda: {
            **environment(),
            "numpy": "1.0",
        }
    if differs == "data":
        images[7, 0, 9, 9] ^= 1
    model = LeNet5(seed=1 if differs == "weights" else 0).astype(dtype).to(settings["backend"])
    transform = Compose([RandomRotation(15), RandomInvert(0.5), ToFloat(dtype)])
    loader = DataLoader(
        images,
        labels,
        int(settings["batch"]),
        shuffle=True,
        rng=generator(0, "shuffle"),
        transform=transform,
        transform_rng=generator(0, "augment"),
    ).to(settings["backend"])
    optimizer: Optimizer = Adam(model.parameters())
    if settings["rule"] == "SGD":
        optimizer = SGD(model.parameters(), 0.01, momentum=0.9)
    tuned = settings["tuned"]
    if tuned:
        model.features[0].requires_grad_(False)
        model.features[1].requires_grad_(False).eval()
        model.classifier[1].bias.requires_grad = False
        head = model.classifier[-1].parameters()
        rest = [p for p in model.parameters() if p not in head]
        optimizer = Adam([{"params": rest, "lr": 1e-4}, {"params": head, "weight_decay": 0.1}])
    fault = settings["fault"] if group.rank == int(settings["rank"]) else ""
    latest = folder / LATEST
    checkpoint = group.broadcast(load(latest) if group.rank == 0 and latest.exists() else None)
    loss = CrossEntropyLoss()
    if tuned == "weighted":
        loss = CrossEntropyLoss(weight=np.linspace(0.5, 2, 10), ignore_index=3)
    per_rank = -(-loader.batch_size // group.size)
    step: Step | None = None
    if settings["eager"]:
        step = TextbookStep(model, loss, optimizer, per_rank, "chosen")
    elif settings["threads"]:
        tunables = {"threads": int(settings["threads"])}
        if differs == "tunables":
            tunables["lanes"] = 16
        step = compile(model, loss, optimizer, per_rank, tunables=tunables)
    history = fit(
        model,
        loss,
        optimizer,
        loader,
        step=step,
        epochs=int(settings["until"]) or int(settings["epochs"]),
        schedule=Faulty(optimizer, fault),
        validation=(images[:100], labels[:100]),
        checkpoints=CheckpointFolder(
            folder,
            every_steps=int(settings["save"]),
            arguments={"mood": "good" if differs != "arguments" else "bad"},
        ),
        resume=checkpoint,
        progress=False,
        group=group,
        clip_norm=0.5 if tuned else None,
    )
    print(f"rank {group.rank} of {group.size}: {history.interrupted or 'done'}", flush=True)
    if group.rank == 0:
        np.savez(
            folder / "result.npz",
            **model.state_dict(),
            losses=[e.loss for e in history.epochs],
            validation=[e.validation_loss for e in history.epochs],
            accuracy=[e.accuracy for e in history.epochs],
        )


def note_launches() -> set[str]:
    """Return a set to which the name of each kernel is added when it is launched."""
    launched: set[str] = set()
    launch = Launcher.launch

    def noted(self: Launcher, file: str, kernel: str, *arguments: Any, **options: Any) -> None:
        launched.add(kernel)
        launch(self, file, kernel, *arguments, **options)

    Launcher.launch = noted  # type: ignore[method-assign]
    return launched


def trainings(words: list[str]) -> list[tuple[Path, dict[str, str]]]:
    """Return the folder and the settings of each training."""
    found: list[tuple[Path, dict[str, str]]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            assert name in SETTINGS, word
            found[-1][1][name] = value
        else:
            found.append((Path(word), dict(SETTINGS)))
    return found


if __name__ == "__main__":
    wanted = trainings(sys.argv[1:])
    for _, settings in wanted:
        if settings["backend"] == "cupy-sim":
            import gpusim

            gpusim.install()
            settings["backend"] = "cupy"
    launched = note_launches()
    with join() as group:
        for folder, settings in wanted:
            train(folder, settings, group)
        if launched:
            print(f"rank {group.rank} launched {' '.join(sorted(launched))}", flush=True)
