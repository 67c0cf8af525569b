"""What a rank does with its part of a batch, without MPI."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.augment import (
    Compose,
    RandomAffine,
    RandomInvert,
    RandomRotation,
    ToFloat,
    fuse,
    invert,
)
from nplenet.backend import get_backend
from nplenet.commands import train_options
from nplenet.data import DataLoader, DeviceLoader
from nplenet.group import Group
from nplenet.layers.dropout import keep_mask
from nplenet.mpi import SIZES, join

PIPELINES = {
    "fused": Compose([RandomRotation(15), RandomInvert(0.5), ToFloat()]),
    "affine": Compose([RandomAffine(15, (0.1, 0.1), (0.9, 1.1), 9), RandomInvert(), ToFloat()]),
    "unknown": lambda images, rng: invert(images) if rng.random() < 0.5 else images,
    "none": None,
}


class OneOf(Group):
    """One of several ranks that never talk."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def loader(transform: object) -> DataLoader:
    images = np.random.default_rng(0).integers(0, 256, (23, 1, 9, 9), np.uint8)
    return DataLoader(
        images,
        np.arange(23),
        8,
        shuffle=True,
        rng=np.random.default_rng(1),
        transform=transform,  # type: ignore[arg-type]
        transform_rng=np.random.default_rng(2),
    )


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_parts_are_contiguous_and_differ_by_one_at_most(count: int) -> None:
    parts = [OneOf(rank, 3).part(count) for rank in range(3)]
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.parametrize("on_device", [False, True])
def test_the_parts_of_all_ranks_are_the_batch_of_one(kind: str, on_device: bool) -> None:
    if on_device and kind not in ("fused", "affine"):
        pytest.skip("has no kernel")

    def batches(group: Group) -> list[tuple[np.ndarray, np.ndarray]]:
        own = loader(PIPELINES[kind])
        own.group = group
        if not on_device:
            return list(own)
        return list(DeviceLoader(own, fuse(own.transform), get_backend("numpy")))

    whole = batches(Group())
    parts = [batches(OneOf(rank, 3)) for rank in range(3)]
    for k, (x, y) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[k][0] for part in parts]), x)
        np.testing.assert_array_equal(np.concatenate([part[k][1] for part in parts]), y)


@pytest.mark.parametrize("first", [0, 1, 7, 8, 1003])
def test_a_part_of_a_dropout_mask_is_that_of_the_whole(first: int) -> None:
    threshold = 2**30
    whole = keep_mask(12345, first + 500, threshold)
    np.testing.assert_array_equal(keep_mask(12345, 500, threshold, first), whole[first:])
    assert keep_mask(12345, 0, threshold, first).shape == (0,)


def test_without_mpiexec_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SIZES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert join().size == 1


@pytest.mark.parametrize(("variable", "arguments"), [("PMI_SIZE", []), (None, ["--ranks", "2"])])
def test_who_lacks_mpi_is_told_what_to_install(
    variable: str | None,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in SIZES:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["train", *arguments]) == 2
    assert "pip install 'nplenet[mpi]'" in capsys.readouterr().err


def test_more_ranks_than_the_cores_can_bear_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No test starts a hundred thousand processes: a launch would call ``execv``."""
    for name in SIZES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.execv", lambda *arguments: pytest.fail("mpiexec was started"))
    assert main(["train", "--ranks", "100000"]) == 2
    assert "--ranks 100000 is too many" in capsys.readouterr().err


def test_the_arguments_for_the_ranks_say_the_same_again() -> None:
    parser = argparse.ArgumentParser()
    train_options.add_options(parser)
    given = [
        "--recipe",
        "best",
        "--lr",
        "0.5",
        "--weight-decay=0.2",
        "--label-smoothing=0.1",
        "--eager",
        "--quiet",
        "--ranks",
        "3",
        "--keep",
        "best",
        "--data-dir=/a",
        "--limit",
        "5",
    ]
    options = parser.parse_args([*given, "--tunables", '{"lanes": 64}'])
    again = parser.parse_args(train_options.as_arguments(options))
    assert vars(again) == vars(options) | {"ranks": None}
