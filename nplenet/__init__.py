"""nplenet: a convolutional network written by hand on NumPy arrays, with a CUDA path.

Read the layers in ``nplenet/layers``; train with ``python examples/train_mnist.py``.
"""

from . import interrupts as interrupts  # before the modules that take time to load

# isort: split
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import augment, checkpoint, data, gradcheck, layers, losses, models, optim, schedules
from .architecture import register
from .backend import BackendError, get_backend
from .checkpoint import load_model, save_model
from .compiled import compile
from .names import answer_wrong_names, unknown
from .version import __version__

if TYPE_CHECKING:
    from . import interop as interop
    from . import mpi as mpi
    from . import plots as plots
    from . import recognize as recognize
    from . import report as report
    from . import train
    from . import trust as trust

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
    "train",
]

LATER = (
    "interop",
    "mpi",
    "plots",
    "recognize",
    "report",
    "train",
    "trust",
)  # imported when asked for
MOVED = ("operations", "parallel")  # warn with their new names

if not TYPE_CHECKING:  # else a type checker believes that every name is here

    def __getattr__(name: str) -> Any:
        if name in LATER or name in MOVED:
            return import_module(f".{name}", __name__)
        raise unknown(__name__, name, sys._getframe(1))


answer_wrong_names(__name__, *LATER)
