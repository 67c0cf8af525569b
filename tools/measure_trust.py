"""Say how far the bundled model, or another, can be trusted: accuracy, calibration, refusals.

    python tools/measure_trust.py --data-dir DIR [--model FILE] [--own DIR]

needs MNIST, and for letters the typefaces of the tests (``font_roboto`` and others, those that are
installed). ``--own`` names a folder of pictures whose names end in their digit, such as
``pencil-07-3.jpg``. None of these images was trained on.
"""

from __future__ import annotations

import argparse
import string
import warnings
from collections.abc import Iterable
from pathlib import Path

import drawn
import numpy as np
import strokes
from PIL import Image, ImageDraw, ImageFont

from nplenet.augment import invert
from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.data import load_digits, load_mnist, pad_images
from nplenet.layers import Layer
from nplenet.recognize import prepare, read_photo
from nplenet.trust import calibrated, calibration_error, judged

SEED = 1  # the model is trained on seed 0
TYPEFACES = {
    "font_roboto": ("Roboto-Thin", "Roboto-Regular", "Roboto-Black"),
    "font_source_serif_pro": ("SourceSerifPro-Regular", "SourceSerifPro-It"),
    "font_caladea": ("Caladea-Bold",),
    "font_amatic_sc": ("AmaticSC-Regular",),
    "font_fredoka_one": ("FredokaOne-Regular",),
    "font_intuitive": ("Intuitive",),
}
ALSO_DIGITS = "OIZilosz"  # letters that are a 0, a 1, a 2 or a 5 as well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, metavar="DIR")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--own", type=Path, metavar="DIR")
    options = parser.parse_args()
    model = load_model(options.model)
    print(f"trust: {model.trust}\n")
    images, labels = load_mnist(options.data_dir, "test")
    images = pad_images(images)
    rng = np.random.default_rng([SEED, 0])
    print(f"{'digits':32s}  right   unsure  wrong and sure   calibration error (plain softmax)")
    report_digits(model, "MNIST's test images", images, labels)
    report_digits(model, "the same, inverted", invert(images), labels)
    paper = [drawn.on_paper(image[0], rng) for image in images[:3000]]
    on_paper = drawn.prepared(paper, blank_for_none=True)
    report_digits(model, "3,000 of them on paper", on_paper, labels[:3000])
    for kind, digit in (("European 1", 1), ("printed 1", 1), ("crossed 7", 7)):
        shown = drawn.drawn(kind, 100, SEED)
        report_digits(model, f"100 times a {kind}", shown, np.full(100, digit))
    bundled, names = load_digits("all")
    report_digits(model, "the bundled digits, of 8x8 pixels", bundled[:, None], names)
    if options.own:
        report_own(model, options.own)
    print(f"\n{'not a digit':32s} refused")
    for kind in ("letter", "scribble", "figure", "blot"):
        report_others(model, f"300 times a {kind}", drawn.drawn(kind, 300, SEED))
    for name, letters in (
        ("printed capitals", string.ascii_uppercase),
        ("printed small letters", string.ascii_lowercase),
        ("printed letters, not digits too", set(string.ascii_letters) - set(ALSO_DIGITS)),
    ):
        report_others(model, name, drawn.prepared(printed(sorted(letters))))
    report_others(model, "blank and noisy paper", drawn.prepared(blanks(rng)), 100)


def logits_of(model: Layer, images: np.ndarray) -> np.ndarray:
    starts = range(0, len(images), 500)
    parts = [model(images[k : k + 500] / np.float32(255)) for k in starts]
    return np.concatenate(parts) if parts else np.zeros((0, 10), np.float32)


def refused(model: Layer, probabilities: np.ndarray, images: np.ndarray) -> np.ndarray:
    answers = zip(probabilities, images[:, 0], strict=True)
    return np.array([judged(row, model.trust, image).sure is False for row, image in answers], bool)


def report_digits(model: Layer, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    logits = logits_of(model, images)
    shown = invert(images) if np.median(images) > 127 else images  # ``judged`` takes white on black
    probabilities = calibrated(logits, model.trust)
    right, unsure = probabilities.argmax(axis=1) == labels, refused(model, probabilities, shown)
    before = calibration_error(calibrated(logits, None), labels)
    after = calibration_error(probabilities, labels)
    print(
        f"{name:32s} {right.mean():7.2%} {unsure.mean():7.2%} {(~right & ~unsure).mean():11.2%}"
        f"{after:15.2%} ({before:.2%})"
    )


def report_own(model: Layer, folder: Path) -> None:
    images, labels, none = [], [], 0
    for path in sorted(folder.iterdir()):
        if not path.stem[-1].isdigit():
            continue
        try:
            images.append(prepare(read_photo(path).pixels))
        except ValueError:
            none += 1
            continue
        labels.append(int(path.stem[-1]))
    name = f"own pictures ({len(labels)}; {none} more: none found)"
    report_digits(model, name, np.stack(images)[:, None], np.array(labels))


def report_others(model: Layer, name: str, images: np.ndarray, count: int | None = None) -> None:
    count = count or len(images)
    probabilities = calibrated(logits_of(model, images), model.trust)
    passed = np.count_nonzero(~refused(model, probabilities, images))
    print(f"{name:32s} {1 - passed / count:7.2%} of {count}")


def printed(letters: Iterable[str]) -> Iterable[np.ndarray]:
    """Yield sheets with each letter in each typeface that is installed."""
    fonts = [ImageFont.load_default(72)]
    for package, names in TYPEFACES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the package's use of pkg_resources
                folder = Path(__import__(package).font_directory)
        except ImportError:
            continue
        fonts += [ImageFont.truetype(str(folder / f"{name}.ttf"), 72) for name in names]
    middle = (strokes.SIDE / 2, strokes.SIDE / 2)
    for font in fonts:
        for letter in letters:
            image = Image.new("L", (strokes.SIDE, strokes.SIDE), 235)
            ImageDraw.Draw(image).text(middle, letter, 30, font=font, anchor="mm")
            yield np.asarray(image)


def blanks(rng: np.random.Generator) -> Iterable[np.ndarray]:
    """Yield a hundred sheets of paper without ink, from plain to very noisy, some in a shadow."""
    for k in range(100):
        light = np.linspace(235, 235 - k, strokes.SIDE)
        sheet = rng.normal(light, k % 10, (strokes.SIDE, strokes.SIDE))
        yield np.rint(np.clip(sheet, 0, 255)).astype(np.uint8)


if __name__ == "__main__":
    main()
