"""Processes that share a step: the bits of threads, clear errors, and nothing left behind.

Most tests ask for processes: beside the threads of a test runner a step would use threads.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.augment import standard_augmentation
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.compiled import TextbookStep, compile
from nplenet.compiled.cpu.kinds import has_lock
from nplenet.compiled.cpu.processes import WorkerDied
from nplenet.compiled.cpu.search import SIDE_BY_SIDE, default
from nplenet.compiled.cpu.tuning_cache import machine
from nplenet.compiled.cpu.workers import MAX_CREWS
from nplenet.data import DataLoader
from nplenet.layers import (
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import Adam, AdamW
from nplenet.train import fit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are used on Linux")
WITH_A_LOCK = pytest.mark.skipif(
    not has_lock(), reason="without Python's lock threads share a step"
)

N = 150
LIKE_THREADS = {"worker_images": 32, "worker_images_for_features": 64, "head_start": 4}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 1, 32, 32), np.float32)
Y = RNG.integers(0, 10, N)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPLENET_WORKERS", "processes")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Return a function that plans a step for threads."""

    def with_threads(step: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("NPLENET_WORKERS", "threads")
            step.prepare(X.shape[1:])
            step.predict(X[:1])
        assert "threads (NPLENET_WORKERS=threads)" in step.describe()
        return step

    return with_threads


def make_step(model: Layer | None = None, workers: int = 2, **tunables: int) -> Any:
    model = LeNet5(dropout=0.2, seed=0) if model is None else model
    chosen = {"threads": workers, "lanes": 16, **SIDE_BY_SIDE} | tunables
    return compile(model, CrossEntropyLoss(), Adam(model.parameters()), N, tunables=chosen)


def pids(step: Any) -> list[int]:
    """Return the helper processes of a step's training plan."""
    crew = step.prepare(X.shape[1:]).crew
    return list(crew._pids) if crew and crew.alive else []


def state(step: Any) -> dict[str, bytes]:
    """Return all that training has changed, as bytes."""
    arrays = step.model.state_dict() | step.optimizer.state_dict()
    return {k: np.asarray(v).tobytes() for k, v in arrays.items() if not isinstance(v, tuple)}


def begin_anew(*steps: Any) -> None:
    """Undo what is left of a step that failed."""
    for step in steps:
        step.model.load_state_dict(LeNet5(dropout=0.2, seed=0).state_dict())
        for i, (_, layer) in enumerate(step.model.modules()):
            if isinstance(layer, Dropout):
                layer.rng = np.random.default_rng(i)


def gone(pid: int) -> bool:
    """Wait for the end of a process, and say whether it came."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        if text.rpartition(")")[2].split()[0] == "Z" and not is_child(pid):
            return True  # a zombie of another process, which its parent may reap when it likes
        time.sleep(0.01)
    return False


def is_child(pid: int) -> bool:
    return pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


# ------------------------------------------------------------------ the same numbers


def frozen() -> Layer:
    model = LeNet5(dropout=0.2, seed=0)
    for _, layer in model.modules():
        if isinstance(layer, BatchNorm2d):
            layer.eval()
    return model


def distant() -> Layer:
    """A batch norm whose mean is far from zero, and one whose weights are small."""
    model = LeNet5(seed=0)
    norms = [layer for _, layer in model.modules() if isinstance(layer, BatchNorm2d)]
    assert isinstance(norms[1].weight.data, np.ndarray)
    norms[1].weight.data[::2] = 1e-14
    norms[1].bias.data[...] = 3.0
    return Sequential(Conv2d(1, 1, 1, rng=np.random.default_rng(0)), model)


def plain() -> Layer:
    """Without a barrier, with layers that LeNet-5 does not have."""
    rng = np.random.default_rng(0)
    return Sequential(
        Conv2d(1, 4, 3, stride=2, rng=rng),
        ReLU(),
        MaxPool2d(3, stride=2),
        Flatten(),
        Dense(4 * 7 * 7, 10, rng=rng),
    )


def dense() -> Layer:
    rng = np.random.default_rng(0)
    return Sequential(
        AvgPool2d(2),
        Flatten(),
        Dense(256, 40, rng=rng),
        BatchNorm1d(40),
        Tanh(),
        Dropout(0.3, rng=1),
        Dense(40, 10, rng=rng),
    )


MODELS = {
    "lenet5": lambda: LeNet5(dropout=0.2, seed=0),
    "float64": lambda: LeNet5(dropout=0.2, seed=0, dtype=np.float64),
    "frozen": frozen,
    "distant": distant,
    "plain": plain,
    "dense": dense,
}


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("share", [LIKE_THREADS, SIDE_BY_SIDE], ids=["like threads", "evenly"])
@pytest.mark.parametrize("name", MODELS)
def test_processes_give_the_bits_of_threads(
    name: str, share: dict[str, int], workers: int, threads: Callable[[Any], Any]
) -> None:
    one = make_step(MODELS[name](), workers, **share)
    other = threads(make_step(MODELS[name](), workers, **share))
    shift = 1e3 if name == "distant" else 0.0
    batches = [X[:n] + np.float32(shift) for n in (N, 70, N, 101)]
    batches += [X[:, :, ::-1].astype(np.float64), (X * 50).astype(np.uint8)]  # strided, and bytes
    for x in batches:
        assert one(x, Y[: len(x)]) == other(x, Y[: len(x)])
        assert one.correct == other.correct
    assert one.predict(X).tobytes() == other.predict(X).tobytes()
    assert state(one) == state(other)
    used = one.prepare(X.shape[1:]).cutting.capacity.workers
    assert used == workers or not (
        share == SIDE_BY_SIDE or "lenet5" in name
    )  # threads pay from 64 images on
    assert (len(pids(one)), len(pids(other))) == (used - 1, 0)
    assert f"on {used} processes" in one.describe()


@pytest.mark.parametrize("n", [17, 40, 64, N])
def test_steps_that_are_shared_evenly_equal_the_textbook(n: int) -> None:
    model = LeNet5(dropout=0.2, seed=0, dtype=np.float64)
    textbook = TextbookStep(model, CrossEntropyLoss(), Adam(model.parameters()), N, "a test")
    x = X[:n].astype(np.float64)
    value = textbook.gradients(x, Y[:n])
    for workers in (2, 3):
        step = make_step(LeNet5(dropout=0.2, seed=0, dtype=np.float64), workers)
        assert np.isclose(step.gradients(x, Y[:n]), value, rtol=1e-12)
        for ours, theirs in zip(step.model.parameters(), model.parameters(), strict=True):
            bound = 1e-11 * np.abs(theirs.grad).max()  # sums of float64 in another order
            np.testing.assert_allclose(ours.grad, theirs.grad, rtol=0, atol=bound)


def change_settings(step: Any, number: int) -> None:
    """Do between two steps what a program may do."""
    norm, dropout = step.model.features[1], step.model.classifier[3]
    assert isinstance(norm, BatchNorm2d)
    assert isinstance(dropout, Dropout)
    match number:
        case 0:
            step.optimizer.lr = 0.01
        case 1:
            state = step.model.state_dict()
            step.model.load_state_dict({k: v * 0.5 if v.ndim else v for k, v in state.items()})
        case 2:
            dropout.p = 0.5
        case 3:
            norm.eval()
        case 4:
            norm.train()
            norm.momentum = 0.3
        case 5:
            step.loss.label_smoothing = 0.1
        case 6:
            dropout.rng = np.random.default_rng(7)
        case 7:
            step.model.classifier[1].requires_grad_(False)
        case 8:
            step.model.features[0].weight.data[...] = 0.0


def test_what_a_program_changes_between_steps_counts(threads: Callable[[Any], Any]) -> None:
    one, other = make_step(), threads(make_step())
    for number in range(9):
        for step in (one, other):
            change_settings(step, number)
        losses = [one(X, Y), one(X[:90], Y[:90])]
        assert losses == [other(X, Y), other(X[:90], Y[:90])], number
        assert one.predict(X).tobytes() == other.predict(X).tobytes()
    assert state(one) == state(other)
    assert len(pids(one)) == 1


def run_of(kinds: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Train for an epoch with each kind of workers in turn, each in a run that resumes."""
    images = np.random.default_rng(0).integers(0, 256, (400, 1, 32, 32), np.uint8)
    labels = np.random.default_rng(1).integers(0, 10, 400)
    resume = None
    for epoch, kind in enumerate(kinds, start=1):
        monkeypatch.setenv("NPLENET_WORKERS", kind)
        model = LeNet5(dropout=0.2, seed=0)
        loss, optimizer = CrossEntropyLoss(), AdamW(model.parameters())
        tunables = {"threads": 2, **SIDE_BY_SIDE}
        step = compile(model, loss, optimizer, 100, tunables=tunables)
        loader = DataLoader(
            images,
            labels,
            100,
            shuffle=True,
            rng=2,
            transform=standard_augmentation(),
            transform_rng=3,
        )
        checkpoints = CheckpointFolder(folder)
        fit(
            model,
            loss,
            optimizer,
            loader,
            epochs=epoch,
            step=step,
            validation=(images[:120], labels[:120]),
            checkpoints=checkpoints,
            resume=resume,
            progress=False,
        )
        assert f"on 2 {kind}" in step.describe()
        resume = load(checkpoints.latest)
    return state(step)


def test_a_run_resumes_with_the_other_kind_of_workers_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [["threads"] * 3, ["processes", "threads", "processes"]]
    one, other = (run_of(own, tmp_path / str(i), monkeypatch) for i, own in enumerate(kinds))
    assert one == other


def test_new_processes_know_the_images_of_each_epoch(tmp_path: Path) -> None:
    """The augmented images of an epoch are made in the processes, of what they were forked with."""
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 32, 32), np.uint8)
    loader = DataLoader(
        images, Y[:100].repeat(2), 100, transform=standard_augmentation(), transform_rng=3
    ).in_bytes(np.float32)
    one, other, seen = make_step(), make_step(workers=1), []
    other = make_step(workers=2)
    for _ in range(3):
        for x, y in loader:
            assert one.gradients(x, y) == other.gradients(x[:], y)
            seen += pids(one)
    assert seen[0::2] == seen[1::2]
    assert len(set(seen)) == 3


