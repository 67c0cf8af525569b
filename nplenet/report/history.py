"""Read history.json, which may be a stranger's, and check it against its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint import Epoch
from ..checkpoint.record import MAX_SECONDS, MORE, epochs
from ..data.image_set import MAX_CLASSES
from ..files import read_json
from ..recipe import SETTINGS
from ..schema import fields, listing, plain, real, text, whole
from ..train import History

MAX_BYTES = 1 << 26  # some 200,000 epochs


def _confusion(value: Any, name: str) -> None:
    """Check a confusion matrix: as many columns as rows."""
    listing(listing(whole()), 1)(value, name)
    if len(value) > MAX_CLASSES or {len(row) for row in value} != {len(value)}:
        raise ValueError(f"{name} must be square, of at most {MAX_CLASSES} classes")
    if sum(map(sum, value)) > 2**53:
        raise ValueError(f"{name} must count at most 2^53 images")


TEST = fields(
    {"loss": real(finite=False), "accuracy": real(0, 1), "confusion": _confusion}, others=plain
)
NEEDED = ("dataset", "limit", "augment")  # arguments that every report prints

HISTORY = fields(
    {
        "arguments": fields({name: SETTINGS[name] for name in NEEDED}, SETTINGS, others=plain),
        "environment": MORE["environment"],
        "epochs": epochs,
        "interrupted": text,
        "seconds": real(0, MAX_SECONDS),
        "test": TEST,
        "inverted_test": TEST,
    },
    {"tunables": MORE["tunables"]},
    others=plain,
)


def read_history(path: Path) -> tuple[dict[str, Any], History]:
    """Return the contents of history.json, and its epochs as a ``History``.

    Raises
    ------
    FileNotFoundError
        When the file does not exist.
    ValueError
        When it is damaged, or no epoch was completed; the message names file and field.
    """
    try:
        record = read_json(path, MAX_BYTES)
        HISTORY(record, "")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist: a report needs the output folder of a completed "
            "`nplenet train --output`"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{path} was not written by nplenet train, or is damaged: {error}"
        ) from None
    if not record["epochs"]:
        raise ValueError(f"{path} has no completed epoch")
    if len(record["test"]["confusion"]) != len(record["inverted_test"]["confusion"]):
        raise ValueError(f"{path}: test and inverted_test have different numbers of classes")
    metrics = [Epoch(**epoch) for epoch in record["epochs"]]
    return record, History(metrics, record["interrupted"], record["seconds"])
