"""Time a whole epoch, loading and augmentation included, against its bare training steps.

    python benchmarks/epoch.py [--batch 64 256] [--rounds 5] [--eager]

The epoch is an epoch of ``nplenet train``: ``fit`` on 60,000 images, with rotation, inversion,
grayscale, metrics and schedule. The bare steps repeat one float32 batch. The two take turns in one
process; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from nplenet.augment import standard_augmentation
from nplenet.compiled import Step, TextbookStep, compile
from nplenet.data import DataLoader
from nplenet.losses import CrossEntropyLoss
from nplenet.machine import one_blas_thread
from nplenet.models import LeNet5
from nplenet.optim import Adam
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator
from nplenet.train import fit


def epoch(loader: DataLoader, eager: bool) -> float:
    """Return the seconds of an epoch of training."""
    model = LeNet5(seed=0)
    optimizer = Adam(model.parameters())
    schedule = OneCycleLR(optimizer, max_lr=1e-3, total_steps=len(loader))
    loss = CrossEntropyLoss()
    step = TextbookStep(model, loss, optimizer, loader.batch_size, "--eager") if eager else None
    history = fit(
        model, loss, optimizer, loader, epochs=1, step=step, schedule=schedule, progress=False
    )
    return history.epochs[0].seconds


@one_blas_thread()
def bare_steps(loader: DataLoader, eager: bool) -> float:
    """Return the seconds of the steps of an epoch, without loading and augmentation."""
    model, loss = LeNet5(seed=0), CrossEntropyLoss()
    optimizer, size = Adam(model.parameters()), loader.batch_size
    step: Step
    if eager:
        step = TextbookStep(model, loss, optimizer, size, "--eager")
    else:
        step = compile(model, loss, optimizer, size)
    x = np.random.default_rng(0).random((size, 1, 32, 32), np.float32)
    y = np.arange(size) % 10
    full, rest = divmod(len(loader.images), size)
    begin = time.perf_counter()
    for _ in range(full):
        step(x, y)
    if rest:
        step(x[:rest], y[:rest])
    return time.perf_counter() - begin


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--eager", action="store_true", help="the textbook layers")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (arguments.images, 1, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, arguments.images, dtype=np.uint8)
    print("batch  epoch s  bare s  ratio (range)      images/s")
    for batch in arguments.batch:
        loader = DataLoader(
            images,
            labels,
            batch,
            shuffle=True,
            rng=generator(0, "shuffle"),
            transform=standard_augmentation(),
            transform_rng=generator(0, "augment"),
        )
        whole, bare = [], []
        for _ in range(arguments.rounds):
            bare.append(bare_steps(loader, arguments.eager))
            whole.append(epoch(loader, arguments.eager))
        ratios = sorted(a / b for a, b in zip(whole, bare, strict=True))
        seconds = statistics.median(whole)
        print(
            f"{batch:>5}  {seconds:>7.2f}  {statistics.median(bare):>6.2f}  "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})  "
            f"{arguments.images / seconds:>12,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
