"""Moved to ``nplenet.cases``."""

from .deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "CASES": "nplenet.cases.CASES",
        "OPERATIONS": "nplenet.cases.OPERATIONS",
        "Case": "nplenet.cases.Case",
        "Operation": "nplenet.cases.Operation",
        "select": "nplenet.cases.select",
    },
)
