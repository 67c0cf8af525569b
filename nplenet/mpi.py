"""Groups of several processes: sums by MPI, or by NCCL between GPUs.

MPI is used through mpi4py, which is imported only for more than one rank. If one rank fails, all
ranks stop.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import shutil
import stat
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .backend import Array, Backend, BackendError, backend_of
from .group import ALONE, Group, T
from .machine import usable_cores
from .names import answer_wrong_names

__all__ = ["MpiGroup", "Nccl", "join", "launch"]
answer_wrong_names(__name__)

INSTALL = "install it with `pip install 'nplenet[mpi]'`"

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
"""Environment variables in which mpiexec and srun give the number of processes."""

TICK = 0.5  # seconds between two checks of the watchdog

SECONDS = 20.0
"""Seconds that a rank may take between two sums. A rank that hangs reports itself if it can; the
others wait a little longer, then stop the run."""

MAX_RANKS_PER_CORE = 16
"""A rank takes some 50 MB. More ranks than cores only make sense in a test."""

STAGGER = 8  # ticks; rank N delays the report of an error by N ticks, at most by this many


class MpiGroup(Group):
    """The ranks of an MPI communicator, each bound to cores of its own.

    As a context manager it stops all ranks if one fails with an exception. From the first training
    step a watchdog also stops all ranks if one hangs.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm
    seconds : float
        The longest time between two sums; saving a checkpoint counts too.
    """

    def __init__(self, communicator: Any, seconds: float = SECONDS) -> None:
        from mpi4py import MPI

        self.communicator = communicator
        self.rank, self.size = communicator.rank, communicator.size
        self.here = communicator.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks of this machine
        self.seconds = seconds
        self._in_place, self._max = MPI.IN_PLACE, MPI.MAX
        self._counts = np.zeros(self.size, np.int64)
        self._counting: Any = None  # a pending request of MPI
        self._lock = threading.Lock()
        self._start = self._total = 0
        self._nccl: Any = None
        self._spent, self._waiting, self._watched = 0.0, False, False
        self._left = threading.Event()
        _take_cores(self.here)

    # ------------------------------------------------------------------ a step

    def begin(self, images: int) -> None:
        """Send the number of this rank's images; ``start`` and ``total`` wait for the others'.

        Meanwhile the first layers are computed.
        """
        self._watched = True
        self._finish_counting()
        self._counts[self.rank] = images
        self._counting = self.communicator.Iallgather(self._in_place, self._counts)

    def _finish_counting(self) -> None:
        """Wait for the numbers; several threads of a step may call this at the same time."""
        with self._lock:
            if self._counting is None:
                return
            with self._in_mpi():
                self._counting.Wait()
            self._counting = None
            counts = self._counts.tolist()
            self._start, self._total = sum(counts[: self.rank]), sum(counts)

    @property
    def start(self) -> int:  # type: ignore[override]  # the same, computed
        self._finish_counting()
        return self._start

    def total(self, images: int) -> int:
        self._finish_counting()
        return self._total

    @property
    def sums_on_device(self) -> bool:  # type: ignore[override]  # the same, computed
        return self._nccl is not None

    def sum(self, array: Array) -> Array:
        if self._nccl is not None and backend_of(array).name != "numpy":
            self._spent = 0.0  # this rank has reached its sum, for which the device will wait
            return self._nccl.sum(array)
        host = backend_of(array).to_numpy(array)
        with self._in_mpi():
            self.communicator.Allreduce(self._in_place, host)
        if host is not array:
            array[...] = backend_of(array).asarray(host)
        return array

    def largest(self, *values: int) -> list[int]:
        numbers = np.array(values, np.int64)
        with self._in_mpi():
            self.communicator.Allreduce(self._in_place, numbers, self._max)
        return numbers.tolist()

    def broadcast(self, value: T) -> T:
        with self._in_mpi():
            return self.communicator.bcast(value)

    def gather(self, value: T) -> list[T]:
        with self._in_mpi():
            return self.communicator.allgather(value)

    def take_device(self, backend: Backend) -> None:
        if backend.name == "numpy":
            return
        gpu: Any = backend
        cuda, nccl = gpu.xp.cuda, gpu.nccl()
        devices = cuda.runtime.getDeviceCount()
        cuda.Device(self.here.rank % devices).use()
        if all(self.gather(self.here.size <= devices and nccl is not None)):
            self._nccl = Nccl(cuda, nccl, self)

    # ------------------------------------------------------------------ failures

    def part_ways(self) -> None:
        self._left.set()

    def __enter__(self) -> Group:
        threading.Thread(target=self._watch, name="nplenet-watchdog", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.part_ways()
        if kind is not None:
            # If all ranks have the same error, rank 0 reports it and stops the others.
            time.sleep(TICK * min(self.rank, STAGGER))
            atexit.register(self._abort, 130 if kind is KeyboardInterrupt else 2)

    def _abort(self, status: int) -> None:
        _exit_soon()
        _hand_over("")
        self.communicator.Abort(status)

    @contextmanager
    def _in_mpi(self) -> Iterator[None]:
        """Mark for the watchdog when this rank waits for others, and restart its clock."""
        self._spent, self._waiting = 0.0, True
        yield
        self._spent, self._waiting = 0.0, False

    def _watch(self) -> None:
        """Count the time since the last sum, except while the process itself was suspended."""
        stagger = TICK * min(self.rank, STAGGER)
        while not self._left.wait(TICK):
            self._spent += TICK
            limit = self.seconds + (stagger + 2.0 if self._waiting else 0.0)
            if self._watched and self._spent > limit:
                self._give_up()

    def _give_up(self) -> NoReturn:
        """End this process, whatever its main thread does; mpiexec then ends the other ranks."""
        if self._waiting:
            text = (
                f"rank {self.rank} has waited {self._spent:.0f} s for the others: one of them "
                "hangs, or its machine is down"
            )
        else:
            frame = sys._current_frames()[threading.main_thread().ident or 0]
            text = (
                f"rank {self.rank} has not reached the next sum for {self._spent:.0f} s; "
                f"it hangs here:\n{''.join(traceback.format_stack(frame))}"
            )
        _exit_soon()
        _hand_over(f"nplenet: {text}\n")
        self.communicator.Abort(1)  # reaches ranks on other machines
        os._exit(1)


def _exit_soon() -> None:
    """End this process in 2 s, also if MPI does not return or does not release Python's lock."""
    silence = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  used until the end
    faulthandler.dump_traceback_later(2.0, file=silence, exit=True)


