"""Measure the accuracy of a recipe: train it with several seeds, and test each network.

    python benchmarks/accuracy.py --recipe standard --seeds 5 --output runs [--json found.json]

Each seed is a run of ``nplenet train`` in a folder of its own, so an interrupted measurement
resumes where it stopped, within an epoch too, when it is started again. Each network is tested on
the validation images, by which recipes are chosen, and on the test images, by which they are not:
plain, inverted, and rotated, each image by its own angle of up to 15 degrees, the same for all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nplenet.augment import RandomRotation, invert
from nplenet.backend import get_backend
from nplenet.checkpoint import load
from nplenet.commands.train import batches
from nplenet.data import load_dataset
from nplenet.files import atomic_write
from nplenet.layers import Layer
from nplenet.recipe import RECIPES, Settings
from nplenet.train import evaluate

PARTS = ("validation", "test")
FORMS = {
    "plain": lambda images: images,
    "inverted": invert,
    "rotated": lambda images: RandomRotation(15)(images, np.random.default_rng(0)),
}


def train(recipe: str | None, seed: int, folder: Path, options: Sequence[str]) -> int:
    """Train, or resume, one run in ``folder``; return the status of ``nplenet train``."""
    chosen = [] if recipe is None else ["--recipe", recipe]
    run = ["--seed", str(seed), "--output", str(folder), "--resume", "auto"]
    command = [sys.executable, "-m", "nplenet", "train", *chosen, *run, *options]
    with subprocess.Popen(command) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the run has it too, and saves its checkpoint
            return child.wait()


def tested(model: Layer, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the accuracy on each form of the images."""
    return {name: evaluate(model, form(images), labels).accuracy for name, form in FORMS.items()}


def measure(folder: Path, data_dir: Path | None) -> dict[str, Any]:
    """Return settings, accuracy and time of the finished run in ``folder``."""
    record = json.loads((folder / "history.json").read_text())
    checkpoint = load(folder / "checkpoint.safetensors")
    settings = Settings(**checkpoint.record["arguments"])
    data = load_dataset(settings.dataset, data_dir)
    data = data.limited(settings.limit) if settings.limit else data
    _, validation = batches(data, replace(settings, augment="none"), get_backend("numpy"))
    model = checkpoint.model()
    return {
        "seed": settings.seed,
        "test": tested(model, data.test_images, data.test_labels),
        "validation": None if validation is None else tested(model, *validation),
        "seconds": record["seconds"],
        "arguments": checkpoint.record["arguments"],
        "environment": record["environment"],
    }


def result_of(
    recipe: str | None, seed: int, folder: Path, data_dir: Path | None, options: Sequence[str]
) -> dict[str, Any]:
    """Return the result of one seed: from its file, or by training what is missing."""
    path = folder / "accuracy.json"
    asked = {"recipe": RECIPES[recipe].settings if recipe else {}, "options": list(options)}
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["asked"] != asked:
            raise SystemExit(
                f"{folder} holds a run with {found['asked']}, not {asked}; choose another --output"
            )
        return found
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    if status := train(recipe, seed, folder, [*where, *options]):
        raise SystemExit(status)
    found = {"asked": asked, **measure(folder, data_dir)}
    with atomic_write(path) as file:
        file.write(json.dumps(found, indent=2).encode())
    return found


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation over the seeds (of the sample, n - 1) of each accuracy."""
    found: dict[str, Any] = {"seeds": [result["seed"] for result in results]}
    for part in PARTS:
        if results[0][part] is not None:
            found[part] = {
                name: mean_and_deviation([result[part][name] for result in results])
                for name in FORMS
            }
    found["seconds"] = mean_and_deviation([result["seconds"] for result in results])
    return found


def mean_and_deviation(values: Sequence[float]) -> dict[str, float]:
    """Return both; the deviation of a single value is 0."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "deviation": deviation}


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the accuracy in percent: a line per seed, then the means."""
    lines = ["             validation                     test                       training"]
    lines.append("seed         plain  inverted rotated        plain  inverted rotated    seconds")
    lines += [line(str(result["seed"]), result) for result in results]
    found = summary(results)
    for key in ("mean", "deviation"):
        parts = {
            part: {name: found[part][name][key] for name in FORMS} if part in found else None
            for part in PARTS
        }
        lines.append(line(key, parts | {"seconds": found["seconds"][key]}))
    return "\n".join(lines)


def line(label: str, result: dict[str, Any]) -> str:
    """Return a line of the table; a run without validation images has none there."""
    cells = ["  ".join(f"{a:7.2%}" for a in (result[part] or {}).values()) for part in PARTS]
    return f"{label:<10}  {cells[0]:25}     {cells[1]:25}  {result['seconds']:9.1f}"


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="Other options go to nplenet train: --backend cupy, --weight-decay 0.05 ...",
    )
    parser.add_argument("--recipe", choices=RECIPES, help="default: the defaults of nplenet train")
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="number of seeds (default 5)"
    )
    parser.add_argument(
        "--first-seed", type=int, default=0, metavar="SEED", help="the first of them (default 0)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("accuracy"),
        metavar="DIR",
        help="folder of the runs, one for each recipe and seed (default accuracy); results there "
        "are kept, and what is missing is trained",
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="as of nplenet train")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    arguments, options = parser.parse_known_args()

    name = arguments.recipe or "default"
    results: list[dict[str, Any]] = []
    try:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            folder = arguments.output / f"{name}-{seed}"
            one = (arguments.recipe, seed, folder, arguments.data_dir, options)
            results.append(result_of(*one))
    finally:  # also of a measurement that was stopped
        if results:
            print(f"recipe {name}\n{table(results)}")
            if arguments.json:
                found = {"recipe": name, "summary": summary(results), "runs": results}
                arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
