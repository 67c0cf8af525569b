"""Arrays of unusual kinds, and what is not an array: the right numbers, or an error that says why.

A mask of ``numpy.ma`` is heeded nowhere, so it is refused: masked pixels would count like others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet.augment import (
    Normalize,
    RandomInvert,
    RandomRotation,
    ToFloat,
    affine,
    grayscale,
    invert,
    rotate,
)
from nplenet.data import DataLoader, Pictures, pad_images, train_validation_split, write_idx
from nplenet.layers import BatchNorm2d, Dense, Flatten, Parameter, Sequential
from nplenet.losses import CrossEntropyLoss, log_softmax, softmax
from nplenet.optim import SGD
from nplenet.recognize import recognize
from nplenet.train import evaluate, evaluate_with, fit
from nplenet.trust import judged, measured

BYTES = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
FLOATS = (BYTES / 255).astype(np.float32)
LABELS = np.arange(6) % 3
LOGITS = np.random.default_rng(1).standard_normal((6, 3), dtype=np.float32)
ONES = np.ones(6, np.float32)
AFFINE = np.tile([1.0, 0, 0, 0, 1, 0], (6, 1))


def net() -> Sequential:
    return Sequential(Flatten(), Dense(64, 3, rng=0)).eval()


def trained(images: Any, labels: Any, validation: Any = None) -> float | None:
    model = net()
    loader = DataLoader(images, labels, 6)
    optimizer = SGD(model.parameters(), 0.1)
    more: dict[str, Any] = {"validation": validation, "epochs": 1, "progress": False}
    epoch = fit(model, CrossEntropyLoss(), optimizer, loader, **more).epochs[0]
    return epoch.loss if validation is None else epoch.validation_loss


def stepped(images: Any, labels: Any) -> Any:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    step = nplenet.compile(model, CrossEntropyLoss(), optimizer, 6, tunables={"threads": 1})
    return step(images, labels)


def loss_of(logits: Any, labels: Any) -> Any:
    loss = CrossEntropyLoss()
    return np.append(loss(logits, labels), loss.backward())


def gradient_of(dlosses: Any) -> Any:
    loss = CrossEntropyLoss("none")
    loss(LOGITS, LABELS)
    return loss.backward(dlosses)


def backward_of(layer: Any, x: np.ndarray, dy: Any) -> Any:
    layer(x)
    return layer.backward(dy)


Case = tuple[Callable[[Any], Any], np.ndarray]
CASES: dict[str, Case] = {
    "evaluate: images": (lambda x: evaluate(net(), x, LABELS), FLOATS),
    "evaluate: bytes": (lambda x: evaluate(net(), x, LABELS), BYTES),
    "evaluate: labels": (lambda y: evaluate(net(), FLOATS, y), LABELS),
    "evaluate_with": (
        lambda x: evaluate_with(net(), nplenet.get_backend("numpy"), x, LABELS),
        FLOATS,
    ),
    "DataLoader: images": (lambda x: next(iter(DataLoader(x, LABELS, 6)))[0], FLOATS),
    "DataLoader: labels": (lambda y: next(iter(DataLoader(BYTES, y, 6)))[1], LABELS),
    "fit: images": (lambda x: trained(x, LABELS), FLOATS),
    "fit: validation images": (lambda x: trained(FLOATS, LABELS, (x, LABELS)), FLOATS),
    "fit: validation labels": (lambda y: trained(FLOATS, LABELS, (FLOATS, y)), LABELS),
    "a model": (lambda x: net()(x), FLOATS),
    "backward": (lambda dy: backward_of(Dense(3, 2, rng=0), LOGITS, dy), np.ones((6, 2), "f4")),
    "backward of a norm": (lambda dy: backward_of(BatchNorm2d(1), FLOATS, dy), FLOATS),
    "a compiled step": (lambda x: stepped(x, LABELS), FLOATS.copy()),
    "a compiled step: labels": (lambda y: stepped(FLOATS, y), LABELS),
    "predict": (lambda x: nplenet.compile(net()).predict(x), FLOATS),
    "CrossEntropyLoss: logits": (lambda z: loss_of(z, LABELS), LOGITS),
    "CrossEntropyLoss: targets": (lambda y: loss_of(LOGITS, y), LABELS),
    "CrossEntropyLoss: dlosses": (gradient_of, ONES),
    "softmax": (softmax, LOGITS),
    "log_softmax": (log_softmax, LOGITS),
    "rotate": (lambda x: rotate(x, [10.0] * 6), BYTES),
    "affine": (lambda x: affine(x, AFFINE), BYTES),
    "invert": (invert, BYTES),
    "grayscale": (grayscale, np.repeat(BYTES, 3, axis=1)),
    "RandomRotation": (lambda x: RandomRotation(15)(x, np.random.default_rng(0)), BYTES),
    "RandomInvert": (lambda x: RandomInvert(1.0)(x, np.random.default_rng(0)), BYTES),
    "ToFloat": (lambda x: ToFloat()(x, None), BYTES),
    "Normalize": (lambda x: Normalize(0.5, 0.2)(x, None), FLOATS),
    "pad_images": (lambda x: pad_images(x, 10), BYTES),
    "Pictures.of": (Pictures.of, BYTES),
    "recognize": (lambda x: list(recognize(net(), x)), BYTES[0]),
    "measured": (lambda x: measured(net(), x, LABELS), BYTES),
    "train_validation_split": (lambda y: list(train_validation_split(y, 0.5, 0)), LABELS),
    "Parameter": (lambda a: Parameter(a).data, LOGITS),
}
ACCEPT_LISTS = {
    *("evaluate: labels", "DataLoader: labels", "fit: validation labels"),
    *("train_validation_split",),
}


class Sub(np.ndarray):
    pass


def frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=-1)[..., ::2]


SAME: dict[str, Callable[[np.ndarray], Any]] = {
    "not contiguous": strided,
    "Fortran": np.asfortranarray,
    "read-only": frozen,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "subclass": lambda a: a.view(Sub),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("name", CASES)
def test_the_layout_of_an_array_changes_no_number(name: str, kind: str) -> None:
    call, array = CASES[name]
    try:
        found = call(SAME[kind](array))
    except TypeError as error:
        assert kind == "big-endian"
        assert "x.astype('float32')" in str(error)  # noqa: PT017  the compiled step alone
        return
    expected = call(array.copy())
    if not isinstance(expected, (list, np.ndarray, np.generic, float)):
        assert found == expected
        return
    # float32, sums in another order
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_masked_array_is_refused(name: str, masked: bool) -> None:
    call, array = CASES[name]
    mask = np.zeros(array.shape, bool)
    mask.flat[0] = masked
    with pytest.raises(TypeError, match=r"mask|Mask"):
        call(np.ma.masked_array(array, mask=mask))


@pytest.mark.parametrize(
    "other", ["list", "list of arrays", "tuple", "None", "0-d", "number"], ids=str
)
@pytest.mark.parametrize("name", CASES)
def test_what_is_not_an_array_is_refused_in_words(name: str, other: str) -> None:
    call, array = CASES[name]
    given: Any = {
        "list": array.tolist(),
        "list of arrays": list(array),
        "tuple": tuple(array),
        "None": None,
        "0-d": np.array(array.flat[0]),
        "number": array.flat[0].item(),
    }[other]
    if name in ACCEPT_LISTS and other in ("list", "list of arrays", "tuple"):
        call(given)
        return
    if (name, other) in (("Parameter", "0-d"), ("CrossEntropyLoss: dlosses", "None")):
        return  # a parameter may be one number; None is the sum of the losses
    words = r"must be|takes|expected|holds|computes on|missing|shape|targets are|got"
    with pytest.raises((TypeError, ValueError), match=words) as error:
        call(given)
    source = error.traceback[-1].path
    assert "nplenet" in str(source)  # not from the depths of NumPy
    assert "has no attribute" not in str(error.value)


@pytest.mark.parametrize("dtype", ["bool", "uint64", "complex128", "object", "U8"])
@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_a_softmax_of_other_than_numbers_is_refused(function: Any, dtype: str) -> None:
    with pytest.raises(TypeError, match=r"takes floats|expected"):
        function(np.ones((2, 3)).astype(dtype))


@pytest.mark.parametrize("dtype", ["bool", "int64", "complex128", "float16", "object"])
@pytest.mark.parametrize("layer", [Dense(3, 3, rng=0), BatchNorm2d(1)])
def test_a_gradient_of_another_dtype_is_refused(layer: Any, dtype: str) -> None:
    x = LOGITS if isinstance(layer, Dense) else FLOATS
    y = layer(x)
    with pytest.raises(TypeError, match="dy must be float32 or float64, got numpy"):
        layer.backward(y.astype(dtype))
    layer.backward(y)  # the forward still counts


def test_images_and_labels_that_do_not_match_are_named() -> None:
    with pytest.raises(ValueError, match="evaluate: got 6 images but 5 labels"):
        evaluate(net(), FLOATS, LABELS[:5])
    with pytest.raises(ValueError, match="fit: got 6 validation images but 5 labels"):
        trained(FLOATS, LABELS, (FLOATS, LABELS[:5]))
    with pytest.raises(TypeError, match=r"fit: validation must be \(images, labels\)"):
        trained(FLOATS, LABELS, FLOATS)


def test_trust_is_measured_and_judged_of_sound_numbers_only() -> None:
    with pytest.raises(ValueError, match=r"measured: a label lies outside 0\.\.2"):
        measured(net(), BYTES, LABELS - 1)  # -1 would count for the last class
    assert judged([0.25, 0.75], None).answer == 1  # type: ignore[arg-type]
    for wrong in ([], [np.nan, 1.0], [[0.5, 0.5]], 0.5):
        with pytest.raises(ValueError, match="judged: takes one probability per class"):
            judged(np.array(wrong), None)


def test_an_idx_file_of_a_masked_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="write_idx: array must not be masked"):
        write_idx(tmp_path / "x.idx", np.ma.masked_array(BYTES))
    assert not any(tmp_path.iterdir())


def test_the_cure_for_masked_targets_keeps_their_mask_in_mind() -> None:
    # ``asarray(targets)``, which the error named, drops the mask, and what is masked counts.
    targets = np.ma.masked_equal(np.arange(3), 1)
    with pytest.raises(TypeError, match=r"targets must not be masked; give it values"):
        CrossEntropyLoss()(np.zeros((3, 3), np.float32), targets)
