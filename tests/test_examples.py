"""The examples beside train_mnist.py, run as a reader would, print what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nplenet import load_model
from nplenet.checkpoint import DEFAULT_MODEL
from nplenet.data import load_digits, write_idx

ROOT = Path(__file__).parents[1]


def example(name: str, *arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_layer_of_ones_own_passes_its_gradient_check_and_learns(tmp_path: Path) -> None:
    text = example("own_layer.py", cwd=tmp_path)
    assert "beta" in text
    assert "failed" not in text.lower()
    accuracy = float(text.split("epoch   5")[1].split("accuracy")[1].split("%")[0])
    assert accuracy > 90


@pytest.mark.parametrize("form", ["folders", "idx"])
def test_training_on_images_of_ones_own(tmp_path: Path, form: str) -> None:
    images, labels = load_digits("train")
    images, labels = images[labels < 3][:150], labels[labels < 3][:150]
    if form == "idx":
        write_idx(tmp_path / "images.idx", images)
        write_idx(tmp_path / "labels.idx", labels)
    else:
        pillow = pytest.importorskip("PIL.Image")
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = tmp_path / f"class {label}"
            folder.mkdir(exist_ok=True)
            pillow.fromarray(image).save(folder / f"{number}.png")
    out = tmp_path.parent / f"{form}.safetensors"
    text = example("own_images.py", tmp_path, "--epochs", 8, "--output", out, cwd=tmp_path)
    assert float(text.split("held-out images: ")[1].split("%")[0]) > 80
    assert load_model(out)(np.zeros((1, 1, 32, 32), np.float32)).shape == (1, 3)


def test_the_bundled_network_learns_26_letters_by_its_dense_layers(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    draw = pytest.importorskip("PIL.ImageDraw")
    font = pytest.importorskip("PIL.ImageFont").load_default(size=22)
    rng = np.random.default_rng(0)
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        folder = tmp_path / "letters" / letter
        folder.mkdir(parents=True)
        for k in range(20):
            image = pillow.new("L", (32, 32), int(rng.integers(0, 30)))
            place = tuple(int(n) for n in rng.integers(12, 21, 2))
            draw.Draw(image).text(place, letter, fill=255, font=font, anchor="mm")
            image.save(folder / f"{k}.png")
    out = tmp_path / "letters.safetensors"
    text = example(
        "fine_tune.py", tmp_path / "letters", "--epochs", 12, "--output", out, cwd=tmp_path
    )
    assert "26 classes; accuracy on 52 held-out images" in text
    assert float(text.split("held-out images: ")[1].split("%")[0]) > 50  # chance is 4
    before, after = load_model(DEFAULT_MODEL).state_dict(), load_model(out).state_dict()
    assert after["classifier.7.weight"].shape == (26, 84)
    kept = [name for name in before if name.startswith("features.")]  # the statistics too
    assert len(kept) == 12
    for name in kept:
        np.testing.assert_array_equal(after[name], before[name])


def test_reading_a_pytorch_model(tmp_path: Path) -> None:
    path = ROOT / "tests" / "golden" / "interop" / "lenet5.pth"
    text = example("from_pytorch.py", path, cwd=tmp_path)
    assert "features.0.weight" in text
    assert text.count("is taken for") == 5
    assert (tmp_path / "copy.pth").exists()


def test_the_numbers_inside_a_prediction_agree_with_those_by_hand(tmp_path: Path) -> None:
    text = example("inside_a_prediction.py", "--number", 3, cwd=tmp_path)
    by_hand, found = (
        float(text.split(words)[1].split(",")[0].split("\n")[0])
        for words in ("the sum is ", "the layer says ")
    )
    assert by_hand == pytest.approx(found, abs=2e-5)
    assert "all 84 and the bias give the logit" in text


def test_a_residual_network_trains_and_is_saved(tmp_path: Path) -> None:
    arguments = ("--width", 4, "--epochs", 1, "--output", "small.safetensors")
    text = example("residual_network.py", *arguments, cwd=tmp_path)
    assert "3.0 Residual" in text
    assert "epoch   1" in text
    logits = load_model(tmp_path / "small.safetensors")(np.zeros((1, 3, 32, 32), np.float32))
    assert logits.shape == (1, 10)
