"""Everything a run needs to continue, in one safe file; and a model alone, in a file like it.

A file is in the safetensors format: tensors, and one JSON text with all that is no tensor, led by
the SHA-256 of everything, so that a flipped bit is noticed. Nothing in it can execute.

    tensors   model.<path>   optimizer.<moment>.<path>   epoch.losses   epoch.hits
    JSON      format, nplenet, model (see ``architecture``), optimizer, schedule, generators,
              progress, arguments, tunables, environment

A model alone has ``format, nplenet, model``, and its tensors have the names of its ``state_dict``,
which are PyTorch's.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .architecture import build, describe
from .backend import environment, generator_state, restore_generator
from .data import DataLoader, DeviceLoader, atomic_write
from .layers import Layer
from .optim import Optimizer
from .schedules import Schedule

FORMAT = 1
KEY = "nplenet"  # of digest and JSON text in the metadata of the file
HEX = 64  # characters of a SHA-256
KEEP = ("last", "best", "all")
LATEST, BEST = "checkpoint.safetensors", "best.safetensors"
DEFAULT_MODEL = Path(__file__).parent / "data" / "bundled" / "lenet5-mnist.safetensors"
"""LeNet-5 trained on MNIST, by ``nplenet train`` with its defaults."""


class CheckpointError(ValueError):
    """A checkpoint that can't be read, or that belongs to another run; the message says which."""


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged and the one before it is used, or one could not be written."""


# ------------------------------------------------------------------ the file


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file.

    Attributes
    ----------
    path : Path
        Where it was read.
    tensors : dict of str to array
    record : dict
        The JSON text; see above.
    """

    path: Path
    tensors: dict[str, np.ndarray]
    record: dict[str, Any]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the tensors whose names begin with ``prefix``, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def model(self) -> Layer:
        """Return the model, made anew, in eval mode.

        Raises
        ------
        CheckpointError
            When it has layers that are not the library's, or is inconsistent.
        """
        if self.record["model"] is None:
            raise CheckpointError(
                f"{self.path} is of a model with layers that are not the library's: make the model "
                'yourself and give its load_state_dict load(path).part("model.")'
            )
        weights = self.part("model.") if "progress" in self.record else self.tensors
        try:
            return build(self.record["model"], weights)
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}") from None


def save_model(path: str | os.PathLike[str], model: Layer) -> None:
    """Write a model, its architecture and its weights, to a ``.safetensors`` file.

    Raises
    ------
    TypeError
        When a layer is not one of the library's.
    OSError
        When it can't be written; a file that was there is there still.
    """
    _write(Path(path), model.state_dict(), {**_stamp(), "model": describe(model)})


