"""Of the processes that share a step nothing is left behind, however it ends."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

import pytest

from nplenet.compiled.cpu.workers import MAX_CREWS

from .crews import ON_LINUX, X, Y, gone, is_child, make_step, output, pids, plain, start

pytestmark = [ON_LINUX, pytest.mark.usefixtures("processes")]


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
