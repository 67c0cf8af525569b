"""Images per second of each transform and of the whole pipeline on one core, against Pillow.

Run as: python benchmarks/augment.py [--sizes 28 32] [--batches 128 1024] [--channels 1]
All rows of a table are timed in turns, round after round, so that a disturbance affects all rows.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core; read when NumPy is imported

import numpy as np

from nplenet.augment import (
    RandomAffine,
    RandomGrayscale,
    RandomInvert,
    RandomRotation,
    ToFloat,
    affine_augmentation,
    rotation_coefficients,
    standard_augmentation,
)

PILLOW_IMAGES = 128
"""Images per round for Pillow, whose time per image does not depend on the batch."""


def pillow_pipeline(images: np.ndarray, rng: np.random.Generator) -> Callable[[], object] | None:
    """Return the same pipeline for one PIL image; None without Pillow."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    pictures = [
        Image.fromarray(np.ascontiguousarray(i.transpose(1, 2, 0)).squeeze()) for i in images
    ]

    def one(picture: Image.Image) -> np.ndarray:
        picture = picture.rotate(rng.uniform(-15, 15))
        if rng.random() < 0.5:
            picture = ImageOps.invert(picture)
        if rng.random() < 0.5:
            picture = picture.convert("L").convert(picture.mode)
        scaled: np.ndarray = np.asarray(picture).astype(np.float32) / np.float32(255)
        return scaled

    return lambda: np.stack([one(picture) for picture in pictures])


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(size: int, batch: int, channels: int, rounds: int) -> None:
    """Print one table."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, channels, size, size), dtype=np.uint8)
    angles = rng.uniform(-15, 15, batch)
    pipeline, affine = standard_augmentation(), affine_augmentation()
    zoom_and_shift = RandomAffine(15, (1 / 64, 1 / 64), (0.9, 1.1))
    rows: list[tuple[str, int, Callable[[], object]]] = [
        ("coefficients", batch, lambda: rotation_coefficients(angles, size, size)),
        ("RandomRotation(15)", batch, lambda: RandomRotation(15)(images, rng)),
        ("RandomAffine(15, ...)", batch, lambda: zoom_and_shift(images, rng)),
        ("RandomInvert(0.5)", batch, lambda: RandomInvert(0.5)(images, rng)),
        ("RandomGrayscale(0.5)", batch, lambda: RandomGrayscale(0.5)(images, rng)),
        ("ToFloat()", batch, lambda: ToFloat()(images)),
        ("whole pipeline", batch, lambda: pipeline(images, rng)),
        ("the same with affine", batch, lambda: affine(images, rng)),
    ]
    pillow = pillow_pipeline(images[:PILLOW_IMAGES], rng)
    if pillow is not None:
        rows.append(("Pillow, image by image", min(batch, PILLOW_IMAGES), pillow))
    times = np.array([[seconds(action) for _, _, action in rows] for _ in range(rounds + 2)])[2:]
    rates = {name: count / times[:, i] for i, (name, count, _) in enumerate(rows)}

    print(f"\n{channels}x{size}x{size}, batch {batch}, {rounds} rounds")
    print(f"{'':24}{'images/s':>12}{'us/image':>10}{'best 10%':>12}{'x Pillow':>10}")
    yardstick = rates.get("Pillow, image by image")
    for name, rate in rates.items():
        median = float(np.median(rate))
        ratio = "" if yardstick is None else f"{median / np.median(yardstick):.1f}"
        best = float(np.percentile(rate, 90))
        print(f"{name:24}{median:12,.0f}{1e6 / median:10.2f}{best:12,.0f}{ratio:>10}")


def main() -> None:
    """Read the options and print a table for each size and batch."""
    parser = argparse.ArgumentParser(description="Speed of the augmentation on one core.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 32])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--channels", type=int, choices=[1, 3], default=1)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    for size in options.sizes:
        for batch in options.batches:
            measure(size, batch, options.channels, options.rounds)


if __name__ == "__main__":
    main()
