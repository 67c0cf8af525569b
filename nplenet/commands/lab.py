"""Hand out assignments, grade them, train a network with a student's layers.

examples:
  nplenet lab list
  nplenet lab start conv --output homework
  nplenet lab grade homework
  nplenet lab grade class/* --json
  nplenet lab train homework
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data import load_dataset
from ..lab import ASSIGNMENTS, Result, grade
from ..lab.grader import not_limited
from ..lab.handout import start
from ..lab.source import key
from ..terminal import printable, show, show_json
from . import DATA_DIR_HELP, NO_DOWNLOAD_HELP, nonempty_path, positive, seed

DEFAULT_EPOCHS = {"mnist": 1, "digits": 10}
DEFAULT_IMAGES = 6000


def add_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    for action, words, add in (
        ("list", "list the assignments", lambda options: None),
        ("start", "write the skeleton, notebook and instructions of assignments", add_start),
        ("grade", "grade the answers in folders: points per part, and what is wrong", add_grade),
        ("train", "train a LeNet-5 with the layers in folders", add_train),
    ):
        add(actions.add_parser(action, help=words, description=words[0].upper() + words[1:]))


def add_start(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "names", nargs="+", metavar="NAME", help=f"{', '.join(ASSIGNMENTS)}, or all"
    )
    options.add_argument(
        "--output", type=nonempty_path, required=True, metavar="DIR", help="folder to write to"
    )
    options.add_argument(
        "--key", action="store_true", help="write the solution, for a teacher; source tree only"
    )


def add_grade(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "folders",
        nargs="+",
        type=nonempty_path,
        metavar="FOLDER",
        help="folder, or the file of an answer",
    )
    options.add_argument(
        "--assignment",
        action="append",
        choices=tuple(ASSIGNMENTS),
        metavar="NAME",
        help="grade this assignment, even if its file is missing; may be repeated (default: all "
        "whose files exist)",
    )
    options.add_argument("--json", action="store_true", help="print a JSON list of folders")
    options.add_argument(
        "--key",
        action="store_true",
        help="print the solutions of parts that lost points; source tree only",
    )


def add_train(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "folders", nargs="+", type=nonempty_path, metavar="FOLDER", help="folder of answers"
    )
    options.add_argument("--all", action="store_true", help="use answers that lose points, too")
    options.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="passes over the training images (default 1 for MNIST, 10 for the digits)",
    )
    options.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        default=DEFAULT_IMAGES,
        help="use only the first N training and N test images (default %(default)s)",
    )
    options.add_argument(
        "--dataset",
        choices=("auto", "mnist", "digits"),
        default="auto",
        help="auto is MNIST if available, otherwise the bundled digits (default %(default)s)",
    )
    options.add_argument("--data-dir", type=nonempty_path, metavar="DIR", help=DATA_DIR_HELP)
    options.add_argument("--no-download", action="store_true", help=NO_DOWNLOAD_HELP)
    options.add_argument("--seed", type=seed, default=0, help="random seed (default %(default)s)")


def run(options: argparse.Namespace) -> int:
    return {"list": run_list, "start": run_start, "grade": run_grade, "train": run_train}[
        options.action
    ](options)


def run_list(options: argparse.Namespace) -> int:
    show(f"{'name':<15} {'points':>6}  {'file':<18} title")
    for name, assignment in ASSIGNMENTS.items():
        show(f"{name:<15} {assignment.points:>6}  {assignment.file:<18} {assignment.title}")
    show("nplenet lab start NAME --output FOLDER writes an assignment")
    return 0


def run_start(options: argparse.Namespace) -> int:
    names = list(ASSIGNMENTS) if options.names == ["all"] else options.names
    for path in start(names, options.output, solved=options.key):
        show(f"wrote {printable(path)}")
    show(f"then: nplenet lab grade {printable(options.output)}")
    return 0


def run_grade(options: argparse.Namespace) -> int:
    records: list[dict[str, Any]] = []
    perfect = True
    if options.key:
        key(next(iter(ASSIGNMENTS.values())).file)  # it is there, or an error before anything else
    for folder in options.folders:
        try:
            results = grade(folder, options.assignment or ())
        except FileNotFoundError as error:
            if not options.json:
                raise
            records.append({"folder": str(folder), "points": 0, "of": 0, "error": str(error)})
            perfect = False
            continue
        points, of = sum(r.points for r in results), sum(r.of for r in results)
        perfect = perfect and points == of
        if options.json:
            assignments = [result.as_record() for result in results]
            record = {"folder": str(folder), "points": points, "of": of}
            records.append({**record, "assignments": assignments})
        else:
            show_results(folder, results, options.key)
    if options.json:
        show_json(records, indent=1)
    elif words := not_limited():
        show(words)
    return 0 if perfect else 1


def show_results(folder: Path, results: list[Result], with_key: bool) -> None:
    """Print the results of a folder; the key of what lost points, if asked for."""
    for result in results:
        show(printable_lines(str(result)))
        if with_key:
            solution = key(result.file)
            if result.points < result.of:
                show(f"  the key, {result.file}:\n")
                show("\n".join(f"    {line}".rstrip() for line in solution.splitlines()) + "\n")
    points, of = sum(r.points for r in results), sum(r.of for r in results)
    show(f"{printable(folder)}: {points} of {of} points")


def printable_lines(text: str) -> str:
    """Return a text whose lines are printable: an error of an answer may say anything."""
    return "\n".join(printable(line) for line in text.splitlines())


def run_train(options: argparse.Namespace) -> int:
    from ..lab.network import build
    from ..lab.train import table, train

    with errors_of_answers():
        network = build(options.folders, seed=options.seed, everything=options.all)
    data = load_dataset(options.dataset, options.data_dir, not options.no_download)
    if data.notice:
        show(data.notice)
    data = data.limited(options.limit)
    show(printable_lines(table(network)))
    epochs = options.epochs or DEFAULT_EPOCHS[data.name]
    show(f"{data.name}: {len(data.train_images)} images, {epochs} epochs, the textbook layers")
    with errors_of_answers():
        train(network, data, epochs, options.seed, show)
    return 0


@contextmanager
def errors_of_answers() -> Iterator[None]:
    """Turn what an answer raises meanwhile into one line."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        text = f"an answer raises {type(error).__name__} in training: {error}"
        raise ValueError(text) from error
