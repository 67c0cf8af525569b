"""The folder of a run: when a checkpoint is saved, and which checkpoints are kept."""

from __future__ import annotations

import math
import os
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checks import count, number
from ..files import remove_leftovers
from .file import BEST, LATEST, CheckpointError, CheckpointWarning, backup, read_file
from .progress import Progress
from .run import Run

KEEP = ("last", "best", "all")
EPOCH_FILE = re.compile(r"epoch-[0-9]{3,}\.safetensors")
OWN_FILES = (
    rf"checkpoint\.safetensors(\.bak)?|best\.safetensors|{EPOCH_FILE.pattern}"
    r"|history\.json|report\.html"
)
"""The names of the files that a run writes into its folder, as a regular expression."""


class CheckpointFolder:
    """A folder with the checkpoints of one run.

    ``checkpoint.safetensors`` holds the last saved state, from which the run resumes, and
    ``checkpoint.safetensors.bak`` the state saved before. As a context manager it makes the folder
    if it is missing, and locks it against a second run.

    Parameters
    ----------
    folder : str or path
    every_seconds : float
        Seconds between two saves within an epoch, at least 0; the end of each epoch is always
        saved. A save takes some hundredths of a second.
    every_steps : int, optional
        Also save every N steps of an epoch.
    keep : {"last", "best", "all"}
        "best" also keeps ``best.safetensors``, the epoch with the highest validation accuracy;
        "all" also keeps every epoch, as ``epoch-001.safetensors`` and so on.
    arguments : mapping, optional
        Settings of the run, ready for JSON; saved with it, to rebuild the run when it resumes.

    Attributes
    ----------
    saved : bool
        Whether the last save succeeded. A failure is a warning, so that a full disk does not end
        the training.

    Raises
    ------
    CheckpointError
        On entering, when another run is using the folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every_seconds: float = 60.0,
        every_steps: int | None = None,
        keep: str = "last",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if keep not in KEEP:
            raise ValueError(f"CheckpointFolder: keep must be one of {KEEP}, got {keep!r}")
        number(every_seconds, "CheckpointFolder: every_seconds", "[0, inf]")
        if every_steps is not None:
            count(every_steps, "CheckpointFolder: every_steps")
        self.arguments = dict(arguments or {})
        self.folder = Path(folder)
        self.every_seconds, self.every_steps, self.keep = every_seconds, every_steps, keep
        self.latest, self.best = self.folder / LATEST, self.folder / BEST
        self.saved = True
        self._last_save = time.monotonic()

    def __enter__(self) -> CheckpointFolder:
        from filelock import FileLock, Timeout  # 10 ms that `import nplenet` need not wait for

        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(f"another run is using the folder {self.folder}") from None
        remove_leftovers(self.folder, OWN_FILES)
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def begin_anew(self) -> None:
        """Rename an earlier run's checkpoints to ``previous-...``, apart from those of this run.

        They replace the checkpoints renamed by the run before.
        """
        # The backup first: without the checkpoint, it would be taken for the one to resume from.
        backup(self.latest).unlink(missing_ok=True)
        epochs = [path for path in self.folder.iterdir() if EPOCH_FILE.fullmatch(path.name)]
        for path in (self.latest, self.best, *epochs):
            if path.is_file():
                os.replace(path, path.with_name(f"previous-{path.name}"))

    def due(self, step: int) -> bool:
        """Say whether it is time to save, ``step`` steps into an epoch."""
        if self.every_steps is not None and step % self.every_steps == 0:
            return True
        return time.monotonic() - self._last_save >= self.every_seconds

    def steps_to_save(self, step: int) -> float:
        """Return the number of steps to the next one that is saved for its number."""
        if self.every_steps is None:
            return math.inf
        return self.every_steps - step % self.every_steps

    def save(self, run: Run, progress: Progress) -> None:
        """Save the state within an epoch."""
        whole = None
        try:
            read_file(self.latest)
            whole = backup(self.latest)  # a damaged one must not replace a backup
        except (OSError, CheckpointError):
            pass
        self._save(self.latest, run, progress, whole)
        self._last_save = time.monotonic()

    def save_epoch(self, run: Run, progress: Progress, is_best: bool) -> None:
        """Save the state at the end of an epoch."""
        self.save(run, progress)
        if self.keep == "best" and is_best:
            self._save(self.best, run, progress)
        if self.keep == "all":
            name = f"epoch-{len(progress.epochs):03d}.safetensors"
            self._save(self.folder / name, run, progress)

    def _save(self, path: Path, run: Run, progress: Progress, previous: Path | None = None) -> None:
        try:
            run.save(path, progress, previous)
            self.saved = True
        except OSError as error:
            self.saved = False
            there = "the file from before is unchanged" if path.exists() else "none exists yet"
            warnings.warn(
                f"the checkpoint {path} could not be written ({error}); {there}, and training "
                "continues",
                CheckpointWarning,
                stacklevel=2,
            )
