"""Moved to ``nplenet.train``."""

from .deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "Evaluation": "nplenet.train.Evaluation",
        "confusion_table": "nplenet.train.confusion_table",
        "evaluate": "nplenet.train.evaluate",
        "evaluate_with": "nplenet.train.evaluate_with",
        "naming_batch_size": "nplenet.train.naming_batch_size",
    },
)
