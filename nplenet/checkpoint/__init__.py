"""Checkpoints: everything that a run needs to resume, in one safe file; or a model alone.

A file is in the safetensors format: tensors, and one JSON text with everything that is not a
tensor. A SHA-256 over both detects any flipped bit. No code in a file is ever executed.

    tensors   model.<path>   optimizer.<moment>.<path>   epoch.losses   epoch.hits
    JSON      format, nplenet, model (see ``architecture``), tied (see ``tied``), input_shape,
              preprocessing, pictures, data, optimizer, schedule, generators, frozen,
              eval, progress, arguments, tunables, environment

``epoch.hits`` counts the correct predictions of each step, under its name from before 0.1.0. A file
with only a model has ``format, nplenet, model, tied``, and where they are known ``input_shape,
preprocessing, pictures, trust``; its tensors have the names of the model's ``state_dict``, as in
PyTorch. The schema of all fields is in ``record``.
"""

from ..deprecated import moved
from ..names import answer_wrong_names
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

__getattr__ = moved(__name__, {"backup": "nplenet.checkpoint.file.backup"})

answer_wrong_names(__name__)
