"""Tunables: how candidates are compared, and what is kept for later runs.

The machine is a pretended one: its clocks move only while a step runs, which takes what is told.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nplenet
from nplenet.__main__ import main
from nplenet.compiled.cpu import search, trial, tuning_cache, workers
from nplenet.compiled.cpu.tuning import MinImages, Tunables
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD


class Machine:
    """Two clocks, and steps that take time on them; ``load(step)`` is time that others take."""

    def __init__(self, cost: Callable[[Tunables], float]) -> None:
        self.cost, self.load = cost, lambda number: 0.0
        self.wall = self.processor = 0.0
        self.steps = 0
        self.made: list[tuple[int, Tunables]] = []

    def make(self, images: int, tunables: Tunables) -> Callable[[], None]:
        self.made.append((images, tunables))
        took = self.cost(tunables)

        def step() -> None:
            self.steps += 1
            self.processor += took
            self.wall += took + self.load(self.steps)

        return step


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine of two cores on which 64 lanes take 2 ms and all else takes 3, and no cache yet."""
    found = Machine(lambda tunables: 0.002 if tunables.lanes == 64 else 0.003)
    monkeypatch.setattr(search.time, "perf_counter", lambda: found.wall)
    monkeypatch.setattr(search.time, "thread_time", lambda: found.processor)
    monkeypatch.setattr(search, "usable_cores", lambda: 2)
    monkeypatch.setattr(search, "kind_now", lambda: "threads")
    monkeypatch.setattr(trial, "make_step", found.make)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.setattr(tuning_cache, "_chosen", {})
    return found


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_cache, "_chosen", {})


def compiled(images: int = 64, **options: Any) -> dict[str, int]:
    """Return the tunables of a step that was compiled."""
    model = LeNet5(seed=0)
    return nplenet.compile(
        model, CrossEntropyLoss(), SGD(model.parameters()), images, **options
    ).tunables


# ------------------------------------------------------------------ comparing


def test_the_fastest_value_of_each_tunable_is_found(machine: Machine) -> None:
    def cost(tunables: Tunables) -> float:
        wrong = [
            tunables.lanes != 128,
            tunables.transpose != 0,
            tunables.tile_channels != 16,
            tunables.threads != 2,
            tunables.buffer_size != 8192,
        ]
        return 0.001 + 0.0001 * sum(wrong) + 0.0005 * (tunables.threads != 2)

    machine.cost = cost
    best, comparisons = search.search(256, machine.make)
    expected = {"lanes": 128, "transpose": 0, "tile_channels": 16, "threads": 2}
    assert {name: best.as_dict()[name] for name in expected} == expected
    assert best.buffer_size == 8192
    for trials in comparisons:  # each begins with what was at hand and changes one value of it
        first = trials[0].tunables.as_dict()
        for other in trials[1:]:
            now = other.tunables.as_dict()
            assert sum(now[name] != first[name] for name in now) == 1


def test_in_the_browser_which_has_no_time_of_the_processor_the_clock_is_asked(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "usable_cores", lambda: 1)
    monkeypatch.setattr(search, "kind_now", lambda: "processes")
    expected = search.search(256, machine.make)[0]
    assert expected.lanes == 64
    monkeypatch.delattr(search.time, "thread_time")
    assert search.search(256, machine.make)[0] == expected


def test_a_saving_within_noise_keeps_the_default(machine: Machine) -> None:
    machine.cost = lambda tunables: 0.00299 if tunables.lanes == 64 else 0.003
    assert search.search(256, machine.make)[0] == search.default()


def test_bursts_of_other_programs_do_not_change_the_choice(machine: Machine) -> None:
    """Nine of ten steps are disturbed, some for a long time: the mean would say otherwise."""
    quiet = search.search(256, machine.make)[0]
    assert quiet.lanes == 64
    machine.load = lambda number: 0.0 if number % 10 == 0 else 0.004 * (number % 7)
    assert search.search(256, machine.make)[0] == quiet


