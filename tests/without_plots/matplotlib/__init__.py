"""Stands before Matplotlib on the path of a run whose report no test reads: see ``no_report``."""

raise ImportError("a test spares itself the report")
