"""Fixtures of the tests of processes that share a step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .crews import STARTED


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have steps use processes: beside the threads of a test runner they would use threads.

    No program that a test has started outlives it.
    """
    monkeypatch.setenv("NPLENET_WORKERS", "processes")
    yield
    for process in STARTED:
        process.kill()
        process.communicate()
    STARTED.clear()
