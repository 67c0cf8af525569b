"""nplenet: a convolutional network written by hand on NumPy arrays, with a CUDA path.

Read the layers in ``nplenet/layers``; train with ``python examples/train_mnist.py``.
"""

from . import interrupts as interrupts  # before the modules that take time to load

# isort: split
from importlib import import_module
from typing import Any

from . import augment, checkpoint, data, gradcheck, layers, losses, models, optim, schedules
from .architecture import register
from .backend import BackendError, get_backend
from .checkpoint import load_model, save_model
from .compiled import compile
from .version import __version__

__all__ = [
    "BackendError",
    "__version__",
    "augment",
    "checkpoint",
    "compile",
    "data",
    "get_backend",
    "gradcheck",
    "layers",
    "load_model",
    "losses",
    "models",
    "optim",
    "register",
    "save_model",
    "schedules",
]


def __getattr__(name: str) -> Any:
    """Import a module that has moved on access; it warns with the new name."""
    if name in ("operations", "parallel"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