def test_what_a_thread_does_is_measured_on_its_share_and_by_its_own_time(machine: Machine) -> None:
    """So a machine that is always busy, where the clock says nothing, chooses as a quiet one."""
    machine.cost = lambda t: (0.002 if t.lanes == 64 else 0.003) / t.threads
    machine.load = lambda number: 0.0 if number < 200 else 0.05 * (number % 3)
    best, _ = search.search(256, machine.make)
    assert (best.lanes, best.threads) == (64, 2)
    shares = [images for images, tunables in machine.made if tunables.lanes == 128]
    assert set(shares) == {128}


@pytest.mark.parametrize("kind", ["processes", "threads without a lock"])
def test_how_many_pay_is_told_by_one_where_they_compute_side_by_side_also_on_a_busy_machine(
    kind: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "kind_now", lambda: kind)
    assert search.default().worker_images == 16
    machine.load = lambda number: 0.01 * (number % 3)
    made = machine.make

    def make(images: int, tunables: Tunables) -> Callable[[], None]:
        machine.cost = lambda _, images=images: 0.0005 + 0.00002 * images
        return made(images, tunables)

    machine.made.clear()
    trials = search.compare("threads", [Tunables(), Tunables(threads=2)], 64, make)
    assert [images for images, _ in machine.made] == [64, 32]
    assert {tunables.threads for _, tunables in machine.made} == {1}
    assert trials[0].seconds == pytest.approx(0.0005 + 0.00002 * 64)
    assert trials[1].seconds == pytest.approx(0.0005 + 0.00002 * 32 + search.SECONDS_TO_MEET)
    assert search.neighbours(Tunables(threads=2), "worker_images", 64) == []


def test_a_comparison_ends(machine: Machine) -> None:
    slow = {1: 0.5, 2: 0.4}
    machine.cost = lambda tunables: slow[tunables.threads]
    search.compare("threads", [Tunables(), Tunables(threads=2)], 64, machine.make, 1.5)
    assert machine.wall <= 1.5 + 0.9  # the round in which the time is up is completed


def test_values_that_change_nothing_are_not_tried(machine: Machine) -> None:
    one = Tunables()
    assert search.neighbours(one, "worker_images", 64) == []  # of one thread
    two = Tunables(threads=2)
    assert search.neighbours(two, "worker_images", 1024) == []  # of so many images
    assert [t.worker_images for t in search.neighbours(two, "worker_images", 64)] == [64]
    assert search.neighbours(two, "threads", 1024) == [one]
    assert search.neighbours(one, "lanes", 16) == []


def test_thread_thresholds_of_each_kind_of_plan() -> None:
    tunables = Tunables()
    assert tunables.min_images(True, True) == MinImages(32, 64)
    assert tunables.min_images(True, False) == MinImages(64, 64)
    assert tunables.min_images(False, True) == MinImages(32, 32)


# ------------------------------------------------------------------ keeping


