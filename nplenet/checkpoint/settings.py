"""The settings of a run, on which its weights depend beside its state; and which of them differ.

A checkpoint restores what an optimizer and a schedule are set to. Everything else that a run is
made of comes from the program that resumes it: the record only says what it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..architecture import describe, values_in
from ..attributes import is_ours
from ..augment.transforms import flattened
from ..data import DataLoader, DeviceLoader
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..schedules import Schedule
from ..terminal import printable

DEFAULT = "the default"
MAX_NAMED = 6
CYCLED = ("lr", "betas", "momentum")
"""Hyper-parameters that a schedule moves."""


def settings_of(
    loader: DataLoader | DeviceLoader, loss: CrossEntropyLoss | None, clip_norm: float | None
) -> dict[str, str]:
    """Return the settings of all but the layers, each in short."""
    parts = [] if loader.transform is None else flattened(loader.transform)
    found = {
        "clip_norm": clip_norm,
        "shuffle": loader.shuffle,
        "drop_last": loader.drop_last,
        "transform": [part if is_ours(type(part)) else _name_of(part) for part in parts],
        **{f"loss.{name}": getattr(loss, name) for name in getattr(loss, "settings", ())},
    }
    return {name: f"{value!r:.100}" for name, value in found.items()}


def _name_of(transform: Any) -> str:
    """Return what a transform of your own is called: its ``repr`` may tell where it lies."""
    return str(getattr(transform, "__name__", type(transform).__name__))


def not_restored(record: Mapping[str, Any], own: Mapping[str, str], model: Layer) -> list[str]:
    """Return which settings differ of those that a checkpoint does not restore."""
    saved = record.get("settings", {})
    found = differing(saved, {name: value for name, value in own.items() if name in saved})
    with suppress(TypeError):  # of layers of the user's own, which have no description
        if record.get("model") is not None:
            found += differing(values_in(record["model"]), values_in(describe(model)))
    return found


def restored(
    record: Mapping[str, Any], own: Mapping[str, Any], schedule: Schedule | None, optimizer: Any
) -> list[str]:
    """Return which settings differ of those that a checkpoint restores.

    ``own`` is the record of this run before it was restored.
    """
    found = []
    for name, part, moved in (
        ("optimizer", optimizer, () if schedule is None else CYCLED),
        ("schedule", schedule, ()),
    ):
        if part is None:
            continue
        takes = [k for k in inspect.signature(type(part)).parameters if k not in moved]
        saved, fresh = (
            {f"{name}.{k}": where[name][k] for k in takes if k in where[name]}
            for where in (record, own)
        )
        found += differing(saved, fresh)
    # A program need not freeze again what the checkpoint holds frozen; ``fit`` ends a whole's eval.
    modes = [k for k in ("frozen", "eval") if k in record and own[k] and "" not in own[k]]
    return found + differing(*({k: f"{where[k]!r:.100}" for k in modes} for where in (record, own)))


def differing(saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return in words which of the values differ, and how."""
    pairs = {k: (saved.get(k, DEFAULT), own.get(k, DEFAULT)) for k in {**saved, **own}}
    return [
        f"{name} {there}, here {here}" for name, (there, here) in pairs.items() if there != here
    ]


def in_short(differences: list[str]) -> str:
    """Return differences as a text of one line."""
    more = len(differences) - MAX_NAMED
    return printable("; ".join(differences[:MAX_NAMED]), 1000) + (
        f"; {more} more" if more > 0 else ""
    )
