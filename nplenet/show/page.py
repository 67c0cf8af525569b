"""Moved to ``nplenet.page``."""

from ..deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "write_page": "nplenet.page.write_page",
    },
)