def test_tunables_are_found_once_for_each_size(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled(64)["lanes"] == 64
    machine.made.clear()
    assert compiled(64)["lanes"] == compiled(100)["lanes"] == 64
    assert not machine.made
    machine.cost = lambda tunables: 0.002 if tunables.lanes == 128 else 0.003
    assert compiled(1000)["lanes"] == 128
    new_process(monkeypatch)
    assert (compiled(100)["lanes"], compiled(1000)["lanes"]) == (64, 128)


def test_each_size_is_served_by_the_next_smaller_one() -> None:
    found = {images: tuning_cache.size_for(images) for images in (1, 16, 63, 64, 128, 255, 5000)}
    assert found == {1: 16, 16: 16, 63: 32, 64: 64, 128: 128, 255: 128, 5000: 256}


def test_a_later_process_looks_again_once_and_keeps_its_choice(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled(256)["lanes"] == 64
    for _ in range(3):
        new_process(monkeypatch)
        machine.made.clear()
        assert compiled(256)["lanes"] == 64
        assert len(machine.made) == 2  # the choice, and a neighbour
        assert compiled(256)["lanes"] == 64
        assert len(machine.made) == 2
    assert tuning_cache.read()[256].looks == 3  # another neighbour each time


def test_inference_alone_neither_searches_nor_looks_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    untuned = nplenet.compile(LeNet5(seed=0)).tunables
    assert not machine.made
    assert untuned == search.default().as_dict() | {"threads": 2}
    new_process(monkeypatch)
    assert compiled(256)["lanes"] == 64
    new_process(monkeypatch)
    machine.made.clear()
    assert nplenet.compile(LeNet5(seed=0)).tunables["lanes"] == 64
    assert not machine.made


def test_a_choice_that_was_wrong_is_replaced_after_two_looks_and_not_within_a_process(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = dataclasses.replace(search.default(), threads=2, lanes=128)
    tuning_cache.keep(256, tuning_cache.Kept(wrong))
    seen = []
    for _ in range(40):
        new_process(monkeypatch)
        seen.append(compiled(256)["lanes"])
        assert compiled(256)["lanes"] == seen[-1]
    change = seen.index(64)
    assert set(seen[:change]) == {128}
    assert set(seen[change:]) == {64}


def test_a_neighbour_that_won_only_once_is_not_chosen(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning_cache.keep(256, tuning_cache.Kept(dataclasses.replace(search.default(), lanes=128)))
    while tuning_cache.read()[256].wins == 0:
        new_process(monkeypatch)
        compiled(256)
    machine.cost = lambda tunables: 0.003
    new_process(monkeypatch)
    assert compiled(256)["lanes"] == 128
    assert tuning_cache.read()[256].wins == 0


OF_OLD = {"machine": {}, "tunables": {"lanes": 128, "threads": 2}}  # one choice for every batch


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"\xff",
        b'{"machine": {}, "sizes": {"x": {}}}',
        json.dumps(OF_OLD).encode(),
    ],
)
def test_a_damaged_or_old_cache_is_ignored_and_written_anew(
    content: bytes, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(256)
    new_process(monkeypatch)
    (file,) = (tmp_path / "cache").iterdir()
    good = file.read_bytes()
    file.write_bytes(content)
    assert compiled(256)["lanes"] == 64
    assert file.read_bytes() == good


def test_what_another_version_chose_is_not_taken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning_cache.keep(256, tuning_cache.Kept(dataclasses.replace(search.default(), lanes=128)))
    monkeypatch.setattr(tuning_cache, "__version__", "99.0")  # its step is another one
    assert compiled(256)["lanes"] == 64


def test_sizes_are_kept_beside_each_other(machine: Machine) -> None:
    for images in (64, 256):
        compiled(images)
    assert sorted(tuning_cache.read()) == [64, 256]


def test_a_cache_that_cannot_be_written_is_done_without(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert compiled(256)["lanes"] == 64


def test_given_tunables_are_taken_as_they_are(machine: Machine) -> None:
    given = {"lanes": 16, "tile_channels": 0, "worker_images": 7}
    assert compiled(64, tunables=given) == Tunables().as_dict() | given
    assert not machine.made


# ------------------------------------------------------------------ on this machine


def test_a_real_search_finds_tunables_that_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.setattr(search, "MAX_SECONDS", 0.1)
    tunables = compiled(32)
    assert set(tunables) == {field.name for field in dataclasses.fields(Tunables)}
    assert compiled(32, tunables=tunables) == tunables


def test_the_command_prints_each_value_and_keeps_the_choice(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--batch-size", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "batches of 256 images:"
    lanes = [line.split() for line in lines if line.split()[0] == "lanes"]
    assert lanes == [
        ["lanes", "32", "3.000", "ms"],
        ["lanes", "64", "2.000", "ms", "chosen"],
        ["lanes", "128", "3.000", "ms"],
    ]
    assert tuning_cache.read()[256].tunables.lanes == 64
    assert main(["tune", "--batch-size", "256", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["sizes"]["256"]
    assert record["tunables"]["lanes"] == 64
    assert sorted(t["seconds"] for c in record["comparisons"] for t in c)[0] == pytest.approx(2e-3)


def test_workers_without_pythons_lock_are_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they have tunables of their own in the cache, too."""
    monkeypatch.setenv("NPLENET_WORKERS", "threads")
    kinds = []
    for lock in (True, False):
        monkeypatch.setattr(workers, "has_lock", lambda lock=lock: lock)
        kinds.append((workers.kind_now(), tuning_cache.machine()["workers"]))
    assert kinds == [("threads",) * 2, ("threads without a lock",) * 2]
