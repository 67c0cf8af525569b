"""Training on several MPI ranks: the same result as alone, and an end to all when one fails."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import graphs_on_ranks
import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.checkpoint import LATEST, load

HERE = Path(__file__).parent
PROGRAM = HERE / "train_on_ranks.py"
BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
HANG_SECONDS = 300
"""After which a run counts as hanging, though its own watchdog ends it after 22 s. A run takes 5 s;
but the time on the wall also passes while a busy machine gives the ranks no core: 60 s were too few
for three ranks on two cores, each of whose sums waits for the last of them."""
ENVIRONMENT = {
    **os.environ,
    "XDG_CACHE_HOME": "/nowhere",
    # For Open MPI, which else refuses to run as root and on fewer cores than ranks.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}

pytestmark = pytest.mark.skipif(
    find_spec("mpi4py") is None or MPIEXEC is None,
    reason="mpi4py or mpiexec is missing: pip install 'nplenet[mpi]'",
)


Settings = dict[str, object]
Arrays = dict[str, np.ndarray]


def train(ranks: int, *trainings: tuple[Path, Settings]) -> subprocess.CompletedProcess[str]:
    """Run the program on N ranks: a folder and settings for each training; see there."""
    words = []
    for folder, settings in trainings:
        words += [str(folder), *(f"{name}={value}" for name, value in settings.items())]
    launcher = [str(MPIEXEC), "-n", str(ranks)] if ranks > 1 else []
    return subprocess.run(
        [*launcher, sys.executable, str(PROGRAM), *words],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=ENVIRONMENT,
    )


def arrays_in(folder: Path) -> Arrays:
    """Return what a training leaves in its folder."""
    with np.load(folder / "result.npz") as file:
        return dict(file)


def result(ranks: int, folder: Path, *, notice: str = "", **settings: object) -> Arrays:
    """Return what a run of which nothing is to go wrong leaves; rank 0 may give one notice."""
    done = train(ranks, (folder, settings))
    assert done.returncode == 0
    assert notice in done.stderr
    assert bool(done.stderr) == bool(notice)
    assert done.stderr.count("Warning: ") == len(notice[:1]), done.stderr
    assert all(f"rank {r} of {ranks}: done" in done.stdout for r in range(ranks))
    return arrays_in(folder)


def largest_error(found: Arrays, expected: Arrays) -> float:
    """Return the largest error of any array, relative to its largest number."""
    assert found.keys() == expected.keys()
    assert all(np.isfinite(a).all() for a in found.values())
    return max(
        float(np.abs(found[k] - expected[k]).max() / max(np.abs(expected[k]).max(), 1e-300))
        for k in expected
    )


def processes_with(word: str) -> list[str]:
    """Return the command lines of the processes that have ``word`` in it (Linux)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if word.encode() in command:
            found.append(command.decode())
    return found


# ------------------------------------------------------------------ the same result

# 18 steps; the last batch of an epoch has two images, so that some ranks have none of it.
UNEVEN: Settings = {"images": 162, "batch": 32}
FLOAT32: Settings = UNEVEN | {"dtype": "float32", "rule": "SGD"}
# Enough images for each of two threads of each of two ranks.
ENOUGH: Settings = {"images": 600, "batch": 256, "epochs": 1}
FEW: Settings = {"images": 20, "batch": 16, "epochs": 1, "eager": 1}
TUNED = [("groups", ""), ("groups", "yes"), ("weighted", "yes"), ("weighted", "")]

TRAININGS: dict[str, tuple[set[int], Settings]] = {
    "compiled": ({1, 2, 3, 4}, UNEVEN),
    "textbook": ({2, 3}, UNEVEN | {"eager": 1}),
    "tunables found": ({2}, UNEVEN | {"threads": ""}),
    "float32": ({1, 2}, FLOAT32),
    "enough": ({1}, ENOUGH),
    "two threads": ({2}, ENOUGH | {"threads": 2}),
    "few": ({1}, FEW),
}
"""Of the compiled step in float64 unless they say otherwise: on which numbers of ranks, and how."""

TRAININGS |= {
    f"{tuned} {eager}": ({1, 2, 3}, {"tuned": tuned, "eager": eager, "images": 160, "epochs": 2})
    for tuned, eager in TUNED
}

