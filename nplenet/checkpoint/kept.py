"""The checkpoints kept beside the last one: the best epoch, or every epoch.

``checkpoint.safetensors`` says how far a run is, so it is written last: all files of the epochs
that it counts are there before. If the process dies in between, the resumed run does that epoch
again, to the same bits, and replaces its file:

    best.safetensors        epoch 3 | epoch 5   epoch 5                 | epoch 5
    best.safetensors.bak            | epoch 3   epoch 3                 |
    checkpoint.safetensors  epoch 4 | epoch 4   epoch 5 (the moment     | epoch 5
                                                from which it counts)
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .file import BEST, Checkpoint, CheckpointError, read_file
from .progress import Progress

EPOCH_FILE = re.compile(r"epoch-[0-9]{3,}\.safetensors")


class Contents(NamedTuple):
    """What is written to a checkpoint file; the tensors are copies."""

    tensors: dict[str, np.ndarray]
    record: dict[str, Any]


def kept_files(keep: str, progress: Progress) -> dict[str, int]:
    """Return the files that must be there after the epochs of ``progress``: name, its epoch."""
    if keep == "best" and progress.best is not None:
        return {BEST: progress.best.epoch}
    if keep == "all":
        return {epoch_file(epoch.epoch): epoch.epoch for epoch in progress.epochs}
    return {}


def epoch_file(number: int) -> str:
    """Return the name of the file of an epoch, as ``EPOCH_FILE`` matches it."""
    return f"epoch-{number:03d}.safetensors"


def epoch_in(path: Path, progress: Progress) -> tuple[int, Contents | None]:
    """Return the last epoch that the checkpoint ``path`` has finished, and its contents.

    0 and None if it is missing, damaged, or not of the run of ``progress``: their common epochs
    must have the same metrics, times included.
    """
    try:
        found = read_file(path)
        epochs = _epochs_of(found)
    except (OSError, CheckpointError, KeyError, TypeError):
        return 0, None
    own = [json.dumps(asdict(epoch)) for epoch in progress.epochs]
    common = min(len(own), len(epochs))
    if not common or own[:common] != epochs[:common]:
        return 0, None
    return len(epochs), Contents(found.tensors, found.record)


def _epochs_of(checkpoint: Checkpoint) -> list[str]:
    """Return the metrics of each finished epoch as JSON: not-a-number does not equal itself."""
    return [json.dumps(epoch) for epoch in checkpoint.record["progress"]["epochs"]]
