"""Training: the loop, its history, how it stops, and how a model is evaluated."""

from .epoch import NonFiniteLoss, first_layer_not_finite
from .evaluation import Evaluation, confusion_table, evaluate, evaluate_with, naming_batch_size
from .fit import fit
from .history import History

__all__ = [
    "Evaluation",
    "History",
    "NonFiniteLoss",
    "confusion_table",
    "evaluate",
    "evaluate_with",
    "first_layer_not_finite",
    "fit",
    "naming_batch_size",
]
