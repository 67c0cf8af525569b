"""The folder of a run: when a checkpoint is saved, and which checkpoints are kept."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import count, number
from ..files import remove_leftovers
from .file import (
    BEST,
    LATEST,
    Checkpoint,
    CheckpointError,
    CheckpointWarning,
    backup,
    load,
    read_file,
    write_file,
)
from .kept import EPOCH_FILE, Contents, epoch_in, kept_files
from .progress import Progress
from .run import Run

if TYPE_CHECKING:
    from filelock import FileLock

KEEP = ("last", "best", "all")
OWN_FILES = (
    rf"(checkpoint|best)\.safetensors(\.bak)?|{EPOCH_FILE.pattern}|history\.json|report\.html"
)
"""The names of the files that a run writes into its folder, as a regular expression."""


class CheckpointFolder:
    """A folder with the checkpoints of one run.

    ``checkpoint.safetensors`` holds the last saved state, from which the run resumes, and
    ``checkpoint.safetensors.bak`` the state saved before. As a context manager it makes the folder
    if it is missing, and locks it against a second run; ``fit`` enters it, also if the caller has
    done so to keep the lock for longer.

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
        self._lock: FileLock | None = None
        self._owed: dict[Path, Contents] = {}  # to be written before the next checkpoint

    def __enter__(self) -> CheckpointFolder:
        from filelock import FileLock, Timeout  # 10 ms that `import nplenet` need not wait for

        self.folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = FileLock(self.folder / ".lock")  # counts: it may be entered within itself
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(f"another run is using the folder {self.folder}") from None
        remove_leftovers(self.folder, OWN_FILES)
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._lock is not None
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
                os.replace(path, _previous(path))
        backup(self.best).unlink(missing_ok=True)

    def begin(self, run: Run, progress: Progress, resume: Checkpoint | None) -> None:
        """Make the folder the folder of a run: a new one, or one that resumes.

        A run that resumes from a file elsewhere is saved here at once, with the epochs that it
        kept there.
        """
        if resume is None:
            run.warn_of_shared_generators()
            self.begin_anew()
            return
        source = resume.path.parent
        if source.resolve() != self.folder.resolve():
            self.begin_anew()
        kept = kept_files(self.keep, progress).items()
        lost = [
            str(epoch)
            for name, epoch in kept
            if not self._recover(name, epoch, source, run, progress)
        ]
        backup(self.best).unlink(missing_ok=True)
        if lost:
            which = "the best epoch so far," if self.keep == "best" else "epoch"
            warnings.warn(
                f"{self.folder} has no checkpoint of {which} {', '.join(lost)}: it was not kept",
                CheckpointWarning,
                stacklevel=2,
            )
        if self._owed or resume.path.resolve() != self.latest.resolve():
            self.save(run, progress)

    def _recover(self, name: str, epoch: int, source: Path, run: Run, progress: Progress) -> bool:
        """Have the file of an epoch that was finished before; say whether that was possible."""
        own = self.folder / name
        if epoch_in(own, progress)[0] == epoch:
            return True
        if epoch_in(backup(own), progress)[0] == epoch:
            os.replace(backup(own), own)
            return True
        for path in (source / name, _previous(own)):
            found, contents = epoch_in(path, progress)
            if found == epoch and contents is not None:
                self._owed[own] = contents
                return True
        if epoch == len(progress.epochs) and progress.step == 0:
            self._owed[own] = run.contents(progress)
            return True
        if own.is_file():  # of an epoch that is not the best, or of another run
            os.replace(own, _previous(own))
        return False

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
        self._write(run.contents(progress))

    def save_epoch(self, run: Run, progress: Progress) -> None:
        """Save the state at the end of an epoch."""
        contents, number = run.contents(progress), len(progress.epochs)
        for name, epoch in kept_files(self.keep, progress).items():
            if epoch == number:
                self._owed[self.folder / name] = contents
        self._write(contents)

    def best_weights(self) -> dict[str, np.ndarray] | None:
        """Return the weights of the best epoch, if it is kept, even if it could not be written."""
        if self.keep != "best" or not (self.best in self._owed or self.best.exists()):
            return None
        if self.best in self._owed:
            best = Checkpoint(self.best, *self._owed[self.best])
        else:
            best = load(self.best)
        return best.part("model.")

    def _write(self, contents: Contents) -> None:
        """Write the files of finished epochs, then the checkpoint, which counts these epochs.

        What a full disk refuses is tried again with the next checkpoint.
        """
        path = self.latest
        try:
            for path in list(self._owed):
                write_file(path, *self._owed[path], backup(path) if path == self.best else None)
                del self._owed[path]
            path = self.latest
            write_file(path, *contents, self._backup())
            if self.keep == "best":
                backup(self.best).unlink(missing_ok=True)
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
        self._last_save = time.monotonic()

    def _backup(self) -> Path | None:
        """Return the second name for the file that the checkpoint replaces."""
        try:
            read_file(self.latest)
        except (OSError, CheckpointError):
            return None  # a damaged one must not replace a backup
        return backup(self.latest)


def _previous(path: Path) -> Path:
    """Return the name under which a file of an earlier run is kept."""
    return path.with_name(f"previous-{path.name}")