# ------------------------------------------------------------------ errors


def test_a_worker_killed_within_a_step_ends_it_with_an_error_that_names_it() -> None:
    step, twin = make_step(), make_step()
    step(X, Y), twin(X, Y)
    (pid,) = pids(step)
    os.kill(pid, signal.SIGSTOP)  # so it is killed while it is waited for
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(
        WorkerDied, match=rf"worker process {pid} was ended by signal 9 .*step is not"
    ):
        step.gradients(X, Y)
    assert gone(pid)
    begin_anew(step, twin)
    assert step(X, Y) == twin(X, Y)
    assert pids(step) not in ([], [pid])


def test_a_worker_killed_between_two_steps_is_replaced() -> None:
    step, twin = make_step(workers=3), make_step(workers=3)
    for killed in range(2):
        assert step(X, Y) == twin(X, Y)
        before = pids(step)
        os.kill(before[killed], signal.SIGKILL)
        assert gone_or_zombie(before[killed])
    assert step(X, Y) == twin(X, Y)
    assert state(step) == state(twin)
    assert all(map(gone, before))


def gone_or_zombie(pid: int) -> bool:
    for _ in range(500):
        if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2][1] == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("image", [0, N - 1])
def test_an_error_of_any_worker_is_raised_and_the_next_step_runs(image: int) -> None:
    step, twin = make_step(), make_step()
    bad = X.copy()
    bad[image] = 3e38
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        step.gradients(bad, Y)
    assert pids(step) == []
    begin_anew(step, twin)
    assert step.gradients(X, Y) == twin.gradients(X, Y)


