"""Moved to ``nplenet.cases``."""

from .deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "CASES": "nplenet.cases.CASES",
        "OPERATIONS": "nplenet.cases.ROWS",
        "Case": "nplenet.cases.Case",
        "Operation": "nplenet.cases.Row",
        "select": "nplenet.cases.select",
    },
)
