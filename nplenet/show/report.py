"""Moved to ``nplenet.report``."""

from ..deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "write_report": "nplenet.report.write_report",
    },
)
