"""Evaluation sees the images as training does, without what is random; any number of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet import augment, page, plots
from nplenet.augment import (
    Compose,
    Normalize,
    RandomInvert,
    RandomRotation,
    ToFloat,
    UnknownPreprocessing,
    fuse,
)
from nplenet.backend import Backend
from nplenet.checkpoint import CheckpointFolder, load_model, save_model
from nplenet.checkpoint.record import preprocessing
from nplenet.data import DataLoader
from nplenet.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dense, Flatten, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss, cross_entropy
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam
from nplenet.recognize import recognize
from nplenet.train import evaluate, fit

IMAGES = np.random.default_rng(len("images")).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(60) % 3
NORMAL = Compose([ToFloat(), Normalize(0.3, 0.2)])


def small(classes: int = 3) -> Sequential:
    return Sequential(Flatten(), Dense(64, classes, rng=np.random.default_rng(1)))


def run(model: Any, transform: Any, images: Any = IMAGES, **more: Any) -> Any:
    loader = DataLoader(
        images, LABELS, 20, transform=transform, transform_rng=np.random.default_rng(0)
    )
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), 0.05)
    return fit(model, loss, optimizer, loader, epochs=1, progress=False, **more)


def mean_loss(logits: np.ndarray) -> float:
    fault = np.zeros(3, np.int64)
    return float(cross_entropy(np, logits, LABELS, 0.0, 1 / len(LABELS), fault, 1)[0])


def test_normalize_is_torchvisions() -> None:
    x = np.array([[[[0.0, 0.5]], [[1.0, 0.25]]]], np.float32)
    found = Normalize((0.5, 0.25), (0.5, 2.0))(x)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[[[-1.0, 0.0]], [[0.375, 0.0]]]])
    assert repr(Normalize(0.1307, np.float32(0.5))) == "Normalize(mean=(0.1307,), std=(0.5,))"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((0.0, 0.0), ValueError), (((0, 0), (1, 1, 1)), ValueError), (("a", 1), TypeError),
     (((), 1), TypeError), ((np.nan, 1), ValueError)],
)  # fmt: skip
def test_a_mean_or_deviation_that_fits_no_image_is_refused(arguments: Any, error: type) -> None:
    with pytest.raises(error, match="Normalize: "):
        Normalize(*arguments)


def test_normalize_names_bytes_and_channels_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match=r"Normalize: takes floats .* put ToFloat before it"):
        Normalize(0, 1)(IMAGES)
    with pytest.raises(ValueError, match="std is of 3 channels, the images have 1"):
        Normalize(0, (1, 2, 3))(ToFloat()(IMAGES))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_fused_pipeline_normalises_to_the_same_bits(backend: Backend, channels: int) -> None:
    images = np.random.default_rng(len("fused")).integers(
        0, 256, (9, channels, 8, 8), dtype=np.uint8
    )
    normal = Normalize([0.3, 0.2, 0.1][:channels], 0.7)
    transform = Compose([*augment.standard_augmentation().transforms, normal])
    expected = transform(images, np.random.default_rng(5))
    pipeline = fuse(transform)
    assert pipeline is not None
    draws = pipeline.draw([9], np.random.default_rng(5), 8, 8)
    indexes = backend.asarray(np.arange(9, dtype=np.int32))
    found = pipeline.apply(backend.asarray(images), indexes, draws.to(backend))
    np.testing.assert_array_equal(backend.to_numpy(found), expected, strict=True)


@pytest.mark.parametrize("way", ["compiled", "captured", "textbook"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_run_on_normalised_images_is_the_same_whoever_normalises_them(
    backend: Backend, way: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused into the loading of bytes, or by a function of which the library knows nothing."""
    images = np.random.default_rng(len("run")).integers(
        0, 256, (60, channels, 8, 8), dtype=np.uint8
    )
    normal = Compose([RandomInvert(0.5), ToFloat(), Normalize(0.3, 0.2)])

    def function(images: Any, rng: Any) -> Any:
        return normal(images, rng)

    function.random = True  # type: ignore[attr-defined]
    if way == "captured":
        monkeypatch.setattr("nplenet.compiled.cuda.step.why_not_fused", lambda *_: "so it is")
    found = []
    for transform in (normal, function):
        rng = np.random.default_rng(1)
        model = Sequential(
            Conv2d(channels, 2, 3, rng=rng), ReLU(), Flatten(), Dense(72, 3, rng=rng)
        )
        model.to(backend)
        loader = DataLoader(
            images, LABELS, 20, transform=transform, transform_rng=np.random.default_rng(0)
        ).to(backend)
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), 0.05)
        old: dict[str, Any] = {"step": eager(model, loss, optimizer)} if way == "textbook" else {}
        history = fit(model, loss, optimizer, loader, epochs=2, progress=False, **old)
        found.append((history.epochs[-1].loss, model.state_dict()["3.weight"]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)  # float32, other order of sums
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0, atol=1e-6)


