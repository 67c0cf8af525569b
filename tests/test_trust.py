"""How far an answer can be trusted: what is measured, what is said, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import DEFAULT_MODEL, CheckpointError, load_model, save_model
from nplenet.checkpoint.file import read_file, write_file
from nplenet.data import DataLoader, MissingDataError, load_mnist, pad_images
from nplenet.layers import Dense, Flatten, Layer, Sequential
from nplenet.losses import CrossEntropyLoss, softmax
from nplenet.models import LeNet5
from nplenet.optim import SGD
from nplenet.recognize import prepare, recognize
from nplenet.train import evaluate, fit
from nplenet.trust import Trust, calibrated, calibration_error, judged, measured

pytest.importorskip("PIL", reason="drawing needs Pillow")

TRUST = Trust(0.5, 0.6, 1000, 0.01, 0.995)
DIGIT = np.zeros((32, 32), np.uint8)
DIGIT[6:26, 15:18] = 255


@pytest.fixture(scope="module")
def drawn() -> Any:
    """The module that draws what the bundled model was trained on; here with another seed."""
    folder = str(Path(__file__).parents[1] / "tools")
    sys.path.append(folder)
    try:
        import drawn
    finally:
        sys.path.remove(folder)
    return drawn


@pytest.fixture(scope="module")
def bundled() -> Layer:
    return load_model(DEFAULT_MODEL)


# ------------------------------------------------------------------ what is said


def test_logits_are_divided_by_the_temperature() -> None:
    logits = np.array([[0.0, 1.0, 3.0]], np.float32)
    found = calibrated(logits, TRUST)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(2 * logits), rtol=1e-6)
    np.testing.assert_array_equal(calibrated(logits, None), softmax(logits))


@pytest.mark.parametrize(
    ("probabilities", "trust", "expected"),
    [
        ([0.1, 0.6, 0.3], TRUST, (1, 0.6, True, "")),
        ([0.1, 0.6, 0.3], None, (1, 0.6, None, "")),
        ([0.0, 0.5, 0.5], TRUST, (1, 0.5, False, "between 1 and 2")),
        ([0.4, 0.25, 0.35], TRUST, (0, 0.4, False, "unlike the digits it was trained on")),
    ],
)
def test_an_answer_below_the_least_probability_is_unsure(
    probabilities: list[float], trust: Trust | None, expected: tuple[Any, ...]
) -> None:
    assert judged(np.array(probabilities), trust) == expected


def test_the_reason_names_the_classes() -> None:
    cats = np.array([0.5, 0.4, 0.1])
    assert judged(cats, TRUST, names=["lion", "lynx", "cat"]).reason == "between lion and lynx"
    flat = judged(np.full(3, 1 / 3), TRUST, names=["lion", "lynx", "cat"])
    assert flat.reason == "unlike the images it was trained on"


Spot = tuple[slice, slice, int]


@pytest.mark.parametrize(
    ("spots", "fact"),
    [
        ([], ""),
        ([(slice(6, 12), slice(22, 26), 255)], "two parts; "),
        ([(slice(6, 8), slice(22, 24), 255)], ""),  # a speck
        ([(slice(6, 26), slice(10, 20), 255)], "thick or filled in; "),
        ([(slice(6, 26), slice(15, 18), 180)], "faint or blurred; "),
    ],
)
def test_the_reason_says_what_is_unusual_about_the_picture(spots: list[Spot], fact: str) -> None:
    image = DIGIT.copy()
    for rows, columns, value in spots:
        image[rows, columns] = value
    reason = judged(np.full(10, 0.1), TRUST, image).reason
    assert reason == f"{fact}unlike the digits it was trained on"
    assert judged(np.eye(10)[3], TRUST, image).reason == ""  # a sure answer needs none


def test_a_1_with_a_dot_is_unsure() -> None:
    dotted = DIGIT.copy()
    dotted[2:4, 15:18] = 255  # a tenth of the stroke
    one, seven = np.eye(10)[1], np.eye(10)[7]
    assert judged(one, TRUST, DIGIT) == (1, 1.0, True, "")
    assert judged(one, TRUST, dotted) == (1, 1.0, False, "a 1 in two parts, such as an i")
    assert judged(seven, TRUST, dotted).sure
    assert judged(one, TRUST).sure
    assert judged(one, TRUST, dotted, names=list("abcdefghij")).sure
    dotted[2:4, 15:18] = 0
    dotted[2, 15:17] = 255  # a speck
    assert judged(one, TRUST, dotted).sure


def test_parts_that_touch_at_a_corner_are_one() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[4:14, 4:14] = image[14:24, 14:24] = 255
    unsure = np.full(10, 0.1)
    assert "parts" not in judged(unsure, TRUST, image).reason
    image[13, 13] = 0
    assert judged(unsure, TRUST, image).reason.startswith("two parts; ")
    assert judged(unsure, TRUST, np.zeros((32, 32), np.uint8)).reason.startswith("no ink; ")


def test_the_remark_stands_behind_the_answer() -> None:
    assert judged(np.array([0.1, 0.9]), TRUST).remark == " (90.0%, sure)"
    assert judged(np.array([0.5, 0.5]), TRUST).remark == " (50.0%, unsure: between 0 and 1)"
    assert judged(np.array([0.5, 0.5]), None).remark == ""


# ------------------------------------------------------------------ what is measured


class Logits(Layer):
    """Reads its logits from the first pixels of an image: byte b means b / 32 - 4."""

    def forward(self, x: Any) -> Any:
        return x[:, 0, 0, :3] * np.float32(255 / 32) - np.float32(4)


def test_the_temperature_of_a_model_that_is_too_sure_is_found() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8_000, 1, 1, 3), dtype=np.uint8)
    true = softmax((images[:, 0, 0] / 32 - 4) / 3)  # its logits are three times too large
    labels = (rng.random((8_000, 1)) > true.cumsum(axis=1)).sum(axis=1)
    trust = measured(Logits(), images, labels, refused=0.1)
    assert trust.temperature == pytest.approx(3, rel=0.08)
    assert trust.images == 8_000
    assert trust.unsure == pytest.approx(0.1, abs=0.005)
    found = calibrated(images[:, 0, 0] / 32.0 - 4, trust)
    sure = found.max(axis=1) >= trust.least_probability
    right = found.argmax(axis=1) == labels
    assert trust.right_when_sure == pytest.approx(right[sure].mean(), abs=1e-3)
    assert calibration_error(found, labels) < 0.02 < calibration_error(softmax(found), labels)


def test_the_calibration_error_is_the_mean_distance_over_bins() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 1])
    # Two answers of 0.9, one right: 0.4 apart. Two in the bin 0.5 to 0.6, both right: 0.425 apart.
    assert calibration_error(probabilities, labels, bins=2) == pytest.approx(
        abs(0.9 + 0.9 + 0.6 + 0.55 - 3) / 4
    )
    assert calibration_error(probabilities, labels, bins=4) == pytest.approx((0.8 + 0.85) / 4)


def test_images_and_labels_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="got 3 images and 5 labels"):
        measured(Logits(), np.zeros((3, 1, 1, 3), np.uint8), np.zeros(5, int))
    with pytest.raises(ValueError, match="N >= 1"):
        measured(Logits(), np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, int))


# ------------------------------------------------------------------ in files


def test_a_file_holds_the_trust_of_a_model(tmp_path: Path) -> None:
    model = LeNet5(seed=0)
    save_model(model, tmp_path / "plain.safetensors")
    assert load_model(tmp_path / "plain.safetensors").trust is None
    model.trust = TRUST
    save_model(model, tmp_path / "trusted.safetensors")
    assert load_model(tmp_path / "trusted.safetensors").trust == TRUST


@pytest.mark.parametrize("field", [{"temperature": 0}, {"images": "many"}, {"unsure": 1.5}])
def test_a_trust_that_makes_no_sense_is_refused(tmp_path: Path, field: dict[str, Any]) -> None:
    path = tmp_path / "model.safetensors"
    save_model(LeNet5(seed=0), path)
    file = read_file(path)
    write_file(path, file.tensors, file.record | {"trust": TRUST.as_record() | field})
    with pytest.raises(CheckpointError, match=rf"in its record trust\.{next(iter(field))}"):
        load_model(path)
    write_file(path, file.tensors, file.record | {"trust": TRUST.as_record() | {"later": 1}})
    assert load_model(path).trust == TRUST


def test_new_weights_have_no_trust_yet() -> None:
    model = Sequential(Flatten(), Dense(4, 2, rng=np.random.default_rng(0)))
    model.trust = TRUST
    model.load_state_dict(model.state_dict())
    assert model.trust is None
    model.trust = TRUST
    loader = DataLoader(np.zeros((4, 1, 2, 2), np.uint8), np.arange(4) % 2, 2)
    optimizer = SGD(model.parameters(), 0.1)
    fit(model, CrossEntropyLoss(), optimizer, loader, epochs=1, progress=False)
    assert model.trust is None


# ------------------------------------------------------------------ the bundled model


@pytest.mark.parametrize(("kind", "digit"), [("European 1", 1), ("printed 1", 1), ("crossed 7", 7)])
def test_ones_and_sevens_of_europe_are_read(
    bundled: Layer, drawn: Any, kind: str, digit: int
) -> None:
    images = drawn.drawn(kind, 100, seed=1)
    found = evaluate(bundled, images, np.full(100, digit))
    print(f"{kind}: {found.accuracy:.0%} of 100")
    assert found.accuracy >= 0.9


def test_most_of_what_is_not_a_digit_is_refused(bundled: Layer, drawn: Any) -> None:
    refused = {}
    for kind in ("letter", "scribble", "figure", "blot"):
        images = drawn.drawn(kind, 50, seed=1)
        rows = calibrated(bundled(images / np.float32(255)), bundled.trust)
        refused[kind] = np.mean([judged(row, bundled.trust).sure is False for row in rows])
    print(f"refused: {refused}")
    assert min(refused.values()) >= 0.7  # some scribbles look like a 1, a 3 or an 8
    assert np.mean(list(refused.values())) >= 0.85


def test_mnists_digits_are_not_refused_and_are_calibrated(bundled: Layer) -> None:
    try:
        images, labels = load_mnist(split="test", download=False)
    except MissingDataError as error:
        pytest.skip(str(error))
    rows = calibrated(bundled(pad_images(images[:1000]) / np.float32(255)), bundled.trust)
    unsure = np.mean([judged(row, bundled.trust).sure is False for row in rows])
    assert unsure <= 0.01
    assert (rows.argmax(axis=1) == labels[:1000]).mean() >= 0.985
    assert calibration_error(rows, labels[:1000]) <= 0.01


def pictures(folder: Path, drawn: Any) -> tuple[str, str]:
    """Write a picture of a 1 and one of a letter."""
    from PIL import Image

    rng = np.random.default_rng(0)
    letter = drawn.strokes.sheet(drawn.strokes.LETTERS["M"], rng)
    one = drawn.strokes.sheet([[(0.5, 0), (0.5, 1)]], rng)
    for name, sheet in (("one.png", one), ("letter.png", letter)):
        Image.fromarray(sheet).save(folder / name)
    return str(folder / "one.png"), str(folder / "letter.png")


def test_predict_says_how_sure_it_is_and_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: Any
) -> None:
    one, letter = pictures(tmp_path, drawn)
    assert main(["predict", "default", one, letter, "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["digit"], first["trust"], first["reason"]) == (1, "sure", "")
    assert first["probability"] == pytest.approx(max(first["probabilities"]))
    assert second["trust"] == "unsure"
    assert second["reason"]
    assert main(["predict", "default", one, letter]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{one}: 1 ({first['probability']:.1%}, sure)" in lines
    assert lines[-1].endswith(f"({second['probability']:.1%}, unsure: {second['reason']})")


def test_a_model_without_trust_says_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: Any, bundled: Layer
) -> None:
    one, _ = pictures(tmp_path, drawn)
    plain = load_model(DEFAULT_MODEL)
    plain.trust = None
    path = str(tmp_path / "plain.safetensors")
    save_model(plain, path)
    assert main(["predict", path, one, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trust"], found["reason"]) == (None, "")
    assert main(["predict", path, one]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{one}: 1"
    image = prepare(np.rot90(np.eye(60, dtype=np.uint8) * 255))
    assert recognize(plain, image).probabilities != pytest.approx(
        recognize(bundled, image).probabilities
    )


def test_info_shows_the_trust(capsys: pytest.CaptureFixture[str], bundled: Layer) -> None:
    assert main(["info", "default"]) == 0
    assert f"trust: {bundled.trust}" in capsys.readouterr().out
