"""The tables of gpu.py: plain text from what the processes wrote. Nothing is measured here."""

from __future__ import annotations

import re
import statistics
from typing import Any

Record = dict[str, Any]  # of a process: results, error, seconds
Records = dict[str, Record]

# Relative to the largest number of an array. nplenet: float32 after some hundred roundings. The
# others may choose products with more rounding (Winograd's, FFT); TF32 would be off by 1e-3.
TOLERANCE, FOR_OTHERS = 2e-5, 1e-4
OURS = ("compiled", "textbook")
CALLS, LOOP = "compiled, call by call", "compiled"


def results(records: Records) -> list[Record]:
    return [result for record in records.values() for result in record["results"]]


def notes(records: Records) -> list[str]:
    """Return what each process failed in, or has to say, in all or with one batch size."""
    found = []
    for name, record in records.items():
        for result in record["results"]:
            batch = result.get("batch", result.get("checked", ""))
            said = [result[key] for key in ("error", "note") if key in result]
            found += [f"  {name} {batch}".rstrip() + f": {text}" for text in said]
        if record["error"]:
            found.append(f"  {name}: {record['error']}")
    return found


def allowed(system: str) -> float:
    """Return the largest error that a system may have."""
    return TOLERANCE if system in OURS else FOR_OTHERS


def wrong(records: Records) -> bool:
    """Say whether a step of nplenet computed something else than its layers in float64."""
    return any(
        not error <= TOLERANCE
        for name in OURS
        for result in records.get(name, {"results": []})["results"]
        for error in result.get("errors", [])
    )


def checks_table(records: Records) -> str:
    """Return the largest relative errors of each system, and which are too large."""
    columns = ("loss", "gradients 1", "gradients 5", "weights")
    lines = [f"{'largest relative error of':26}batch" + "".join(f"{name:>13}" for name in columns)]
    for name, record in records.items():
        for result in record["results"]:
            if "errors" not in result:
                continue
            cells = "".join(f"{error:13.1e}" for error in result["errors"])
            bound = allowed(name)
            right = all(error <= bound for error in result["errors"])
            verdict = "right" if right else f"WRONG: above {bound:.0e}"
            if result.get("compiled") is False and name == LOOP:
                verdict += ", not compiled"
            lines.append(f"{name:26}{result['checked']:>5}{cells}  {verdict}")
    return "\n".join(lines)


def cells_of(records: Records) -> dict[str, dict[int, float]]:
    """Return the microseconds per step by row of the table and batch size."""
    rows: dict[str, dict[int, float]] = {}
    for name, record in records.items():
        for result in record["results"]:
            if "us" in result:
                row = CALLS if name == LOOP and not result.get("fit") else name
                rows.setdefault(row, {})[result["batch"]] = result["us"]
    return dict(sorted(rows.items(), key=lambda row: row[0] != LOOP))


def steps_table(records: Records, batches: list[int]) -> str:
    """Return microseconds per step, and each as a multiple of the compiled step's."""
    rows = cells_of(records)
    lines = [
        "microseconds per training step, median",
        f"{'batch':24}" + "".join(f"{n:>10}" for n in batches),
    ]
    for name, cells in rows.items():
        lines.append(f"{name:24}" + "".join(number(cells.get(n)) for n in batches))
    if LOOP in rows:
        lines.append("the same divided by the time of compiled")
        for name, cells in rows.items():
            if name != LOOP:
                ratios = [ratio(cells.get(n), rows[LOOP].get(n)) for n in batches]
                lines.append(f"{name:24}" + "".join(f"{text:>10}" for text in ratios))
    for name, record in records.items():
        about = [result["about"] for result in record["results"] if "about" in result]
        lines += [f"  {name}: {about[-1]}"] if about else []
    return "\n".join(lines)


def number(value: float | None, width: int = 10) -> str:
    """Return a number with three digits or more, in a column."""
    if value is None:
        return f"{'-':>{width}}"
    return f"{value:>{width},.1f}" if value < 1000 else f"{value:>{width},.0f}"


def ratio(a: float | None, b: float | None) -> str:
    return "-" if a is None or b is None else f"{a / b:.1f}"


