"""How a worker waits: it looks first, and sleeps at once where waits have been long."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nplenet.compiled.cpu import patience
from nplenet.compiled.cpu.patience import SECONDS_TO_LOOK, Patience


class Clock:
    """A clock that each reading moves on by 1 us, and a sleep by its own time."""

    def __init__(self) -> None:
        self.now, self.looks, self.slept = 0.0, 0, 0

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now

    def wait(self, at: Patience, open_after: int, sleep: float = 0.0) -> bool:
        """Wait at a gate that is open at a certain look, or after a sleep."""
        self.looks = self.slept = 0

        def look() -> bool:
            self.looks += 1
            return self.looks == open_after

        def asleep() -> bool:
            self.slept += 1
            self.now += sleep
            return sleep > 0

        return at.wait(look, asleep)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(patience, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def test_what_comes_soon_is_seen_without_a_sleep(clock: Clock) -> None:
    assert clock.wait(Patience(), open_after=20)
    assert (clock.looks, clock.slept) == (20, 0)


def test_what_does_not_come_is_slept_for_after_half_a_millisecond(clock: Clock) -> None:
    assert clock.wait(Patience(), open_after=10**6, sleep=1.0)
    assert clock.slept == 1
    assert SECONDS_TO_LOOK <= clock.looks * 1e-6 < SECONDS_TO_LOOK + 5e-6


def test_after_long_waits_it_looks_once_and_after_some_short_ones_as_before(clock: Clock) -> None:
    there = Patience()
    for _ in range(8):
        clock.wait(there, open_after=10**6, sleep=4 * SECONDS_TO_LOOK)
    clock.wait(there, open_after=2, sleep=1.0)
    assert (clock.looks, clock.slept) == (1, 1)
    for _ in range(20):
        clock.wait(there, open_after=1)
    assert clock.wait(there, open_after=5)
    assert (clock.looks, clock.slept) == (5, 0)


def test_a_sleep_that_ends_early_is_no_passage(clock: Clock) -> None:
    assert not clock.wait(Patience(), open_after=10**6, sleep=0.0)
