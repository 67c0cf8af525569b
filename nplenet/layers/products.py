"""Products and sums that the linear layers share; each is a primitive with a kernel on a GPU."""

from __future__ import annotations

from typing import Any

from ..backend import Array


def product(xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
    """Return a @ b, written to ``out`` if there is one.

    Parameters
    ----------
    a : array (M, K)
    b : array (N, K, P)
    out : C-contiguous array (N, M, P), optional
    """
    return xp.matmul(a, b, out=out)


def matrix_product(xp: Any, a: Array, b: Array) -> Array:
    """Return a @ b: arrays (M, K), (K, P) and (M, P)."""
    return a @ b


def add_product(xp: Any, total: Array, a: Array, b: Array) -> None:
    """Add a @ b to ``total`` in place: arrays (M, K), (K, P) and (M, P)."""
    total += a @ b


def add_sums(xp: Any, total: Array, a: Array) -> None:
    """Add the sums of ``a`` over all axes but axis 1 to ``total``, in place.

    Parameters
    ----------
    total : array (C,)
    a : array (N, C) or (N, C, L)
    """
    total += a.sum(axis=(0, 2)[: a.ndim - 1])