def kernels_table(records: Records, card: Record) -> str:
    """Return time, bytes and FLOP of each kernel, and which part of the card's limit it reaches."""
    lines = []
    for result in results(records):
        rows = result.get("kernels")
        if not rows:
            if rows is not None:
                lines.append(f"batch {result['batch']}: the step lists no kernels")
            continue
        lines.append(
            f"{'batch ' + str(result['batch']):32}{'us':>9}{'MB':>9}{'MFLOP':>10}{'GB/s':>9}"
            f"{'GFLOP/s':>10}  of the limit"
        )
        for row in rows:
            seconds, size, flop = row["seconds"], row["bytes"], row["flop"]
            lines.append(
                f"{row['name'][:31]:32}{1e6 * seconds:9.2f}{size / 1e6:9.2f}{flop / 1e6:10.1f}"
                f"{size / seconds / 1e9:9.0f}{flop / seconds / 1e9:10.0f}  {limit(row, card)}"
            )
        lines.append(f"{'all':32}{1e6 * sum(row['seconds'] for row in rows):9.2f}")
    return "\n".join([*lines, *notes(records)])


def limit(row: Record, card: Record) -> str:
    """Return the least time by bytes or by arithmetic, as a fraction of the measured time."""
    bounds = {"memory": (row["bytes"], card.get("bytes_per_second"))}
    bounds["arithmetic"] = (row["flop"], card.get("flop_per_second"))
    known = {name: amount / rate for name, (amount, rate) in bounds.items() if rate}
    if not known:
        return "-"
    name = max(known, key=lambda bound: known[bound])
    return f"{known[name] / row['seconds']:.0%} ({name})"


def epoch_table(records: Records) -> str:
    """Return an epoch's seconds, its microseconds per step, and its images per second."""
    lines = [f"{'batch':>5}{'epoch s':>10}{'us a step':>12}{'images/s':>14}"]
    for result in results(records):
        if "us" in result:
            uncompiled = "" if result["compiled"] else "   not compiled: the textbook layers"
            lines.append(
                f"{result['batch']:>5}{result['epoch_seconds']:>10.3f}{number(result['us'], 12)}"
                f"{result['images_per_second']:>14,.0f}{uncompiled}"
            )
    return "\n".join([*lines, *notes(records)])


SAID = re.compile(r"test accuracy ([\d.]+)%, on inverted images ([\d.]+)%, trained in ([\d.]+) s")


def said_by_train(output: str) -> Record:
    """Return the figures in the last line of ``nplenet train``; {} if it did not print it."""
    found = SAID.search(output)
    if found is None:
        return {}
    test, inverted, seconds = map(float, found.groups())
    return {"test": test / 100, "inverted": inverted / 100, "trained_seconds": seconds}


def train_table(records: Records) -> str:
    """Return the seconds and the accuracies of each run of ``nplenet train``."""
    lines = [f"{'run':10}{'command s':>11}{'training s':>12}{'test':>10}{'inverted':>10}"]
    for name, record in records.items():
        for said in record["results"]:
            lines.append(
                f"{name:10}{record['seconds']:>11.2f}{said['trained_seconds']:>12.2f}"
                f"{said['test']:>10.2%}{said['inverted']:>10.2%}"
            )
    return "\n".join([*lines, *notes(records)])


def goal_table(records: Records, recipe: Record) -> str:
    """Return mean and deviation of the time to 99 %, over the seeds that were trained."""
    lines = [", ".join(f"{name} {value:g}" for name, value in recipe.items())]
    runs = [result for result in results(records) if "seed" in result]
    for result in results(records):
        if "load" in result:
            lines.append(
                f"apart from it: loading the images {result['load']:.2f} s, "
                f"a first run of one epoch {result['first']:.2f} s"
            )
    reached = [run["seconds"] for run in runs if run["seconds"] is not None]
    lines.append(f"{len(reached)} of {len(runs)} seeds reached 99 % test accuracy")
    if reached:
        epochs = statistics.mean(run["epochs"] for run in runs if run["epochs"])
        lines.append(
            f"seconds of training until then: {statistics.mean(reached):.3f} "
            f"+- {deviation(reached):.3f} ({min(reached):.3f} to {max(reached):.3f}), "
            f"{epochs:.1f} epochs"
        )
    if runs:
        last = [run["accuracy"] for run in runs]
        lines.append(
            f"test accuracy at the end: {statistics.mean(last):.2%} +- {deviation(last):.2%}"
        )
        if not all(run["compiled"] for run in runs):
            lines.append("not compiled: the textbook layers")
    return "\n".join([*lines, *notes(records)])


def deviation(values: list[float]) -> float:
    """Return the standard deviation of a sample, 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0
