"""Moved to ``nplenet.backend``."""

from .deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "CupyBackend": "nplenet.backend.cupy_backend.CupyBackend",
    },
)
