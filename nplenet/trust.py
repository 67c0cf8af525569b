"""How far an answer of a model can be trusted: calibrated probabilities, and when to say "unsure".

A network answers every picture, a letter's too, and its softmax is mostly too sure or not
sure enough. Both are measured on images it was not trained on (``measured``) and stand in its file:

- a temperature T, by which logits are divided, so that about 90 % of the answers given 90 % are
  right (Guo et al., "On calibration of modern neural networks", 2017);
- the probability below which an answer is unsure (Hendrycks & Gimpel, 2017). The bundled model was
  also shown letters and scribbles in training and has learned to give them no class in particular,
  so most of them are unsure.

``judged`` says for one answer whether it is sure, and if not, why. It also looks at the picture:
the network answers 1 for an i or a j, but a 1 has no dot. A model without these numbers keeps its
plain softmax, and nothing is said of its trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import checks
from .augment import floats
from .layers import Layer
from .losses import softmax
from .names import answer_wrong_names

__all__ = ["Judgement", "Trust", "calibrated", "judged", "measured"]
answer_wrong_names(__name__)

TEMPERATURES = np.geomspace(0.1, 10, 201)  # tried; neighbours differ by 2.3 %
REFUSED = 0.004  # of validation images: leaves a margin to 1 % of others
BATCH = 500

# Facts about a picture of ``recognize.prepare``, which may be why an answer is unsure.
INK = 100  # of 255: a pixel above is ink
MAX_INK = 0.22  # fraction of 28x28: 3 % of MNIST's digits have more
MAX_GREY = 0.75  # fraction of the pixels with ink that are grey: 2 % of MNIST's digits have more
MIN_PART = 0.2  # of the pixels of the largest part: 1 % of MNIST's digits have another such part
MIN_DOT = 0.05  # of a 1: 0.9 % of MNIST's have another such part, of letters i three quarters
MIN_TWO = 0.8  # probability of the two likeliest classes together: the picture is one of them
DOTTED = "a 1 in two parts, such as an i"

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Trust:
    """What was measured of a model, on images that it was not trained on.

    Attributes
    ----------
    temperature : float
        Logits are divided by it.
    least_probability : float
        An answer with a lower calibrated probability is unsure.
    images : int
        The number of images it was measured on.
    unsure : float
        The fraction of those whose answer is unsure.
    right_when_sure : float
        The fraction of right answers among the others.
    """

    temperature: float
    least_probability: float
    images: int
    unsure: float
    right_when_sure: float

    def __post_init__(self) -> None:
        checks.number(self.temperature, "Trust: temperature", "(0, inf)")
        for name in ("least_probability", "unsure", "right_when_sure"):
            checks.fraction(getattr(self, name), f"Trust: {name}")
        checks.count(self.images, "Trust: images")

    def __str__(self) -> str:
        return (
            f"temperature {self.temperature:.3g}; an answer below {self.least_probability:.1%} is "
            f"unsure: {self.unsure:.2%} of {self.images:,} validation images, and of the others "
            f"{self.right_when_sure:.2%} were right"
        )

    def as_record(self) -> dict[str, Any]:
        """Return the numbers as JSON holds them."""
        return asdict(self)


class Judgement(NamedTuple):
    """One answer, and how far it can be trusted.

    Attributes
    ----------
    answer : int
        The likeliest class.
    probability : float
        Its probability; calibrated if ``sure`` is not None.
    sure : bool or None
        None for a model whose trust was not measured.
    reason : str
        Why the answer is unsure, in plain words; empty otherwise.
    """

    answer: int
    probability: float
    sure: bool | None
    reason: str

    @property
    def remark(self) -> str:
        """What to write behind the answer, such as " (41.2%, unsure: two parts)"."""
        if self.sure is None:
            return ""
        how = "sure" if self.sure else f"unsure: {self.reason}"
        return f" ({self.probability:.1%}, {how})"


def calibrated(logits: Any, trust: Trust | None) -> Any:
    """Return the probabilities of logits (N, classes); without a ``Trust`` the plain softmax."""
    return softmax(logits if trust is None else logits / logits.dtype.type(trust.temperature))


def judged(
    probabilities: Floats,
    trust: Trust | None,
    picture: npt.NDArray[np.uint8] | None = None,
    names: Sequence[str] | None = None,
) -> Judgement:
    """Say whether an answer is sure, and if not, why.

    Parameters
    ----------
    probabilities : float (classes,)
        Of ``calibrated``, or ``recognize(model, image).probabilities``.
    trust : Trust or None
        ``model.trust``.
    picture : uint8 (H, W), optional
        What the model saw, white on black, such as ``recognize.prepare`` returns.
    names : sequence of str, optional
        The classes' names, for the reason; their numbers by default.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 1 or not probabilities.size or np.isnan(probabilities).any():
        raise ValueError(f"judged: takes one probability per class, got {probabilities}")
    answer = int(probabilities.argmax())
    probability = float(probabilities[answer])
    if trust is None:
        return Judgement(answer, probability, None, "")
    names = names or [str(k) for k in range(len(probabilities))]
    if probability >= trust.least_probability:
        dotted = names[answer] == "1" and picture is not None and _dotted(picture)
        return Judgement(answer, probability, not dotted, DOTTED if dotted else "")
    facts = [] if picture is None else _facts(picture)
    first, second = np.argsort(-probabilities, kind="stable")[:2].tolist()
    if probabilities[first] + probabilities[second] >= MIN_TWO:
        facts.append(f"between {names[first]} and {names[second]}")
    else:
        kind = "digits" if all(map(str.isdigit, names)) else "images"
        facts.append(f"unlike the {kind} it was trained on")
    return Judgement(answer, probability, False, "; ".join(facts))


