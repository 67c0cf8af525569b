"""nplenet: a convolutional network written by hand on NumPy arrays, with a CUDA path.

Read the layers in ``nplenet/layers``; train with ``python examples/train_mnist.py``.
"""

from . import augment, checkpoint, data, gradcheck, layers, losses, models, optim, schedules
from .backend import BackendError, get_backend
from .checkpoint import load_model, save_model
from .compiled import compile

__version__ = "0.1.0"

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
    "save_model",
    "schedules",
]