def test_a_warning_in_a_process_is_one_of_the_program() -> None:
    step = make_step()
    bad = X.copy()
    bad[-1] = 3e38
    with np.errstate(over="warn", invalid="warn"):
        with pytest.warns(RuntimeWarning):
            step.predict(bad)
        step.predict(X)
    with np.errstate(all="ignore"):
        step.predict(bad)


def test_bad_input_is_refused_before_any_process_works() -> None:
    step = make_step()
    step(X, Y)
    before = pids(step)
    with pytest.raises(ValueError, match="label"):
        step(X, Y + 10)
    with pytest.raises(TypeError, match="float32"):
        step(X.astype(np.complex64), Y)
    step(X, Y)
    assert pids(step) == before


# ------------------------------------------------------------------ what is left behind: nothing


def test_the_processes_end_with_the_step_and_leave_no_zombie() -> None:
    step = make_step(workers=3)
    step(X, Y)
    step.predict(X)
    own = pids(step) + list(step._inference.crew._pids)
    assert len(own) == 4
    del step
    gc.collect()
    assert all(map(gone, own))
    assert not any(map(is_child, own))


def test_a_new_plan_ends_the_processes_of_the_last() -> None:
    step = make_step()
    step(X, Y)
    before = pids(step)
    step.loss.label_smoothing = 0.1
    step(X, Y)
    gc.collect()
    assert all(map(gone, before))
    assert len(pids(step)) == 1


