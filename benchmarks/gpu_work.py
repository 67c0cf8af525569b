"""The work of gpu.py's processes: each job yields its results, one dict after the other.

A job is given as a dict: its name, ``simulated``, and the arguments of its function below. What
fails within a job is yielded as {"error": ...}, so that the other batch sizes are still measured.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Job = dict[str, Any]

STEPS = 50  # per measurement: a whole ``lax.scan``, and 2 ms on the fastest card seen
WARM_UP, MEASURED = 0.5, 1.0  # seconds; a card that was idle needs a while to reach its clock
LEAST, MOST = 5, 200  # measurements
CHECKED_STEPS = 5
# Adam divides a gradient by its size. With the usual 1e-8, one that is rounding noise would make
# a whole step into any direction, and two right systems would differ after two steps.
CHECKED_EPS = 1e-3


def maker(system: str) -> Callable[[Any], Any]:
    """Return the function that makes the ``gpu_case.System`` of this name for a ``Case``."""
    if system in ("compiled", "textbook", "numpy"):
        return partial(import_module("gpu_nplenet").NplenetSteps, kind=system)
    if system in ("torch eager", "torch graph"):
        return partial(import_module("gpu_torch").TorchSteps, graph=system == "torch graph")
    return import_module("gpu_jax").JaxSteps


def steps(
    system: str, check: list[int], batches: list[int], device: str, fit_images: int, scale: float
) -> Iterator[Job]:
    """Check a system, then time its steps."""
    from gpu_case import Case

    try:
        make = maker(system)
    except ImportError as error:
        yield {"note": f"not available: {error}"}
        return
    for batch in check:
        yield from guarded({"checked": batch}, lambda n=batch: compare(system, n, device))
    if system == "compiled" and batches and (why := why_not(Case(batches[0]))):
        yield {"note": why}
        return
    for batch in batches:
        case = Case(batch, device=device)
        yield from guarded({"batch": batch}, lambda case=case: timed(make(case), scale))
        if system == "compiled":
            yield from guarded({"batch": batch, "fit": True}, lambda c=case: fitted(c, fit_images))


def guarded(facts: Job, measure: Any) -> Iterator[Job]:
    """Yield the facts with what ``measure`` returns, or with its error."""
    try:
        yield facts | measure()
    except Exception as error:
        traceback.print_exc()
        yield facts | {"error": last_line(error)}


def last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip().splitlines()[-1]


def why_not(case: Any) -> str:
    """Return why this GPU does not run the compiled step, or ""."""
    step = maker("compiled")(case).step
    return "" if step.compiled else f"not compiled: {step.describe()}"


def timed(system: Any, scale: float) -> Job:
    """Return the microseconds per step, with the wait at the end of every ``STEPS`` steps."""
    ready = time.perf_counter() + WARM_UP * scale
    for k in range(MOST):
        system.steps(STEPS)
        system.wait()
        if k > 0 and time.perf_counter() >= ready:
            break
    whole: list[float] = []
    host: list[float] = []
    end = time.perf_counter() + MEASURED * scale
    while len(whole) < LEAST or (time.perf_counter() < end and len(whole) < MOST):
        begin = time.perf_counter()
        system.steps(STEPS)
        host.append(time.perf_counter() - begin)
        system.wait()
        whole.append(time.perf_counter() - begin)
    step = getattr(system, "step", None)
    return {
        "us": statistics.median(whole) / STEPS * 1e6,
        "least_us": min(whole) / STEPS * 1e6,
        "host_us": statistics.median(host) / STEPS * 1e6,
        "measurements": len(whole),
        "about": system.about,
        **({} if step is None else {"compiled": step.compiled}),
    }


def fitted(case: Any, images: int) -> Job:
    """Return the microseconds per step of the training loop, on the fixed batch."""
    # Enough steps to spread what an epoch costs, whatever its steps, but no more than 0.4 GB.
    count = max(images // case.batch, min(200, 400_000 // case.batch)) * case.batch
    return import_module("gpu_nplenet").epochs(case, count, 8, augmented=False)


def compare(system: str, batch: int, device: str) -> Job:
    """Return how far a system's numbers are from those of the layers in float64, over 5 steps.

    nplenet's systems draw the same dropout masks; the others are compared without dropout. An error
    is relative to the largest number of its array: of losses and of the state the largest in any
    step, of gradients that of the first and of the last step.
    """
    from gpu_case import Case

    own_masks = system.startswith(("torch", "jax"))
    case = Case(batch, 0.0 if own_masks else 0.1, device, eps=CHECKED_EPS)
    tested, truth = maker(system)(case), maker("numpy")(case)
    losses, states, gradients = [], [], []
    for k in range(1, CHECKED_STEPS + 1):
        read = k in (1, CHECKED_STEPS)
        for each in (tested, truth):
            if read and hasattr(each, "step_in_two"):
                each.step_in_two()  # a single call may not leave the gradients behind
            else:
                each.steps(1)
        (loss, gradient, state), right = tested.last(), truth.last()
        losses.append(relative_error(loss, right[0]))
        states.append(largest_error(state, right[2]))
        if read:
            gradients.append(largest_error(gradient, right[1]))
    step = getattr(tested, "step", None)
    return {
        "about": tested.about,
        "errors": [max(losses), *(error for error, _ in gradients), max(states)[0]],
        "worst": [name for _, name in (*gradients, max(states))],
        **({} if step is None else {"compiled": step.compiled}),
    }


def largest_error(values: dict[str, Any], right: dict[str, Any]) -> tuple[float, str]:
    """Return the largest relative error of the arrays of floats, and the name of its array."""
    floats = [name for name, a in right.items() if a.dtype.kind == "f"]
    return max((relative_error(values[name], right[name]), name) for name in floats)


def relative_error(a: Any, b: Any) -> float:
    """Return max|a - b| / max|b|, infinite where ``a`` is not finite or has another shape."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def epoch(batches: list[int], images: int, count: int) -> Iterator[Job]:
    """Time epochs of the training loop with loading and augmentation."""
    from gpu_case import Case

    measure = import_module("gpu_nplenet").epochs
    compiled = not why_not(Case(batches[0]))
    for batch in batches:
        facts = {"batch": batch, "compiled": compiled}
        yield from guarded(facts, lambda n=batch: measure(Case(n), images, count, augmented=True))


def kernels(batches: list[int], times: int) -> Iterator[Job]:
    """List the kernels of the compiled step, each launched ``times`` times in a graph."""
    from gpu_case import Case

    measure = import_module("gpu_nplenet").kernels
    for batch in batches:
        yield from guarded({"batch": batch}, lambda n=batch: {"kernels": measure(Case(n), times)})


def goal(seeds: int, recipe: Job, data: Job) -> Iterator[Job]:
    """Train from several seeds until the test accuracy reaches the goal."""
    from nplenet.data import MissingDataError

    try:
        yield from import_module("gpu_nplenet").to_goal(seeds, recipe, data)
    except MissingDataError as error:
        yield {"note": str(error)}


def card() -> Iterator[Job]:
    """Describe the card."""
    yield import_module("gpu_card").describe()


JOBS = {f.__name__: f for f in (steps, epoch, kernels, goal, card)}


def work(job: Job) -> int:
    """Run as a process of its own: do a job, and write a line of JSON for each of its results.

    Only these lines reach the standard output: what a library prints there goes to the errors.
    """
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    name = job.pop("job")
    if job.pop("simulated"):
        sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
        import_module("gpusim").install(force=True)  # before CuPy is imported
    for result in JOBS[name](**job):
        print(json.dumps(result), file=results, flush=True)
    return 0
