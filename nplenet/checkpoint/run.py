"""The state of a run: saved to a checkpoint, and restored from it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .. import checks
from ..architecture import build, describe, values_in
from ..augment import described
from ..data import DataLoader, DeviceLoader
from ..input_shape import takes
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..machine import environment
from ..optim import Optimizer
from ..schedules import Schedule
from ..seeds import generator_state, restore_generator
from ..tied import ties
from .file import Checkpoint, CheckpointError, CheckpointWarning, native, stamp
from .kept import Contents
from .progress import Epoch, Progress
from .record import MAX_AXES, MAX_INPUT
from .settings import differing, in_short, not_restored, restored, settings_of


@dataclass
class Run:
    """The parts of a training run that a checkpoint saves and restores.

    Attributes
    ----------
    model, optimizer, schedule
        On one backend.
    loader : DataLoader or DeviceLoader
        Images are not saved, only their SHA-256; a run resumes only on the same images.
    arguments : dict
        See ``CheckpointFolder``.
    tunables : dict
        The tunables of the compiled step, on which the bits depend.
    ranks : int
        Number of processes that train together, on which the bits depend.
    clip_norm : float, optional
        Of the gradients of each step.
    loss : CrossEntropyLoss, optional
    """

    model: Layer
    optimizer: Optimizer
    schedule: Schedule | None
    loader: DataLoader | DeviceLoader
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tunables: Mapping[str, int] = field(default_factory=dict)
    ranks: int = 1
    clip_norm: float | None = None
    loss: CrossEntropyLoss | None = None
    _tried: bool = field(default=False, init=False)  # whether the model can be built from a file
    _fresh: dict[str, Any] = field(default_factory=dict, init=False)  # record before ``restore``

    @cached_property
    def _input_shape(self) -> list[int] | None:
        """The shape of an image of the loader, unless its transform changes it."""
        shape = list(self.loader.images.shape[1:])
        fits = len(shape) <= MAX_AXES and math.prod(shape) <= MAX_INPUT
        return shape if fits and takes(self.model, shape) else None

    @cached_property
    def _data(self) -> dict[str, Any]:
        return {
            "images": len(self.loader.images),
            "batch_size": self.loader.batch_size,
            "sha256": self.loader.fingerprint(),
        }

    def contents(self, progress: Progress) -> Contents:
        """Return everything that a checkpoint holds; later steps do not change it."""
        tensors, record = self._state()
        tensors |= {"epoch.losses": progress.losses, "epoch.hits": progress.correct}
        record |= {
            **stamp(),
            "model": self._description(tensors),
            "tied": ties(self.model),
            "input_shape": self._input_shape,
            "preprocessing": described(self.model.preprocessing),
            "pictures": self.model.pictures and self.model.pictures.as_record(),
            "progress": {
                "epochs": [asdict(epoch) for epoch in progress.epochs],
                "loader": progress.loader,
                "seconds": progress.seconds,
                "epoch_seconds": progress.epoch_seconds,
            },
            "arguments": dict(self.arguments),
            "tunables": dict(self.tunables),
            "environment": self.environment(),
            "settings": settings_of(self.loader, self.loss, self.clip_norm),
        }
        return Contents(tensors, record)

    def restore(self, checkpoint: Checkpoint) -> Progress:
        """Restore the state in ``checkpoint``; nothing is changed unless all of it fits.

        Raises
        ------
        CheckpointError
            When it is from another model, optimizer, schedule or data set, or holds only a model.
        """
        record, where = checkpoint.record, checkpoint.path
        if "progress" not in record:
            raise CheckpointError(f"{where} holds only a model, not a run to resume")
        if record.get("data") != self._data:
            raise CheckpointError(
                f"{where} is of a run on other data: {record.get('data')}, here {self._data}"
            )
        tensors, own = checkpoint.tensors, self._state()
        self._fresh = own[1]
        try:
            cure = "resume from an earlier checkpoint"
            checks.finite(checkpoint.part("model."), "its model", cure)
        except ValueError as error:
            raise CheckpointError(f"{where}: {error}") from None
        try:
            self._assign(tensors, record)
            saved = dict(record["progress"])
            epochs = [Epoch(**metrics) for metrics in saved.pop("epochs")]
            progress = Progress(epochs, tensors["epoch.losses"], tensors["epoch.hits"], **saved)
            self.loader.load_state_dict(progress.loader)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._assign(*own)
            raise CheckpointError(f"{where} is of another run: {error}") from None
        return progress

    def environment(self) -> dict[str, str]:
        """Return the software and hardware on which the bits of this run depend."""
        backend = self.model.backend.identity()
        return environment() | {"backend": backend, "ranks": str(self.ranks)}

    def warn_of_other_bits(self, checkpoint: Checkpoint) -> None:
        """Warn, in one line, if the environment in ``checkpoint`` differs from this one."""
        saved = checkpoint.record.get("environment")
        if not isinstance(saved, dict):
            return
        own = self.environment()
        del own["python"]  # which computes no tensor
        differences = differing({name: saved.get(name, value) for name, value in own.items()}, own)
        if differences:
            warnings.warn(
                f"{checkpoint.path} is from another environment ({'; '.join(differences)}): the "
                "result will equal an uninterrupted run's up to rounding, not bit for bit",
                CheckpointWarning,
                stacklevel=2,
            )

    def warn_of_other_settings(self, checkpoint: Checkpoint) -> None:
        """Warn, in one line, if what this run is made of has other settings than the checkpoint's.

        Call it after ``restore``.
        """
        record = checkpoint.record
        own = settings_of(self.loader, self.loss, self.clip_norm)
        kept: list[str] = []
        if not self.arguments or record.get("arguments") != self.arguments:  # which made both
            kept = restored(record, self._fresh, self.schedule, self.optimizer)
        for differences, whose in (
            (not_restored(record, own, self.model), "the settings here"),
            (kept, "the checkpoint's settings"),
        ):
            if differences:
                warnings.warn(
                    f"{checkpoint.path} is from a run with other settings "
                    f"({in_short(differences)}): {whose} apply",
                    CheckpointWarning,
                    stacklevel=5,
                )

    def warn_of_shared_generators(self) -> None:
        """Warn if layers draw from a generator of the loader: a checkpoint can't tell their draws.

        Within an epoch the loader begins again at the epoch's first number, the layers continue.
        """
        own = set(map(id, self.loader.generators().values()))
        shared = [path for path, rng in self.model.generators().items() if id(rng) in own]
        if shared:
            warnings.warn(
                f"{shared[0]} of the model and the loader are one random generator: a run resumed "
                "within an epoch will draw other numbers; give each a generator of its own",
                CheckpointWarning,
                stacklevel=4,
            )

    def _description(self, tensors: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
        try:
            description = describe(self.model)
        except TypeError:
            return None  # with layers of the user's own: to resume, the user's code makes the model
        if not self._tried:
            self._tried = True
            weights = {k.removeprefix("model."): a for k, a in tensors.items() if k[:6] == "model."}
            try:
                build(description, native(weights), self._input_shape, ties(self.model))
            except ValueError as error:
                warnings.warn(
                    f"its checkpoints resume this run, but load_model will refuse them: {error}",
                    CheckpointWarning,
                    stacklevel=2,
                )
        return description

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
            "frozen": [p.name for p in self.model.parameters() if not p.requires_grad],
            "eval": [path for path, layer in self.model.modules() if not layer.training],
        }
        if self.schedule is not None:
            record["schedule"] = {
                "type": type(self.schedule).__name__,
                **self.schedule.state_dict(),
            }
        return tensors, record

    def _check_layers(self, saved: Any) -> None:
        """Refuse a model with layers of other classes, whose arrays may have the same shapes.

        Nothing is said of a model with layers of the user's own, which has no description.
        """
        try:
            there, here = values_in(saved), values_in(describe(self.model))
        except TypeError:
            return
        for name in sorted(there.keys() | here.keys() if saved else ()):
            path, _, member = name.rpartition(".")
            its, own = there.get(name, "no layer"), here.get(name, "no layer")
            if member == "type" and its != own:
                place = path or "the top"
                raise ValueError(f"it has {its} at {place}, where this model has {own}")

    def _assign(self, tensors: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
        """Restore what ``_state`` returned; each part as a whole or not at all."""
        parts: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            owner, _, rest = name.partition(".")
            parts.setdefault(owner, {})[rest] = tensor
        self.model.load_state_dict(parts["model"])
        self._check_layers(record.get("model"))
        if "frozen" in record:
            for parameter in self.model.parameters():
                parameter.requires_grad = parameter.name not in record["frozen"]
        if self.optimizer.step_count == 0:  # later it would take them for younger than its steps
            self.optimizer.follow_flags()
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
        if "eval" in record:
            for path, layer in self.model.modules():
                layer.training = path not in record["eval"]


def _of_type(owner: Optimizer | Schedule, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings in ``record``; refuse them if ``owner`` is of another type."""
    settings = dict(record or {})
    found, expected = settings.pop("type", "nothing"), type(owner).__name__
    if found != expected:
        raise ValueError(f"it has {found} where this run has {expected}")
    return settings
