"""The attacks of ``tests/torture.py``: one module for each kind, each with its ``FIGURES``.

A figure counts attacks: its named cases, among them each fault that was ever found, then attacks
at random. A module may also have ``GOALS``: measures by name, and the most that each may be.
"""
