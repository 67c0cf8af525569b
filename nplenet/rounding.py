"""Whole numbers rounded up: of groups that hold some things, to a multiple."""


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up: how many groups of b hold a things. Exact, unlike floats."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``a``."""
    return ceil_div(a, multiple) * multiple
