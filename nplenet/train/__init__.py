"""Training: the loop, its history, stopping, and the evaluation of a model."""

from ..names import answer_wrong_names
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

answer_wrong_names(__name__)