def test_no_more_than_some_plans_have_processes_at_once() -> None:
    steps = [make_step(plain()) for _ in range(MAX_CREWS + 1)]  # the same each
    losses = [float(step(X, Y)) for step in steps]
    assert losses == losses[:1] * len(steps)
    assert [len(pids(step)) for step in steps] == [1] * MAX_CREWS + [0]
    assert f"{MAX_CREWS} other plans have processes" in steps[-1].describe()
    steps.pop(0)
    gc.collect()
    steps[-1](X, Y)
    assert len(pids(steps[-1])) == 1


def test_a_process_sleeps_between_steps_holds_no_file_and_leaves_signals_to_its_parent() -> None:
    step, twin = make_step(), make_step()
    assert step(X, Y) == twin(X, Y)
    (pid,) = pids(step)
    assert list(Path(f"/proc/{pid}/fd").iterdir()) == []
    assert Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") == "nplenet-worker\n"
    time.sleep(0.1)
    before = ticks(pid)
    time.sleep(0.5)
    assert ticks(pid) == before
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert step(X, Y) == twin(X, Y)
    assert pids(step) == [pid]


def ticks(pid: int) -> int:
    """Return the processor time of a process, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


PROGRAM = """
import os, signal, sys, time
import numpy as np
import nplenet
from nplenet.compiled.cpu.search import SIDE_BY_SIDE
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
def make_step(batch=64):
    model = nplenet.models.LeNet5(dropout=0.0, seed=0)
    optimizer = nplenet.optim.Adam(model.parameters())
    loss = nplenet.losses.CrossEntropyLoss()
    tunables = {"threads": 2, **SIDE_BY_SIDE}
    return nplenet.compile(model, loss, optimizer, batch, tunables=tunables)
def helpers():
    path = f"/proc/self/task/{os.getpid()}/children"
    return [int(pid) for pid in open(path).read().split()]
