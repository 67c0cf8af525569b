"""Plots: each function takes arrays or a model and returns a Matplotlib ``Figure``.

They need the extra ``plot``: ``pip install 'nplenet[plot]'``.
"""

from ..names import answer_wrong_names
from .network import feature_maps, filters, hidden_map, histograms
from .run import augmentation_preview, confusion_matrix, learning_curves, worst_mistakes

__all__ = [
    "augmentation_preview",
    "confusion_matrix",
    "feature_maps",
    "filters",
    "hidden_map",
    "histograms",
    "learning_curves",
    "worst_mistakes",
]

answer_wrong_names(__name__)