def eager(model: Any, loss: Any, optimizer: Any) -> Any:
    from nplenet.compiled import TextbookStep

    return TextbookStep(model, loss, optimizer, 20, "")


def test_validation_gets_what_of_the_loaders_transform_is_not_random(backend: Backend) -> None:
    random = Compose([RandomRotation(15), RandomInvert(0.5), ToFloat(), Normalize(0.3, 0.2)])
    model = small().to(backend)
    history = run(model, random, validation=(IMAGES, LABELS))
    logits = model.eval()(backend.asarray(NORMAL(IMAGES)))
    assert history.epochs[-1].validation_loss == pytest.approx(
        mean_loss(backend.to_numpy(logits)), rel=1e-6
    )
    assert evaluate(model, IMAGES, LABELS).loss == history.epochs[-1].validation_loss


def test_a_function_that_says_whether_it_is_random_is_applied_or_left_out() -> None:
    def scale(images: Any, rng: Any) -> Any:
        return (images / 100).astype(np.float32)

    def noise(images: Any, rng: Any) -> Any:
        return images + rng.random(images.shape, np.float32)

    scale.random, noise.random = False, True  # type: ignore[attr-defined]
    model = small()
    history = run(model, Compose([scale, noise]), validation=(IMAGES, LABELS))
    expected = mean_loss(model.eval()(scale(IMAGES, None)))
    assert history.epochs[-1].validation_loss == pytest.approx(expected, rel=1e-6)


def test_a_transform_without_the_attribute_random_is_refused_before_the_first_step() -> None:
    def norm(images: Any, rng: Any) -> Any:
        return ((images / 255 - 0.3) / 0.2).astype(np.float32)

    model = small()
    before = model.state_dict()["1.weight"]
    with pytest.raises(
        ValueError, match=r"fit: .*norm.* has no attribute random: pass validation_t"
    ):
        run(model, norm, validation=(IMAGES, LABELS))
    np.testing.assert_array_equal(model.state_dict()["1.weight"], before)
    history = run(model, norm, validation=(IMAGES, LABELS), validation_transform=norm)
    expected = mean_loss(model.eval()(norm(IMAGES, None)))
    assert history.epochs[-1].validation_loss == pytest.approx(expected, rel=1e-6)
    run(model, norm)  # without validation nothing need be known, but then:
    with pytest.raises(ValueError, match=r"trained with a transform .* pass transform="):
        evaluate(model, IMAGES, LABELS)
    assert evaluate(model, IMAGES, LABELS, transform=norm).loss > 0


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_images_without_a_transform_are_evaluated_as_the_step_takes_them(dtype: Any) -> None:
    images = IMAGES if dtype == np.uint8 else NORMAL(IMAGES)
    floats = ToFloat()(IMAGES) if dtype == np.uint8 else images
    model = small()
    history = run(model, None, images, validation=(images, LABELS))
    expected = mean_loss(model.eval()(floats))
    assert history.epochs[-1].validation_loss == pytest.approx(expected, rel=1e-6)
    assert evaluate(model, images, LABELS).loss == pytest.approx(expected, rel=1e-6)