def load_model(path: str | os.PathLike[str]) -> Layer:
    """Return the model of a checkpoint or of a file by ``save_model``, made anew, in eval mode.

    The LeNet-5 that comes with the library is in ``nplenet.checkpoint.DEFAULT_MODEL``.

    Raises
    ------
    OSError, CheckpointError
        As ``load``.
    """
    return load(path).model()


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file by ``save_model`` or a checkpoint; if that is damaged, the one before it.

    Raises
    ------
    OSError
        When it is not there or can't be read.
    CheckpointError
        When it is damaged, or not a file of this library.

    Warns
    -----
    CheckpointWarning
        When the one before it, ``<path>.bak``, had to be taken.
    """
    path = Path(path)
    try:
        return _read(path)
    except (CheckpointError, FileNotFoundError) as error:
        if not backup(path).exists():
            raise
        try:
            older = _read(backup(path))
        except CheckpointError as second:
            raise CheckpointError(f"{error}; and {second}") from None
        warnings.warn(f"{error}; taking the one before it", CheckpointWarning, stacklevel=2)
        return older


def backup(path: Path) -> Path:
    """Return the name under which the checkpoint before the one at ``path`` is kept."""
    return path.with_name(path.name + ".bak")


def _stamp() -> dict[str, Any]:
    return {"format": FORMAT, "nplenet": environment()["nplenet"]}


def _write(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
    previous: Path | None = None,
) -> None:
    tensors = {name: np.array(a, order="C") for name, a in tensors.items()}  # keeps 0 axes
    text = json.dumps(record, separators=(",", ":"))
    contents = safetensors.numpy.save(tensors, metadata={KEY: _digest(text, tensors) + text})
    with atomic_write(path, previous=previous) as file:
        file.write(contents)


def _read(path: Path) -> Checkpoint:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name the checkpoint in it, {path / LATEST}")
    if path.suffix in (".pth", ".pt"):
        raise CheckpointError(f"{path}: PyTorch's files are read by nplenet.interop.pytorch")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            stamped = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys() if stamped}  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError, AttributeError) as error:
        # The last two for a dtype that NumPy lacks.
        raise CheckpointError(f"{path} is damaged, or no safetensors file ({error})") from None
    if not stamped:
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of nplenet's own; weights for or from "
            "PyTorch are read by nplenet.interop.pytorch"
        )
    digest, text = stamped[:HEX], stamped[HEX:]
    if _digest(text, tensors) != digest:
        raise CheckpointError(f"{path} is damaged: its contents do not fit its SHA-256")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its record is not JSON ({error})") from None
    if not isinstance(record, dict) or not record.keys() >= {"format", "nplenet", "model"}:
        raise CheckpointError(f"{path}: its record is not that of a checkpoint")
    if record["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {record['format']}, and this version of nplenet reads {FORMAT}; "
            f"nplenet {record['nplenet']} wrote it"
        )
    return Checkpoint(path, tensors, record)


def _digest(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


# ------------------------------------------------------------------ the run


def _check_numbers(owner: str, values: list[Any]) -> None:
    wrong = [value for value in values if not isinstance(value, (int, float))]
    if wrong:
        raise TypeError(f"its {owner} has {wrong[0]!r} where a number should be")


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached; the training figures are means over its steps, dropout on."""

    epoch: int
    lr: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_second: float

    def __post_init__(self) -> None:
        _check_numbers("epoch", [value for value in vars(self).values() if value is not None])

    def __str__(self) -> str:
        line = f"epoch {self.epoch:3d}  loss {self.loss:.4f}  accuracy {self.accuracy:7.2%}"
        if self.validation_accuracy is not None:
            line += (
                f"  validation loss {self.validation_loss:.4f}"
                f"  accuracy {self.validation_accuracy:7.2%}"
            )
        return f"{line}  {self.seconds:.1f} s  {self.images_per_second:,.0f} images/s"


@dataclass
class Progress:
    """How far a run is.

    Attributes
    ----------
    epochs : list of Epoch
        The finished ones.
    step : int
        Steps done of the epoch at hand.
    losses, hits : array (step,)
        float64 and int64, of these steps.
    loader : dict
        The states of the loader's generators at the start of the epoch at hand.
    seconds, epoch_seconds : float
        Spent so far, over all sittings, and of these in the epoch at hand.
    """

    epochs: list[Epoch] = field(default_factory=list)
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    hits: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    loader: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers("progress", [self.seconds, self.epoch_seconds])
        if self.losses.ndim != 1 or self.losses.shape != self.hits.shape:
            raise ValueError(f"it has losses {self.losses.shape} and hits {self.hits.shape}")

    @property
    def step(self) -> int:
        return len(self.losses)