def _facts(picture: npt.NDArray[np.uint8]) -> list[str]:
    """Return what is unusual about a picture, in plain words."""
    ink = picture > INK
    if not ink.any():
        return ["no ink"]
    parts = _sizes_of_parts(ink)
    large = int(np.count_nonzero(parts >= MIN_PART * parts.max()))
    grey = np.count_nonzero((picture > 25) & (picture < 230)) / np.count_nonzero(picture > 25)
    found = []
    if large > 1:
        found.append(f"{('two', 'three', 'four')[large - 2] if large < 5 else 'many'} parts")
    if ink.sum() > MAX_INK * 28 * 28:
        found.append("thick or filled in")
    if grey > MAX_GREY:
        found.append("faint or blurred")
    return found


def _dotted(picture: npt.NDArray[np.uint8]) -> bool:
    """Return whether there is a dot beside a stroke, as of an i or a j, which a 1 has not."""
    ink = picture > INK
    parts = _sizes_of_parts(ink)
    return bool(ink.any() and np.count_nonzero(parts >= MIN_DOT * parts.max()) > 1)


def _sizes_of_parts(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the number of pixels of each connected part; diagonal neighbours are connected too.

    Each pixel begins with a number of its own, and takes the largest of its neighbours' until no
    number changes: then each part has one.
    """
    number = np.where(ink, np.arange(1, ink.size + 1).reshape(ink.shape), 0)
    while True:
        around = np.lib.stride_tricks.sliding_window_view(np.pad(number, 1), (3, 3))
        largest = np.where(ink, around.max(axis=(2, 3)), 0)
        if np.array_equal(largest, number):
            return np.unique(number[ink], return_counts=True)[1]
        number = largest


def measured(
    model: Layer,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer[Any]],
    *,
    refused: float = REFUSED,
) -> Trust:
    """Measure a model's trust on images that it was not trained on, nor tested on afterwards.

    The result belongs to the model: ``model.trust = measured(model, images, labels)``, then
    ``save_model``.

    Parameters
    ----------
    model : Layer
        Maps floats (N, C, H, W) to logits (N, classes); ``model.preprocessing`` is applied.
    images : uint8 (N, C, H, W)
    labels : int (N,)
    refused : float
        The fraction of these images whose answers shall be unsure.

    Raises
    ------
    ValueError
        Without images, or when the numbers of images and labels differ.
    """
    images = checks.images(images, "measured: images")
    labels = checks.labels(labels, "measured: labels")
    if len(images) != len(labels):
        raise ValueError(f"measured: got {len(images)} images and {len(labels)} labels")
    checks.fraction(refused, "measured: refused")
    with model.evaluating():
        parts = [
            model.backend.to_numpy(
                model(model.backend.asarray(floats(model.preprocessing, images[k : k + BATCH])))
            )
            for k in range(0, len(images), BATCH)
        ]
    logits = np.concatenate(parts).astype(np.float64)
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"measured: a label lies outside 0..{logits.shape[1] - 1}")
    every = np.arange(len(labels))
    losses = [-np.log(softmax(logits / t)[every, labels] + 1e-300).mean() for t in TEMPERATURES]
    temperature = float(TEMPERATURES[int(np.argmin(losses))])
    probabilities = softmax(logits / temperature)
    highest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    least = float(np.quantile(highest, refused))
    sure = highest >= least
    return Trust(
        round(temperature, 4),
        round(least, 4),
        len(labels),
        round(float(1 - sure.mean()), 4),
        round(float(right[sure].mean()), 4),
    )


def calibration_error(probabilities: Floats, labels: npt.NDArray[Any], bins: int = 15) -> float:
    """Return the expected calibration error of probabilities (N, classes) (Guo et al., 2017).

    The answers are sorted into ``bins`` by their probability, each of equal width; the mean over
    answers of the distance between a bin's mean probability and its fraction of right answers.
    """
    highest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((highest * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    gap = np.bincount(place, highest, bins) - np.bincount(place, right, bins)
    return float(np.abs(gap).sum() / count.sum())


def from_record(record: Mapping[str, Any] | None) -> Trust | None:
    """Return the ``Trust`` of a checked record; fields of later versions are left out."""
    return None if record is None else Trust(**{f.name: record[f.name] for f in fields(Trust)})
