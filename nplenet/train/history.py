"""The metrics of a run, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..checkpoint import Epoch


@dataclass
class History:
    """The epochs of a run.

    Attributes
    ----------
    epochs : list of Epoch
    interrupted : str
        The name of the signal that ended it, or "".
    seconds : float
        Spent in all sessions.
    tunables : dict
        The tunables of the compiled step; empty if the textbook layers ran.
    """

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: str = ""
    seconds: float = 0.0
    tunables: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, ready for JSON."""
        return asdict(self)