def test_a_saved_model_and_a_checkpoint_hold_what_their_images_get(tmp_path: Path) -> None:
    model = small()
    run(model, NORMAL, checkpoints=CheckpointFolder(tmp_path))
    save_model(model, tmp_path / "model.safetensors")
    expected = evaluate(model, IMAGES, LABELS)
    for name in ("model", "checkpoint"):
        loaded = load_model(tmp_path / f"{name}.safetensors")
        assert repr(loaded.preprocessing) == repr(NORMAL).replace("float32", "float32")
        assert evaluate(loaded, IMAGES, LABELS) == expected


def test_a_file_whose_preprocessing_it_cannot_hold_says_so_when_it_is_evaluated(
    tmp_path: Path,
) -> None:
    model = small()

    def half(images: Any, rng: Any) -> Any:
        return (images / 510).astype(np.float32)

    run(model, half, checkpoints=CheckpointFolder(tmp_path))
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors was trained .* file can't hold"):
        evaluate(load_model(tmp_path / "checkpoint.safetensors"), IMAGES, LABELS)


def test_recognize_the_plots_and_the_page_apply_it() -> None:
    model = LeNet5(seed=0)
    image = np.random.default_rng(len("digit")).integers(0, 256, (32, 32), dtype=np.uint8)
    plain = recognize(model, image).probabilities
    model.preprocessing = NORMAL
    logits = model.eval()(NORMAL(image[None, None]))[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(recognize(model, image).probabilities, expected, rtol=1e-5)
    assert np.abs(plain - expected).max() > 1e-3
    np.testing.assert_array_equal(plots.network.outputs(model, image[None, None])[0], logits)
    assert '"mean":0.3,"std":0.2' in page.render(model)
    model.preprocessing = UnknownPreprocessing("a transform of your own")
    with pytest.raises(ValueError, match=r"the page gives .* 0 to 1, .* takes .*of your own"):
        page.render(model)


# ------------------------------------------------------------------ classes


@pytest.mark.parametrize("classes", [2, 3, 26])
def test_the_number_of_classes_is_that_of_the_logits(backend: Backend, classes: int) -> None:
    model = small(classes).to(backend)
    labels = np.arange(60) % classes
    loader = DataLoader(IMAGES, labels, 20, transform=ToFloat()).to(backend)
    loss, optimizer = CrossEntropyLoss(), Adam(model.parameters())
    history = fit(
        model, loss, optimizer, loader, epochs=1, validation=(IMAGES, labels), progress=False
    )
    table = np.array(evaluate(model, IMAGES, labels, batch_size=25).confusion)
    assert table.shape == (classes, classes)
    np.testing.assert_array_equal(table.sum(axis=1), np.bincount(labels, minlength=classes))
    assert np.trace(table) / 60 == history.epochs[0].validation_accuracy


def test_labels_beyond_the_models_classes_are_named_before_the_first_step() -> None:
    model = small()
    labels = LABELS.copy()
    labels[7] = 3
    loader = DataLoader(IMAGES, labels, 20, transform=ToFloat())
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters())
    before = model.state_dict()["1.weight"]
    message = "fit: label 3 of training image 7 lies outside 0..2: the model has 3 classes"
    with pytest.raises(ValueError, match=message):
        fit(model, loss, optimizer, loader, epochs=1, progress=False)
    good = DataLoader(IMAGES, LABELS, 20, transform=ToFloat())
    with pytest.raises(ValueError, match="fit: label 3 of validation image 7 lies outside"):
        fit(model, loss, optimizer, good, epochs=1, validation=(IMAGES, labels), progress=False)
    with pytest.raises(ValueError, match=r"evaluate: label 3 of image 7 lies outside 0\.\.2"):
        evaluate(model, IMAGES, labels)
    np.testing.assert_array_equal(model.state_dict()["1.weight"], before)


# ------------------------------------------------------------------ the parts of a run