x = np.random.default_rng(0).random((64, 1, 32, 32), np.float32)
y = np.arange(64) % 10
step = make_step()
step(x, y)
"""


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_program_outlives_its_test() -> Iterator[None]:
    yield
    for process in STARTED:
        process.kill()
        process.communicate()
    STARTED.clear()


def start(program: str, **more: Any) -> subprocess.Popen[str]:
    """Start a program of its own, without other threads."""
    if not has_lock():
        pytest.skip("on a Python without the lock, threads share a step")
    environment = {k: v for k, v in os.environ.items() if k != "NPLENET_WORKERS"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
        **more,
    )
    STARTED.append(process)
    return process


def output(program: str) -> str:
    process = start(program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


@pytest.mark.parametrize("moment", ["in a step", "asleep"])
def test_kill_9_of_the_program_leaves_no_process_and_no_file(moment: str) -> None:
    process = start(
        f"""
        print(*helpers(), flush=True)
        while {moment == "in a step"}:
            step(x, y)
        time.sleep(60)
        """
    )
    assert process.stdout is not None
    own = [int(pid) for pid in process.stdout.readline().split()]
    time.sleep(0.2)
    memory = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    process.kill()
    process.communicate()
    assert len(own) == 1
    assert all(map(gone, own))
    assert "/dev/zero (deleted)" in memory  # shared memory without a name, so nothing to leave
    assert "/dev/shm" not in memory


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_the_program_ends_it_as_one_process(number: int) -> None:
    process = start(
        """
        print(*helpers(), flush=True)
        while True:
            step(x, y)
        """,
        start_new_session=True,
    )
    assert process.stdout is not None
    own = [int(pid) for pid in process.stdout.readline().split()]
    time.sleep(0.2)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -number
    assert err == "" or err.rstrip().endswith("KeyboardInterrupt")
    assert len(own) == 1
    assert all(map(gone, own))


def test_control_c_within_a_step_may_be_caught_and_the_program_goes_on() -> None:
    out = output(
        """
        twin, caught = make_step(), 0
        for delay in (0.001, 0.003, 0.01, 0.03):
            signal.setitimer(signal.ITIMER_REAL, delay)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            try:
                while True:
                    step.gradients(x, y)
            except KeyboardInterrupt:
                caught += 1
        for each in (step, twin):
            each.model.load_state_dict(nplenet.models.LeNet5(seed=0).state_dict())
        print(caught, step.gradients(x, y) == twin.gradients(x, y), len(helpers()))
        """
    )
    assert out.split() == ["4", "True", "2"]


def test_a_program_ends_by_itself_and_its_processes_with_it() -> None:
    own = [int(pid) for pid in output("print(*helpers())").split()]
    assert len(own) == 1
    assert all(map(gone, own))


def test_a_process_that_the_program_forks_has_memory_and_helpers_of_its_own() -> None:
    out = output(
        """
        twin = make_step()
        twin(x, y)
        reader, writer = os.pipe()
        pid = os.fork()
        losses = [float(step(x, y)) for _ in range(20)]
        total = float(step.predict(x).sum())
        if pid == 0:
            with open(writer, "w") as file:
                print(losses, total, len(helpers()), file=file)
            del step
            os._exit(0)
        os.close(writer)
        child = open(reader).read()
        os.waitpid(pid, 0)
        os.environ["NPLENET_WORKERS"] = "threads"
        twin = make_step()
        twin(x, y)
        expected = [float(twin(x, y)) for _ in range(20)]
        print(losses == expected, child.split() == f"{losses} {total} 2".split())
        step(x, y)
        print(len(helpers()))
        """
    )
    assert out.split() == ["True", "True", "2"]


def test_a_program_that_waits_for_all_its_children_goes_on() -> None:
    out = output(
        """
        (pid,) = helpers()
        os.kill(pid, signal.SIGKILL)
        print(os.wait()[0] == pid, bool(np.isfinite(step(x, y))), helpers() != [pid])
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.kill(helpers()[0], signal.SIGKILL)
        time.sleep(0.2)
        print(bool(np.isfinite(step(x, y))), len(helpers()))
        del step
        print(helpers())
        """
    )
    assert out.split() == ["True", "True", "True", "True", "1", "[]"]


# ------------------------------------------------------------------ threads in their place


def test_a_program_with_other_threads_has_threads_until_they_end() -> None:
    out = output(
        """
        import threading
        step.loss.label_smoothing = 0.1  # a new plan
        end = threading.Event()
        thread = threading.Thread(target=end.wait, name="my-thread")
        thread.start()
        step(x, y)
        print(step.describe().splitlines()[1])
        end.set()
        thread.join()
        step(x, y)
        print(step.describe().splitlines()[1])
        """
    )
    one, other = out.splitlines()
    assert "on 2 threads (other threads run in this program: my-thread)" in one
    assert "on 2 processes" in other


def test_processes_at_hand_serve_other_threads_too() -> None:
    out = output(
        """
        import threading
        expected, found = step.predict(x).tobytes(), []
        threads = [threading.Thread(target=lambda: found.append(step.predict(x))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print([each.tobytes() == expected for each in found] == [True] * 4, len(helpers()))
        """
    )
    assert out.split() == ["True", "2"]


def test_a_progress_bar_is_no_thread_that_counts() -> None:
    out = output(
        """
        from tqdm import tqdm
        step.loss.label_smoothing = 0.1
        for _ in tqdm(range(2), file=open(os.devnull, "w")):
            step(x, y)
        print("on 2 processes" in step.describe())
        """
    )
    assert out.split() == ["True"]


def test_a_layer_of_ones_own_has_its_state_in_one_process_so_threads_share_the_step() -> None:
    rng = np.random.default_rng(0)
    model = Sequential(
        Conv2d(1, 2, 5, rng=rng), GELU(), AvgPool2d(2), Flatten(), Dense(2 * 14 * 14, 10, rng=rng)
    )
    step = make_step(model)
    step(X, Y)
    assert "on 2 threads (a layer without lanes" in step.describe()
    assert pids(step) == []


def test_what_the_system_refuses_is_not_asked_for_in_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, twin, asked = make_step(), make_step(), []

    def refuse() -> int:
        asked.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        losses = [step(X, Y) for _ in range(5)]
    assert losses == [twin(X, Y) for _ in range(5)]
    assert len(asked) == 3
    assert "threads (a process cannot be started: [Errno 11]" in step.describe()


def test_a_step_is_not_copied_with_its_processes() -> None:
    step = make_step()
    step(X, Y)
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="can't be deep-copied or pickled"):
            copied(step)


@WITH_A_LOCK
def test_what_is_tuned_suits_the_kind_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {}
    for kind in ("processes", "threads"):
        monkeypatch.setenv("NPLENET_WORKERS", kind)
        kinds[kind] = default().head_start, machine()["workers"]
    assert kinds == {"processes": (0, "processes"), "threads": (4, "threads")}


@WITH_A_LOCK
def test_what_is_tuned_beside_other_threads_suits_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPLENET_WORKERS")
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    try:
        assert (default().head_start, machine()["workers"]) == (4, "threads")
    finally:
        ended.set()
        other.join()


def test_another_kind_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPLENET_WORKERS", "fibres")
    with pytest.raises(ValueError, match="NPLENET_WORKERS is 'fibres', expected 'processes' or"):
        make_step()(X, Y)