Trained = Callable[[int, str], Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A function that returns the folder of a training on N ranks.

    All those of N ranks happen in the same processes, which take longer to start than to train.
    """

    @functools.cache
    def folder_of_all(ranks: int) -> Path:
        folder = tmp_path_factory.mktemp("ranks")
        found = {name: how for name, (numbers, how) in TRAININGS.items() if ranks in numbers}
        for name in found:
            (folder / name).mkdir()
        done = train(ranks, *((folder / name, how) for name, how in found.items()))
        assert (done.returncode, done.stderr) == (0, "")
        for rank in range(ranks):
            assert done.stdout.count(f"rank {rank} of {ranks}: done") == len(found)
        return folder

    return lambda ranks, name: folder_of_all(ranks) / name


@pytest.fixture(scope="module")
def alone(trained: Trained) -> Arrays:
    """The result of the compiled step in float64 on one process."""
    return arrays_in(trained(1, "compiled"))


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize(("tuned", "eager"), TUNED)
def test_fine_tuning_on_ranks_is_that_of_one(
    tuned: str, eager: str, ranks: int, trained: Trained
) -> None:
    """Groups, frozen layers, clipping, class weights, and a label that does not count."""
    one, found = (arrays_in(trained(n, f"{tuned} {eager}")) for n in (1, ranks))
    assert largest_error(found, one) < 1e-6  # float64, 10 steps of Adam


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_train_the_same_network_as_one_process(
    ranks: int, alone: Arrays, trained: Trained
) -> None:
    # Sums are added in another order; Adam makes 1e-13 of the 1e-16 which that is in a step.
    assert largest_error(arrays_in(trained(ranks, "compiled")), alone) < 1e-12


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_train_the_same_network_with_the_textbook_layers(
    ranks: int, alone: Arrays, trained: Trained
) -> None:
    assert largest_error(arrays_in(trained(ranks, "textbook")), alone) < 1e-12


def test_ranks_use_the_tunables_that_rank_0_has_found(alone: Arrays, trained: Trained) -> None:
    folder = trained(2, "tunables found")  # ranks whose steps differ are refused
    assert largest_error(arrays_in(folder), alone) < 1e-12
    assert load(folder / LATEST).record["tunables"]


def test_ranks_of_two_threads_train_the_same_network(trained: Trained) -> None:
    one, two = arrays_in(trained(1, "enough")), arrays_in(trained(2, "two threads"))
    assert largest_error(two, one) < 1e-12


def test_ranks_train_the_same_network_in_float32(trained: Trained) -> None:
    one, two = (arrays_in(trained(n, "float32")) for n in (1, 2))
    for name in one:
        if one[name].dtype.kind == "f":
            # Relative to the whole array: a ReLU whose input is of the size of the rounding may
            # cut differently, which moves a single small weight by more than that.
            error = np.linalg.norm(one[name] - two[name]) / np.linalg.norm(one[name])
            assert error < 1e-4, name


OnGpus = Callable[[int], tuple[Arrays, list[set[str]]]]


@pytest.fixture(scope="module")
def on_gpus(
    cuda: Backend, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> OnGpus:
    """A function that trains on N ranks with a GPU each, kernel by kernel.

    It returns the result, and the names of the kernels that each rank has launched.
    """
    choice = request.config.getoption("--backend")
    settings = FEW | {"backend": "cupy" if choice == "cupy" else "cupy-sim"}

    @functools.cache
    def run(ranks: int) -> tuple[Arrays, list[set[str]]]:
        folder = tmp_path_factory.mktemp("gpus")
        done = train(ranks, (folder, settings))
        assert (done.returncode, done.stderr) == (0, "")
        words = [line.split() for line in done.stdout.splitlines() if " launched " in line]
        launched = {int(rank): set(names) for _, rank, _, *names in words}
        return arrays_in(folder), [launched[rank] for rank in range(ranks)]

    return run


def test_ranks_on_gpus_train_the_same_network(on_gpus: OnGpus, trained: Trained) -> None:
    assert largest_error(on_gpus(2)[0], arrays_in(trained(1, "few"))) < 1e-12


def test_ranks_on_gpus_launch_the_kernels_that_one_process_launches(on_gpus: OnGpus) -> None:
    training = on_gpus(1)[1][0] - {"batch_norm_inference"}  # one of the ranks validates
    assert {"batch_norm_center", "batch_norm_backward", "dropout", "im2col"} <= training
    for launched in on_gpus(2)[1]:
        assert launched - {"batch_norm_inference"} == training


# ------------------------------------------------------------------ in graphs, with sums by NCCL

Graphs = tuple[list[dict[str, Any]], dict[str, Arrays]]


@pytest.fixture(scope="module")
def in_graphs(
    cuda: Backend, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Graphs:
    """What two ranks were told, and what they trained, in one run of ``graphs_on_ranks``."""
    backend, folder = "cupy-sim", tmp_path_factory.mktemp("graphs")
    if request.config.getoption("--backend") == "cupy":
        backend = "cupy"
        if cuda.xp.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("two ranks need two GPUs for sums by NCCL")
    done = subprocess.run(
        [str(MPIEXEC), "-n", "2", sys.executable, graphs_on_ranks.__file__, str(folder), backend],
        capture_output=True,
        text=True,
        timeout=240,  # some 10 s, but the first time each kernel is compiled
        env=ENVIRONMENT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads((folder / f"rank{r}.json").read_text(encoding="utf-8")) for r in (0, 1)]
    return told, {file.stem: dict(np.load(file)) for file in folder.glob("*.npz")}


@pytest.mark.parametrize("name", ["uneven", "nobody"])
def test_ranks_in_graphs_train_the_same_network_as_one_process(
    in_graphs: Graphs, name: str
) -> None:
    """Loss, correct predictions, weights and moments, with batch norm and dropout.

    The last batch has an image more on one rank than on the other, or one rank has none of it.
    """
    expected = graphs_on_ranks.Run("numpy", **graphs_on_ranks.RUNS[name]).fit()
    assert largest_error(in_graphs[1][name], expected) < 1e-10


def test_ranks_in_graphs_train_the_same_network_in_float32(in_graphs: Graphs) -> None:
    found = in_graphs[1]["float32"]
    expected = graphs_on_ranks.Run("numpy", **graphs_on_ranks.RUNS["float32"]).fit()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype.kind == "f":
            error = float(np.linalg.norm(found[name] - array))
            assert error <= 1e-4 * float(np.linalg.norm(array)), name


def test_sums_by_nccl_are_those_by_the_host(in_graphs: Graphs) -> None:
    (told, _), trained = in_graphs
    assert largest_error(trained["uneven"], trained["sums by the host"]) < 1e-12
    assert "one by one: sums go through the host (no NCCL" in told["sums by the host"]
    assert "in graphs, with sums by NCCL" in told["sums by NCCL"]


def test_ranks_in_graphs_resume_within_an_epoch_to_the_same_bits(in_graphs: Graphs) -> None:
    told, trained = in_graphs
    assert told[0]["resumed"] == told[1]["resumed"]
    assert told[0]["resumed"] in ("2 steps", "4 steps")  # of 5, saved every 2
    resumed = {name: array.tobytes() for name, array in trained["resumed"].items()}
    assert resumed == {name: array.tobytes() for name, array in trained["uneven"].items()}


def test_all_ranks_in_graphs_name_the_same_error(in_graphs: Graphs) -> None:
    first, second = in_graphs[0]
    assert first["label"] == second["label"]
    assert "label 11 of sample 14 in step 2 of the epoch" in first["label"]  # of the whole batch
    assert first["not finite"] == second["not finite"]
    assert re.match(r"the loss is \S+ in epoch 1, step [2-4] \(detected", first["not finite"])


def test_an_epoch_of_ranks_is_one_graph_and_asks_nothing_of_the_host(in_graphs: Graphs) -> None:
    for told in in_graphs[0]:
        if "counts" not in told:
            pytest.skip("a real device does not count")
        assert told["counts"] == {"graph_launches": 1}  # no copy, no allocation, no wait


# ------------------------------------------------------------------ resuming


def test_a_checkpoint_resumes_on_any_number_of_ranks(alone: Arrays, tmp_path: Path) -> None:
    result(3, tmp_path, until=1, **UNEVEN)
    result(1, tmp_path, until=2, notice="(ranks 3, here 1)", **UNEVEN)
    last = result(2, tmp_path, notice="(ranks 1, here 2)", **UNEVEN)
    assert largest_error(last, alone) < 1e-12


def test_a_signal_to_one_rank_stops_all_at_the_same_step(alone: Arrays, tmp_path: Path) -> None:
    done = train(2, (tmp_path, UNEVEN | {"fault": "is_told_to_end", "save": 1}))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"rank {r} of 2: SIGTERM" in done.stdout for r in range(2))
    assert load(tmp_path / LATEST).record["optimizer"]["step"] in (5, 6)
    assert largest_error(result(2, tmp_path, **UNEVEN), alone) < 1e-12


# ------------------------------------------------------------------ failing


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raises", "RuntimeError: this rank has had enough"),
        ("dies", "KILLED BY SIGNAL: 9"),
        ("hangs", "rank 1 has not reached the next sum"),
        ("stops", "rank 0 has waited"),
    ],
)
def test_a_rank_that_fails_ends_the_run(fault: str, words: str, tmp_path: Path) -> None:
    done = train(
        2, (tmp_path, {"fault": fault, "seconds": 2, "save": 1})
    )  # without an end, it would time out
    assert done.returncode != 0
    told = done.stdout + done.stderr
    if fault == "dies":  # mpiexec tells it, in its own words
        assert "signal 9" in told
    else:
        assert told.count(words) == 1
    assert told.count("Traceback") == (fault == "raises")
    assert load(tmp_path / LATEST).record["optimizer"]["step"] in (4, 5)
    deadline = time.monotonic() + 30
    while processes_with(str(tmp_path)):  # those that mpiexec has just told to end
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("differs", "words"),
    [
        ("data", "the SHA-256 of the training images"),
        ("weights", "the SHA-256 of the model's state"),
        ("tunables", "the step is ('CompiledStep', {'lanes': 16"),
        ("arguments", "the argument mood is bad on rank 2, good on rank 0"),
        ("versions", "the version of numpy is 1.0 on rank 2"),
    ],
)
def test_ranks_that_differ_are_refused_at_the_start(
    differs: str, words: str, tmp_path: Path
) -> None:
    done = train(3, (tmp_path, {"differs": differs}))
    assert done.returncode != 0
    assert done.stderr.count("ValueError: the ranks can't train together: " + words) == 1
    assert not (tmp_path / LATEST).exists()


# ------------------------------------------------------------------ the command


def nplenet(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nplenet", *arguments],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=ENVIRONMENT | {"PYTHONPATH": os.environ["PYTHONPATH"]},
    )


@pytest.mark.usefixtures("no_report")
def test_the_command_starts_its_ranks_and_one_of_them_speaks(tmp_path: Path) -> None:
    small = ("--dataset=digits", "--limit=100", "--epochs=1", "--eager", f"--output={tmp_path}")
    done = nplenet("train", "--ranks", "2", *small)
    assert done.returncode == 0
    assert done.stdout.count("test accuracy") == done.stdout.count("epoch   1") == 1
    assert '"ranks": 2' in (tmp_path / "history.json").read_text(encoding="utf-8")


def test_an_error_of_all_ranks_is_told_once() -> None:
    done = nplenet("train", "--ranks", "2", "--dataset=digits", "--lr=-1")
    assert done.returncode == 2
    assert done.stderr.count("nplenet train: ") == 1


def test_a_rank_that_gives_up_ends_though_its_mpiexec_is_gone(tmp_path: Path) -> None:
    """Its standard error is then a broken pipe; it was left alone, computing for ever."""
    program = """
import os, sys
from types import SimpleNamespace
from nplenet.mpi import MpiGroup
group = MpiGroup.__new__(MpiGroup)
group.rank, group._waiting, group._spent = 0, True, 5.0
group.communicator = SimpleNamespace(Abort=lambda status: None)
os.read(int(sys.argv[1]), 1)  # until the other end of standard error is closed
group._give_up()
"""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(reading)],
        stderr=subprocess.PIPE,
        pass_fds=[reading],
        env=ENVIRONMENT,
    )
    assert process.stderr is not None
    process.stderr.close()
    os.write(writing, b"x")
    assert process.wait(timeout=30) == 1
    os.close(reading)
    os.close(writing)
