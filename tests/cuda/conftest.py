"""What every test of a kernel asks: the same numbers as the NumPy twin, the same bits always."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.backend import Backend, get_backend
from nplenet.backend.binding import kernel_for

ORDERS = ("forward", "reverse", "random:7")  # of threads; a real device takes its own
# A hundred roundings of 6e-8 or 1.1e-16, beside the largest number of the array.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def outcome(
    backend: Backend, function: Callable[..., Any], arguments: Any, parts: int | None
) -> list[np.ndarray]:
    """Return all arrays that a function returned or was given, as NumPy arrays.

    That of index ``parts`` among the results comes in parts along axis 0, as many as the backend
    likes; they are added up.
    """
    given = [backend.asarray(a.copy()) if isinstance(a, np.ndarray) else a for a in arguments]
    result = backend.primitive(function, *given)
    results = list(result) if isinstance(result, tuple) else [result]
    if parts is not None:
        results[parts] = results[parts].sum(axis=0)
    return [np.array(backend.to_numpy(a)) for a in (*results, *given) if backend.owns(a)]


def assert_equal(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    largest = np.abs(expected[finite]).max(initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest, equal_nan=True)


@pytest.fixture
def assert_equals_twin(cuda: Backend) -> Callable[..., None]:
    """Return a check of a kernel: NumPy's numbers, and one set of bits in any order of threads.

    It takes the twin and its arguments, and compares what is returned and what is changed in place.
    """

    def check(function: Callable[..., Any], *arguments: Any, parts: int | None = None) -> None:
        assert kernel_for(function) is not None, "there is no kernel to test"
        expected = outcome(get_backend("numpy"), function, arguments, parts)
        floats = (a for a in arguments if isinstance(a, np.ndarray) and a.dtype in TOLERANCE)
        tolerance = TOLERANCE[next(floats).dtype]  # of what went in: sums of float32 may be float64
        bits = []
        for order in ORDERS:
            with gpusim.thread_order(order):
                found = outcome(cuda, function, arguments, parts)
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert_equal(a, b, tolerance)
            bits.append([a.tobytes() for a in found])
        assert bits[0] == bits[1] == bits[2]

    return check


@pytest.fixture
def simulated(cuda: Backend) -> None:
    """For a test that counts launches and allocations, which only the simulated device does."""
    if not gpusim.installed() or gpusim.sanitized():
        pytest.skip("counts are taken on the simulated device, and without sanitizers (no pool)")


@pytest.fixture
def no_reading(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss and the number of correct predictions are read at the end of an epoch only.

    Otherwise a busy machine may take so long for a few steps that they are due to be read, for
    which the host waits.
    """
    monkeypatch.setattr(type(cuda), "reading_interval", 1e9)


@pytest.fixture
def launches_of(cuda: Backend) -> Callable[[Callable[[], object]], tuple[int, int]]:
    """Return a count of the launches and GEMMs of a step; it may neither wait nor copy."""
    if not gpusim.installed():
        pytest.skip("a real device does not count its launches")

    def count(step: Callable[[], object]) -> tuple[int, int]:
        step()  # compiles, and uploads what is kept
        with gpusim.counting() as work:
            step()
        assert work.syncs == work.h2d == work.d2h == work.d2d == work.memsets == 0, work
        return work.launches, work.gemms

    return count
