"""Everything a run needs to continue, in one safe file; and a model alone, in a file like it.

A file is in the safetensors format: tensors, and one JSON text with all that is no tensor, led by
the SHA-256 of everything, so that a flipped bit is noticed. Nothing in it can execute.

    tensors   model.<path>   optimizer.<moment>.<path>   epoch.losses   epoch.hits
    JSON      format, nplenet, model (see ``architecture``), optimizer, schedule, generators,
              progress, arguments, tunables, environment

A model alone has ``format, nplenet, model``, and its tensors have the names of its ``state_dict``,
which are PyTorch's.
"""

from .file import (
    BEST,
    DEFAULT_MODEL,
    LATEST,
    Checkpoint,
    CheckpointError,
    CheckpointWarning,
    load,
    load_model,
    save_model,
)
from .folder import KEEP, CheckpointFolder
from .progress import Epoch, Progress
from .run import Run

__all__ = [
    "BEST",
    "DEFAULT_MODEL",
    "KEEP",
    "LATEST",
    "Checkpoint",
    "CheckpointError",
    "CheckpointFolder",
    "CheckpointWarning",
    "Epoch",
    "Progress",
    "Run",
    "load",
    "load_model",
    "save_model",
]
