"""Who does a step: processes that share memory where they can, threads elsewhere.

    one worker                              this thread
    Linux, Python with its lock             processes, which compute side by side at every moment
    other systems, Python without a lock    threads
    a layer without lanes, several ranks    threads: these have state in this process
    other threads run in the program        threads: one of them may hold a lock while a process is
                                            forked, in which that lock would never be free again

The numbers are the same, bit for bit, so this may change from step to step.
``NPLENET_WORKERS=threads`` never forks; ``NPLENET_WORKERS=processes`` also forks beside threads.
"""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
from tqdm import TMonitor

from .kinds import has_lock, wanted, why_threads
from .prepared import Prepared
from .processes import Crew
from .program import Images, Program
from .threads import Helper, Threads

MAX_CREWS = 8  # plans per program that have processes; these sleep between steps
MAX_REFUSALS = 3  # of the system, one after the other; then it is not asked again
SLEEPING_THREADS = (Helper, TMonitor)  # hold no lock while another thread trains
_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


class Workers:
    """Runs the programs of a compiled step."""

    def __init__(self) -> None:
        self._threads = Threads()

    def run(self, prepared: Prepared, program: Program, x: Images) -> None:
        """Do a step up to the end of its last stage.

        Raises
        ------
        BaseException
            What a worker has raised.
        """
        crew = crew_for(prepared, x) if program.workers > 1 else None
        if crew is not None:
            crew.run(program, x)
        else:
            self._threads.run(program, x)


def crew_for(prepared: Prepared, x: Images) -> Crew | None:
    """Return helper processes that can do a step on these images; None where threads do it."""
    if not prepared.memory.shared or prepared.refusals == MAX_REFUSALS:
        return None
    source = getattr(x, "source", None)
    if prepared.crew is not None and prepared.crew.can_do(source):
        return prepared.crew
    prepared.crew = None
    prepared.why_threads = why_not_now(x)
    if not prepared.why_threads:
        try:
            prepared.crew = Crew(prepared, prepared.cutting.capacity.workers - 1, source)
            _crews.add(prepared.crew)
            prepared.refusals = 0
        except (OSError, RuntimeError) as error:
            prepared.why_threads = f"a process cannot be started: {error}"
            prepared.refusals += 1
    return prepared.crew


def why_not_now(x: Images) -> str:
    """Return why no process can be forked at this moment; an empty string if one can."""
    if not isinstance(x, np.ndarray) and getattr(x, "source", None) is None:
        return "the images are made by an object of your own"
    why = why_no_fork()
    if why:
        return why
    if crews_alive() >= MAX_CREWS:
        gc.collect()  # a step that is gone may be in a cycle
        if crews_alive() >= MAX_CREWS:
            return f"{MAX_CREWS} other plans have processes"
    return ""


def kind_now() -> str:
    """Return what would share a step of this thread.

    "processes" and "threads without a lock" compute side by side at every moment, "threads" not.
    """
    if not (why_threads() or why_no_fork()):
        return "processes"
    return "threads" if has_lock() else "threads without a lock"


def why_no_fork() -> str:
    """Return why this thread must not fork; an empty string if it may."""
    if threading.current_thread() is not threading.main_thread():
        return "it is not the main thread that calls"  # whose end would end the processes
    others = set(threading.enumerate()) - {threading.current_thread()}
    busy = [thread.name for thread in others if not isinstance(thread, SLEEPING_THREADS)]
    if busy and wanted() != "processes":
        return f"other threads run in this program: {', '.join(sorted(busy)[:3])}"
    return ""


def crews_alive() -> int:
    """Return how many plans of this process have processes."""
    return sum(crew.alive for crew in _crews)