@dataclass
class Run:
    """The parts of a training run that a checkpoint saves and restores.

    Attributes
    ----------
    model, optimizer, schedule
        On one backend.
    loader : DataLoader or DeviceLoader
        Its images are not saved, but told by their SHA-256: a run goes on with the same ones only.
    arguments : dict
        What made the run, JSON-able; for those who resume it.
    tunables : dict
        Of the compiled step, on which the bits depend.
    """

    model: Layer
    optimizer: Optimizer
    schedule: Schedule | None
    loader: DataLoader | DeviceLoader
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tunables: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _data(self) -> dict[str, Any]:
        return {
            "images": len(self.loader.images),
            "batch_size": self.loader.batch_size,
            "sha256": self.loader.fingerprint(),
        }

    def save(self, path: Path, progress: Progress, previous: Path | None = None) -> None:
        """Write everything to ``path``; the file that is there is kept as ``previous``."""
        tensors, record = self._state()
        tensors |= {"epoch.losses": progress.losses, "epoch.hits": progress.hits}
        record |= {
            **_stamp(),
            "model": _description(self.model),
            "progress": {
                "epochs": [asdict(epoch) for epoch in progress.epochs],
                "loader": progress.loader,
                "seconds": progress.seconds,
                "epoch_seconds": progress.epoch_seconds,
            },
            "arguments": dict(self.arguments),
            "tunables": dict(self.tunables),
            "environment": environment(),
        }
        _write(path, tensors, record, previous)

    def restore(self, checkpoint: Checkpoint) -> Progress:
        """Take over the state in ``checkpoint``; nothing is changed unless all of it fits.

        Raises
        ------
        CheckpointError
            When it is of another model, optimizer, schedule or data set; or a model alone.
        """
        record, where = checkpoint.record, checkpoint.path
        if "progress" not in record:
            raise CheckpointError(f"{where} holds a model alone: there is no run to continue")
        if record.get("data") != self._data:
            raise CheckpointError(
                f"{where} is of a run on other data: {record.get('data')}, here {self._data}"
            )
        tensors, own = checkpoint.tensors, self._state()
        try:
            self._assign(tensors, record)
            saved = dict(record["progress"])
            epochs = [Epoch(**figures) for figures in saved.pop("epochs")]
            progress = Progress(epochs, tensors["epoch.losses"], tensors["epoch.hits"], **saved)
            self.loader.load_state_dict(progress.loader)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._assign(*own)
            raise CheckpointError(f"{where} is of another run: {error}") from None
        return progress

    def _state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the tensors and the plain values of model, optimizer, schedule, generators."""
        tensors = {f"model.{name}": a for name, a in self.model.state_dict().items()}
        settings: dict[str, Any] = {}
        for name, value in self.optimizer.state_dict().items():
            if isinstance(value, np.ndarray) and value.ndim and "." in name:
                tensors[f"optimizer.{name}"] = value
            else:
                settings[name] = value.tolist() if isinstance(value, np.ndarray) else value
        record: dict[str, Any] = {
            "data": self._data,
            "optimizer": {"type": type(self.optimizer).__name__, **settings},
            "schedule": None,
            "generators": {k: generator_state(rng) for k, rng in self.model.generators().items()},
        }
        if self.schedule is not None:
            record["schedule"] = {
                "type": type(self.schedule).__name__,
                **self.schedule.state_dict(),
            }
        return tensors, record

    def _assign(self, tensors: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
        """Take over what ``_state`` returned; each part whole or not at all."""
        parts: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            owner, _, rest = name.partition(".")
            parts.setdefault(owner, {})[rest] = tensor
        self.model.load_state_dict(parts["model"])
        settings = _of_type(self.optimizer, record["optimizer"])
        self.optimizer.load_state_dict(settings | parts["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(_of_type(self.schedule, record["schedule"]))
        elif record["schedule"] is not None:
            raise ValueError(f"it has a {record['schedule']['type']}, this run has no schedule")
        generators = self.model.generators()
        if generators.keys() != record["generators"].keys():
            raise ValueError(f"it has random generators at {sorted(record['generators'])}")
        for path, rng in generators.items():
            restore_generator(rng, record["generators"][path])


def _of_type(owner: Optimizer | Schedule, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings in ``record``, once they are known to be of the type of ``owner``."""
    settings = dict(record or {})
    found, expected = settings.pop("type", "nothing"), type(owner).__name__
    if found != expected:
        raise ValueError(f"it has {found} where this run has {expected}")
    return settings


def _description(model: Layer) -> dict[str, Any] | None:
    try:
        return describe(model)
    except TypeError:
        return None  # with layers of the user's own; whoever resumes the run makes the model


# ------------------------------------------------------------------ when, and what is kept


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
            _read(self.latest)
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