def test_an_optimizer_of_another_model_is_refused() -> None:
    loader = DataLoader(IMAGES, LABELS, 20, transform=ToFloat())
    with pytest.raises(ValueError, match=r"no parameter of this model: .* model\.parameters"):
        fit(small(), CrossEntropyLoss(), SGD(small().parameters()), loader, epochs=1)


@pytest.mark.parametrize(
    "model",
    [Sequential(Flatten(), Dense(64, 3), BatchNorm1d(3)),
     Sequential(Conv2d(1, 2, 8), BatchNorm2d(2), Flatten(), Dense(2, 3))],
    ids=["features", "images of one pixel"],
)  # fmt: skip
def test_a_last_batch_of_one_is_refused_before_the_first_step_where_a_batch_norm_trains(
    model: Sequential,
) -> None:
    before = {k: v.copy() for k, v in model.state_dict().items()}

    def train(size: int, drop_last: bool = False) -> None:
        loader = DataLoader(IMAGES, LABELS, size, transform=ToFloat(), drop_last=drop_last)
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters())
        fit(model, loss, optimizer, loader, epochs=1, progress=False)

    with pytest.raises(
        ValueError, match=r"fit: a batch has 1 image, but BatchNorm.*drop_last=True"
    ):
        train(59)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    train(59, drop_last=True)
    train(30)


def test_validation_images_that_the_model_cannot_take_are_named_before_the_first_step() -> None:
    model = small()
    before = model.state_dict()["1.weight"]
    with pytest.raises(ValueError, match=r"validation images \(float32 .*can't be preprocessed"):
        run(model, ToFloat(), validation=(ToFloat()(IMAGES), LABELS))
    with pytest.raises(ValueError, match="but not the validation images"):
        run(model, ToFloat(), validation=(IMAGES[:, :, :7], LABELS))
    np.testing.assert_array_equal(model.state_dict()["1.weight"], before)


@pytest.mark.parametrize("first", ["training", "validation"])
def test_bytes_beside_floats_of_another_range_are_named_in_a_warning(first: str) -> None:
    """The bytes become 0 ... 1: a loss of validation images up to 255 says nothing."""
    other = IMAGES.astype(np.float32)

    def train(floats: np.ndarray) -> None:
        pair = (IMAGES, floats) if first == "training" else (floats, IMAGES)
        run(small(), None, pair[0], validation=(pair[1], LABELS))

    train(ToFloat()(IMAGES))
    words = rf"fit: the {first} images are uint8, .* images are float32 from 0 to 25\d: make them"
    with pytest.warns(UserWarning, match=words):
        train(other)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([{"type": "ToFloat"}] * 17, "at most 16 transforms, got 17"),
        ([{"type": "Normalize", "mean": [0.5] * 1001, "std": 1}], r"\[0\].mean must have at most"),
        ([{"type": "ToFloat", "dtype": "float128"}], r"\[0\].dtype must be one of"),
    ],
)
def test_a_preprocessing_that_no_image_needs_is_refused(parts: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        preprocessing(parts, "preprocessing")


def test_a_preprocessing_that_does_not_take_the_images_is_an_error_of_the_file() -> None:
    model = small()
    model.preprocessing = Normalize(0.5, 0.25)  # of floats
    with pytest.raises(ValueError, match="the model's preprocessing refuses these images"):
        evaluate(model, IMAGES, np.zeros(len(IMAGES), int))


def test_fewer_images_of_which_a_layer_makes_much_are_evaluated_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    class Noting(Flatten):
        def forward(self, x: Any) -> Any:
            sizes.append(len(x))
            return super().forward(x)

    model = Sequential(Noting(), Dense(64, 3, rng=1))
    whole = evaluate(model, IMAGES, LABELS)
    monkeypatch.setattr("nplenet.train.evaluation.MAX_NUMBERS", 64 * 25)
    parts = evaluate(model, IMAGES, LABELS)
    assert sizes == [60, 25, 25, 10]
    assert parts.confusion == whole.confusion
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
