"""The array backends, NumPy and CuPy, behind one interface.

A layer calls ``backend.xp`` (NumPy's functions, or CuPy's under the same names). The few inner
loops worth a hand-written kernel are functions of arrays, called through ``backend.primitive``.
These functions are the reference and run on either library; a backend may replace them by kernels.
"""

from ..deprecated import moved
from ..names import answer_wrong_names
from .base import Array, Backend, BackendError, Result
from .choose import backend_of, get_backend
from .numpy_backend import NumpyBackend

__all__ = [
    "Array",
    "Backend",
    "BackendError",
    "NumpyBackend",
    "Result",
    "backend_of",
    "get_backend",
]

__getattr__ = moved(
    __name__,
    {
        "PURPOSES": "nplenet.seeds.PURPOSES",
        "generator": "nplenet.seeds.generator",
        "generator_state": "nplenet.seeds.generator_state",
        "restore_generator": "nplenet.seeds.restore_generator",
        "environment": "nplenet.machine.environment",
        "one_blas_thread": "nplenet.machine.one_blas_thread",
        "processor": "nplenet.machine.processor",
    },
)

answer_wrong_names(__name__)