def _hand_over(text: str) -> None:
    """Write ``text`` to standard error, and wait at most 1 s for mpiexec to take all output.

    An abort overtakes what is still in the pipes, and mpiexec then drops it.
    """
    with suppress(OSError):  # mpiexec is gone, and its pipe is broken
        sys.stderr.write(text)
        sys.stdout.flush()
        sys.stderr.flush()
    deadline = time.monotonic() + 1.0
    while any(map(_holds_output, (1, 2))) and time.monotonic() < deadline:
        time.sleep(TICK / 100)
    time.sleep(TICK / 4)  # to pass it on


def _holds_output(descriptor: int) -> bool:
    """Tell whether this is a pipe from which the reader has not taken everything (Linux)."""
    if sys.platform != "linux":
        return False
    import fcntl
    import termios

    size = bytearray(4)
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            fcntl.ioctl(descriptor, termios.FIONREAD, size)
    return any(size)


class Nccl:
    """Sums between GPUs that bypass the host, enqueued on the stream of the kernels around them.

    A CUDA graph records them like kernels. Then all ranks must record and launch the same graphs in
    the same order (NCCL's guide, "Using NCCL with CUDA Graphs"). Verified by simulation only: it
    needs two GPUs.

    Parameters
    ----------
    cuda, nccl : module
        Of CuPy.
    group : Group
        Its ranks, each with a current device of its own.
    """

    def __init__(self, cuda: Any, nccl: Any, group: Group) -> None:
        self._stream = cuda.get_current_stream
        self._types = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        self._sum = nccl.NCCL_SUM
        name = group.broadcast(nccl.get_unique_id())
        self._communicator = nccl.NcclCommunicator(group.size, name, group.rank)

    def sum(self, array: Array) -> Array:
        """Sum as ``Group.sum`` does; ``array`` is contiguous, on this rank's GPU."""
        place, kind = array.data.ptr, self._types[array.dtype.name]
        stream = self._stream().ptr
        self._communicator.allReduce(place, place, array.size, kind, self._sum, stream)
        return array


def _take_cores(here: Any) -> None:
    """Bind a rank to its share of the cores; otherwise two may run on the same core.

    A binding by mpiexec is kept. If there are more ranks than cores, ranks share cores.
    """
    if sys.platform != "linux":
        return
    cores = sorted(os.sched_getaffinity(0))
    if here.allgather(cores).count(cores) == here.size:
        first, last = (len(cores) * rank // here.size for rank in (here.rank, here.rank + 1))
        os.sched_setaffinity(0, cores[first : max(last, first + 1)])


# ------------------------------------------------------------------ joining and starting a group


def join() -> Group:
    """Return the group in which mpiexec or srun started this process; otherwise a group of one.

    Raises
    ------
    BackendError
        When mpi4py is missing, or belongs to another MPI than the mpiexec of this process.
    """
    started = max(int(os.environ.get(name, "1")) for name in SIZES)
    if started == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise BackendError(
            f"mpiexec started {started} processes, which need mpi4py to communicate ({error}); "
            f"{INSTALL}"
        ) from error
    if started != MPI.COMM_WORLD.size:
        raise BackendError(
            f"mpiexec started {started} processes, but mpi4py, which is built on "
            f"{MPI.Get_library_version().splitlines()[0]}, sees {MPI.COMM_WORLD.size}: use the "
            "mpiexec of that MPI"
        )
    return MpiGroup(MPI.COMM_WORLD)


def launch(ranks: int, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by mpiexec, which runs ``python -m nplenet`` on N ``ranks``.

    Raises
    ------
    BackendError
        When mpi4py or mpiexec is missing.
    ValueError
        When the ranks are more than ``MAX_RANKS_PER_CORE`` on each core of this machine.
    """
    limit = MAX_RANKS_PER_CORE * usable_cores()
    if ranks > limit:
        raise ValueError(
            f"--ranks {ranks} is too many for the {usable_cores()} cores of this machine: at most "
            f"{limit}; to use several machines, start the ranks with mpiexec"
        )
    beside = Path(sys.executable).with_name("mpiexec")  # where pip puts it
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if find_spec("mpi4py") is None or mpiexec is None:
        missing = "mpiexec" if find_spec("mpi4py") else "mpi4py"
        raise BackendError(f"several ranks need MPI, and {missing} is missing; {INSTALL}")
    sys.stdout.flush()
    os.execv(mpiexec, [mpiexec, "-n", str(ranks), sys.executable, "-m", "nplenet", *arguments])
