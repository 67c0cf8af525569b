"""The folder of a run: when it is saved, and what is kept."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

from .file import BEST, LATEST, CheckpointError, CheckpointWarning, backup, read_file
from .progress import Progress
from .run import Run

KEEP = ("last", "best", "all")


class CheckpointFolder:
    """A folder with the checkpoints of one run: when it is saved, and what is kept.

    ``checkpoint.safetensors`` is the last state, from which the run goes on;
    ``checkpoint.safetensors.bak`` the one before it. As a context manager the folder is made if
    need be, and locked against a second run.

    Parameters
    ----------
    folder : str or path
    every_seconds : float
        How often to save within an epoch; each epoch's end is saved anyway. A save takes some
        hundredths of a second.
    every_steps : int, optional
        Save after each so many steps of an epoch, too.
    keep : {"last", "best", "all"}
        "best" keeps ``best.safetensors`` of the epoch with the highest validation accuracy too;
        "all" each epoch's ``epoch-001.safetensors``.

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
    ) -> None:
        if keep not in KEEP:
            raise ValueError(f"CheckpointFolder: keep must be one of {KEEP}, got {keep!r}")
        if not every_seconds >= 0.0 or (every_steps is not None and every_steps < 1):
            raise ValueError(
                "CheckpointFolder: every_seconds must be at least 0 and every_steps at least 1, "
                f"got {every_seconds!r} and {every_steps!r}"
            )
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
        for rest in self.folder.glob(".*.part"):  # of a run that was killed while it wrote
            rest.unlink(missing_ok=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def begin_anew(self) -> None:
        """Put an earlier run's checkpoints aside, so that none of them is taken for the new one's.

        They are kept as ``previous-...``, until there are others to keep.
        """
        for path in (self.latest, self.best, *self.folder.glob("epoch-*.safetensors")):
            if path.exists():
                os.replace(path, path.with_name(f"previous-{path.name}"))
        backup(self.latest).unlink(missing_ok=True)

    def due(self, step: int) -> bool:
        """Say whether it is time to save, ``step`` steps into an epoch."""
        if self.every_steps is not None and step % self.every_steps == 0:
            return True
        return time.monotonic() - self._last_save >= self.every_seconds

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
            there = "what was there before is unchanged" if path.exists() else "there is none yet"
            warnings.warn(
                f"the checkpoint {path} could not be written ({error}); {there}, and the training "
                "goes on",
                CheckpointWarning,
                stacklevel=2,
            )
