"""Train, get killed at a random moment, go on, compare the bits: a program, run by a test.

    python tests/killed_runs.py FOLDER KILLS SEED

Each run is a forked process that trains LeNet-5 and saves after every step. Half of the runs are
killed by a clock, half kill themselves inside the writing of a checkpoint: halfway through the
file, or at one of the system calls that put it in its place. It prints a JSON object a kill and
ends with status 0 when every run went on to the same bits.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nplenet import files
from nplenet.augment import standard_augmentation
from nplenet.checkpoint import LATEST, CheckpointFolder, load
from nplenet.data import DataLoader, load_digits, pad_images
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import AdamW
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator
from nplenet.train import fit

EPOCHS, IMAGES, BATCH = 3, 72, 16
CALLS = ("write", "fsync", "link", "replace")


def train(folder: Path) -> None:
    """Train to the end, from the checkpoint in ``folder`` if there is one."""
    images, labels = load_digits("train")
    images, labels = pad_images(images[:IMAGES]), labels[:IMAGES]
    model = LeNet5(seed=0)
    loader = DataLoader(
        images,
        labels,
        BATCH,
        shuffle=True,
        rng=generator(0, "shuffle"),
        transform=standard_augmentation(),
        transform_rng=generator(0, "augment"),
    )
    optimizer = AdamW(model.parameters(), 4e-3)
    fit(
        model,
        CrossEntropyLoss(),
        optimizer,
        loader,
        epochs=EPOCHS,
        schedule=OneCycleLR(optimizer, max_lr=4e-3, total_steps=EPOCHS * len(loader)),
        validation=(images, labels),
        checkpoints=CheckpointFolder(folder, every_steps=1),
        resume=load(folder / LATEST) if (folder / LATEST).exists() else None,
        progress=False,
    )


def state(folder: Path) -> str:
    """Return the SHA-256 of all tensors of the checkpoint: weights, moments, losses."""
    tensors = load(folder / LATEST).tensors
    return hashlib.sha256(b"".join(tensors[k].tobytes() for k in sorted(tensors))).hexdigest()


def forked(work: Callable[[], None]) -> int:
    """Start ``work`` in a new process and return its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """Wait for a process and return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(call: str, count: int) -> None:
    """Have this process kill itself at the ``count``-th use of a system call from now on."""
    left = [count]

    def last() -> bool:
        left[0] -= 1
        return left[0] == 0

    class Dying(io.FileIO):
        def write(self, contents: Any) -> int:
            if last():
                super().write(contents[: len(contents) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write(contents)

    if call == "write":
        files.open = Dying  # type: ignore[attr-defined]
        return
    real = getattr(os, call)

    def dying(*arguments: Any, **options: Any) -> Any:
        if last():
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(os, call, dying)


def main(work: Path, kills: int, seed: int) -> int:
    rng = random.Random(seed)
    begin = time.perf_counter()
    undisturbed = work / "undisturbed"
    watched = forked(partial(train, undisturbed))
    readings = 0
    while os.waitpid(watched, os.WNOHANG) == (0, 0):  # at every moment there is a whole file
        if (undisturbed / LATEST).exists():
            load(undisturbed / LATEST)
            readings += 1
    seconds, expected, same = time.perf_counter() - begin, state(undisturbed), True
    print(json.dumps({"readings": readings, "seconds": seconds}), flush=True)

    for number in range(kills):
        folder = work / f"run-{number}"
        if number % 2:
            how = killed_inside(folder, rng.choice(CALLS), rng.randint(1, 15))
        else:
            how = killed_after(folder, rng.uniform(0.05, 0.8) * seconds)
        step = None
        if (folder / LATEST).exists():  # else it was killed before its first checkpoint
            step = load(folder / LATEST).record["optimizer"]["step"]
        resumed = ended(forked(partial(train, folder)))
        equal = resumed == 0 and state(folder) == expected
        same = same and equal
        print(json.dumps({"how": how, "step": step, "equal": equal}), flush=True)
        shutil.rmtree(folder)
    return int(not same)


def killed_inside(folder: Path, call: str, count: int) -> str:
    """Run until a training dies inside a system call of its ``count``-th checkpoint or so."""

    def run() -> None:
        die_at(call, count)
        train(folder)

    status = ended(forked(run))
    assert status == -signal.SIGKILL, f"it ended with {status}"
    return f"{call} {count}"


def killed_after(folder: Path, seconds: float) -> str:
    """Run and kill a training; should it end before, another one earlier."""
    pid = forked(partial(train, folder))
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    if ended(pid) == -signal.SIGKILL:
        return f"{seconds:.3f} s"
    shutil.rmtree(folder)
    return killed_after(folder, 0.7 * seconds)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
