"""Moved to ``nplenet.plots``, ``nplenet.report`` and ``nplenet.page``."""
