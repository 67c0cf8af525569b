"""Moved to ``nplenet.plots``."""

from ..deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "augmentation_preview": "nplenet.plots.augmentation_preview",
        "confusion_matrix": "nplenet.plots.confusion_matrix",
        "feature_maps": "nplenet.plots.feature_maps",
        "filters": "nplenet.plots.filters",
        "hidden_map": "nplenet.plots.hidden_map",
        "histograms": "nplenet.plots.histograms",
        "learning_curves": "nplenet.plots.learning_curves",
        "worst_mistakes": "nplenet.plots.worst_mistakes",
    },
)
