"""A model knows how its images were made: it reads new pictures as training did."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet import load_model, save_model
from nplenet.__main__ import main
from nplenet.augment import Compose, Normalize, ToFloat
from nplenet.checkpoint import CheckpointError, load
from nplenet.checkpoint.file import write_file
from nplenet.data import (
    DataError,
    DataLoader,
    Pictures,
    from_folder,
    load_dataset,
    load_digits,
    pad_images,
)
from nplenet.data.pictures import DARK, LIGHT
from nplenet.layers import Dense, Flatten, Layer, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5, LeNet5For28x28
from nplenet.optim import SGD
from nplenet.train import fit

ROOT = Path(__file__).parents[1]
LETTERS = "ABCDEFGHIJ"
WHITE_PAPER = {"classes": ["a", "b", "c"], "kind": "whole", "polarity": DARK, "size": [32, 32]}


def letters(folder: Path, count: int) -> list[Path]:
    """Write pictures of ten letters on three kinds of paper, ``count`` each; return the paths."""
    pillow = pytest.importorskip("PIL.Image")
    draw = pytest.importorskip("PIL.ImageDraw")
    font = pytest.importorskip("PIL.ImageFont").load_default(size=60)
    rng = np.random.default_rng(0)

    def blank(kind: int) -> tuple[Any, Any]:
        light, dark = int(rng.integers(200, 255)), int(rng.integers(0, 60))
        if kind == 0:
            return pillow.new("L", (100, 80), light), dark
        if kind == 1:
            return pillow.new("RGB", (90, 120), (light, 90 + dark, light - dark)), (dark, 0, 40)
        return pillow.new("RGBA", (100, 100)), (dark, dark, dark, 255)  # transparent

    paths = []
    for letter in LETTERS:
        (folder / letter).mkdir(parents=True)
        for k in range(count):
            image, ink = blank(k % 3)
            place = [side / 2 + int(rng.integers(-8, 9)) for side in image.size]
            draw.Draw(image).text(place, letter, fill=ink, font=font, anchor="mm")
            paths.append(folder / letter / f"{k}.png")
            image.save(paths[-1])
    return paths


def predicted(model: Path, pictures: list[Path], capsys: Any, *options: str) -> list[str]:
    """Return the classes that ``nplenet predict`` names."""
    capsys.readouterr()
    assert main(["predict", str(model), *map(str, pictures), "--json", *options]) == 0
    return [json.loads(line)["class"] for line in capsys.readouterr().out.splitlines()]


# ------------------------------------------------------------------ the example


def test_a_model_of_own_images_is_right_on_its_own_training_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Grey, coloured and transparent, dark on light, of three sizes: none is like MNIST."""
    paths = letters(tmp_path / "letters", 10)
    model = tmp_path / "letters.safetensors"
    train = runpy.run_path(str(ROOT / "examples" / "own_images.py"))["main"]
    train([str(tmp_path / "letters"), "--output", str(model)])
    found = predicted(model, paths, capsys)
    assert sum(name == path.parent.name for name, path in zip(found, paths, strict=True)) >= 95
    assert load(model).record["pictures"] == {
        "kind": "whole",
        "size": [32, 32],
        "polarity": DARK,
        "classes": list(LETTERS),
    }


def test_one_image_a_class_trains_and_a_missing_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters(tmp_path / "few", 1)
    train = runpy.run_path(str(ROOT / "examples" / "own_images.py"))["main"]
    for path in (tmp_path / "few").iterdir():
        if path.name not in "AB":
            (path / "0.png").unlink()
            path.rmdir()
    train([str(tmp_path / "few"), "--epochs", "1"])
    assert "2 images to train, 0 held out, classes: A, B" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        train([str(tmp_path / "none")])
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: no such folder; check the path\n"


# ------------------------------------------------------------------ what is measured, and read


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.full((5, 20, 30), 200, np.uint8), Pictures("whole", (20, 30), DARK)),
        (np.zeros((5, 3, 8, 8), np.uint8), Pictures("whole", (8, 8), None)),
        (
            np.stack([np.zeros((9, 9)), np.full((9, 9), 255)]).astype("u1"),
            Pictures("whole", (9, 9)),
        ),
        (load_digits("train")[0], Pictures("whole", (32, 32), LIGHT)),
    ],
)
def test_size_and_polarity_are_measured(images: np.ndarray, expected: Pictures) -> None:
    assert Pictures.of(images) == expected


@pytest.mark.parametrize("inverted", [False, True])
def test_images_in_the_form_of_mnist_are_known_as_such(inverted: bool) -> None:
    """A stroke 20 pixels long in the middle, as MNIST's digits have."""
    image = np.zeros((30, 28, 28), np.uint8)
    image[:, 4:24, 12:16] = 250
    images = 255 - image if inverted else image
    assert Pictures.of(images) == Pictures("digit", (28, 28), DARK if inverted else LIGHT)
    assert Pictures.of(np.roll(images, 6, axis=2)).kind == "whole"
    assert Pictures.of(images, kind="whole").kind == "whole"


def test_a_picture_is_shrunk_padded_and_inverted_as_training_did(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path, grey = tmp_path / "a.png", np.full((56, 56), 240, np.uint8)
    grey[20:30] = 10
    pillow.fromarray(grey).save(path)
    shrunk = np.asarray(pillow.fromarray(grey).resize((28, 28), pillow.Resampling.BILINEAR))
    shape = (1, 1, 32, 32)
    as_trained = Pictures("whole", (28, 28)).read(path, shape)
    np.testing.assert_array_equal(as_trained, pad_images(shrunk[None])[0])
    whole = Pictures("whole", (32, 32), DARK).read(path, shape)
    np.testing.assert_array_equal(Pictures("whole", (32, 32), LIGHT).read(path, shape), 255 - whole)
    assert Pictures("whole").read(path, (1, 3, 20, 24)).shape == (3, 20, 24)
    with pytest.raises(ValueError, match="pictures have 28 x 28 pixels, its input 20 x 20"):
        Pictures("whole", (28, 28)).read(path, (1, 1, 20, 20))
    with pytest.raises(DataError, match="found no file"):
        Pictures("whole").read(tmp_path / "b.png", shape)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "photo"}, "kind must be one of"),
        ({"polarity": "dark"}, "polarity must be one of"),
        ({"size": (0, 3)}, "size must be at least 1"),
        ({"classes": [str(k) for k in range(1001)]}, "at most 1000 classes, got 1001"),
    ],
)
def test_pictures_without_sense_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Pictures(**arguments)


def test_names_that_are_not_strings_are_refused() -> None:
    for names in ("abc", [1, 2]):
        with pytest.raises(TypeError, match="classes must be strings"):
            Pictures(classes=names)  # type: ignore[arg-type]


def test_what_a_training_loop_can_tell_of_its_images_is_noted_and_saved(tmp_path: Path) -> None:
    def trained(images: np.ndarray, known: Pictures | None = None) -> Layer:
        model = Sequential(Flatten(), Dense(images[0].size, 2, rng=0))
        model.pictures = known
        loader = DataLoader(images, np.arange(len(images)) % 2, 4, rng=0, transform=ToFloat())
        fit(model, CrossEntropyLoss(), SGD(model.parameters(), 0.01), loader, epochs=1)
        return model

    colour = np.random.default_rng(0).integers(0, 255, (8, 3, 10, 12)).astype(np.uint8)
    model = trained(colour)
    assert model.pictures == Pictures("whole", (10, 12))
    save_model(model, tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors").input_shape == (3, 10, 12)
    own = Pictures("digit", (8, 8), LIGHT, ("x", "y"))
    assert trained(colour, own).pictures == own
    light_on_dark = np.zeros((8, 1, 10, 12), np.uint8)
    assert trained(255 - light_on_dark).pictures == Pictures("whole", (10, 12), DARK)
    assert trained(light_on_dark).pictures is None  # may be digits as well as whole pictures


# ------------------------------------------------------------------ files


def test_a_file_keeps_what_a_model_knows(tmp_path: Path) -> None:
    path, known = tmp_path / "m.safetensors", Pictures("whole", (28, 28), DARK, ("x", "y"))
    model = LeNet5(2, seed=0)
    model.pictures = known
    model.preprocessing = Compose([ToFloat(), Normalize(0.25, 0.5)])
    save_model(model, path)
    again = load_model(path)
    assert again.pictures == known
    save_model(again, path)
    assert load_model(path).pictures == known
    model.pictures = ("x", "y")
    with pytest.raises(TypeError, match=r"model\.pictures must be nplenet\.data\.Pictures"):
        save_model(model, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "photo"}, "pictures.kind must be one of"),
        ({"polarity": 1}, "pictures.polarity must be one of"),
        ({"size": [32]}, "pictures.size must be a list of at least 2"),
        ({"size": [32, 32, 3]}, "pictures.size must be a height and a width"),
        ({"size": [32, 10**6]}, r"pictures.size\[1\] must be an integer"),
        ({"classes": "abc"}, "pictures.classes must be a list"),
        ({"classes": [["a"]]}, r"pictures.classes\[0\] must be a text"),
        ({"classes": ["a"] * 1001}, "pictures.classes must have at most 1000 names"),
    ],
)
def test_a_record_without_sense_is_refused_with_file_and_field(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(Sequential(Flatten(), Dense(4, 3)), path)
    found = load(path)
    write_file(path, found.tensors, found.record | {"pictures": WHITE_PAPER | {"later": 1}})
    assert load_model(path).pictures == Pictures.from_record(WHITE_PAPER)
    write_file(path, found.tensors, found.record | {"pictures": WHITE_PAPER | change})
    with pytest.raises(CheckpointError, match=words) as refusal:
        load(path)
    assert str(path) in str(refusal.value)


def test_a_checkpoint_of_a_folder_from_before_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(LeNet5(3, seed=0), path)
    found = load(path)
    for arguments, expected in (
        ({"dataset": "folder:x"}, Pictures("whole")),
        ({"dataset": "folder:x", "class_names": ["a"]}, Pictures("whole", classes=("a",))),
        ({"dataset": "emnist-letters", "class_names": ["a"]}, Pictures("digit", classes=("a",))),
        ({"dataset": "mnist"}, None),
    ):
        write_file(path, found.tensors, found.record | {"arguments": arguments})
        assert load_model(path).pictures == expected


# ------------------------------------------------------------------ the commands


def test_a_data_set_says_how_its_images_were_made(tmp_path: Path) -> None:
    assert load_dataset("digits").pictures == Pictures(
        "digit", (28, 28), LIGHT, tuple("0123456789")
    )
    stroke = np.zeros((20, 28, 28), np.uint8)
    stroke[:, 4:24, 12:16] = 250
    np.savez(tmp_path / "a.npz", images=stroke, labels=np.arange(20) % 2)
    assert load_dataset(f"npz:{tmp_path / 'a.npz'}").pictures == Pictures(
        "digit", (28, 28), LIGHT, ("0", "1")
    )
    letters(tmp_path / "letters", 2)
    data = load_dataset(f"folder:{tmp_path / 'letters'}")
    assert data.pictures == Pictures("whole", (32, 32), None, tuple(LETTERS))  # in colour


def test_a_model_of_own_classes_is_not_tested_on_mnist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = LeNet5(3, seed=0)
    model.pictures = Pictures(classes=("a", "b", "c"))
    save_model(model, tmp_path / "m.safetensors")
    assert main(["evaluate", str(tmp_path / "m.safetensors")]) == 2
    assert "trained on the classes a, b, c; name the data with --dataset" in capsys.readouterr().err


def test_a_digit_is_drawn_in_the_polarity_of_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    grey = np.full((90, 70), 230, np.uint8)
    grey[20:70, 30:38] = 10
    pillow.fromarray(grey).save(tmp_path / "one.png")
    model, path = LeNet5For28x28(seed=0), tmp_path / "m.safetensors"
    answers = []
    for polarity in (LIGHT, DARK):
        model.pictures = Pictures("digit", (28, 28), polarity)
        save_model(model, path)
        capsys.readouterr()
        assert main(["predict", str(path), str(tmp_path / "one.png"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        answers.append((found["probabilities"], found["inverted"]))
    np.testing.assert_allclose(answers[0], answers[1][::-1], atol=1e-6)


def test_an_unknown_making_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    ink = np.zeros((60, 60), np.uint8)
    ink[10:50, 20:26] = ink[44:50, 20:42] = 255  # an L
    pillow.fromarray(ink).save(tmp_path / "a.png")
    save_model(LeNet5(26, seed=0), tmp_path / "m.safetensors")
    words = ["predict", str(tmp_path / "m.safetensors"), str(tmp_path / "a.png")]
    assert main(words) == 0
    assert "does not say how its images were made" in capsys.readouterr().err
    assert main([*words, "--as", "image"]) == 0
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ normalised pixels


def test_an_exported_graph_begins_with_the_normalisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, path = LeNet5(3, seed=0).eval(), tmp_path / "m.safetensors"
    norm = Normalize(0.1307, 0.3081)
    model.preprocessing, model.pictures = Compose([ToFloat(), norm]), Pictures(classes=("a", "b"))
    save_model(model, path)
    assert main(["export", str(path), "--to", "onnx"]) == 0
    words = "x: pixels from 0 to 1; the graph normalises them: minus 0.1307, divided by 0.3081"
    assert capsys.readouterr().out.splitlines()[1] == words
    made = onnx.load(path.with_suffix(".onnx"))
    assert [node.op_type for node in made.graph.node][:3] == ["Sub", "Div", "Conv"]
    said = {entry.key: entry.value for entry in made.metadata_props}
    assert said["input"] == words
    assert json.loads(said["classes"]) == ["a", "b"]
    assert json.loads(said["preprocessing"])["parts"][1] == {
        "type": "Normalize",
        "mean": [0.1307],
        "std": [0.3081],
    }
    x = np.random.default_rng(0).random((3, 1, 32, 32), np.float32)
    (logits,) = runtime.InferenceSession(path.with_suffix(".onnx")).run(None, {"x": x})
    np.testing.assert_allclose(logits, model(norm(x)), atol=1e-5)
    assert main(["export", str(path), "--to", "pytorch"]) == 0
    assert "the weights take pixels from 0 to 1, minus 0.1307" in capsys.readouterr().out


def test_a_preprocessing_without_operators_is_refused_or_left_to_the_caller(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from nplenet.interop.onnx import export

    model, path = LeNet5(3, seed=0), tmp_path / "m.onnx"
    model.preprocessing = Compose([lambda images, rng: images / 9])
    with pytest.raises(ValueError, match="export with preprocessing=False"):
        export(model, path, (1, 1, 32, 32))
    export(model, path, (1, 1, 32, 32), preprocessing=False)
    assert onnx.load(path).graph.node[0].op_type == "Conv"


# ------------------------------------------------------------------ weights that are not finite


COMMANDS = {
    "predict": ["x.png"],
    "draw": ["--no-open"],
    "evaluate": ["--dataset", "digits", "--limit", "9"],
    "export": ["--to", "pytorch"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = LeNet5(seed=0)
    model.features[0].weight.data[0, 0, 0, :2] = np.nan, np.inf
    save_model(model, "m.safetensors")
    words = [command, "m.safetensors", *COMMANDS[command]]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "m.safetensors: refused: 2 of 61,774 weights are not finite, such as nan in f" in error
    main([*words, "--allow-non-finite"])
    assert "not finite" not in capsys.readouterr().err
    assert main(["info", "m.safetensors"]) == 0
    assert (
        "2 of 61,774 weights are not finite, such as nan in features.0" in capsys.readouterr().out
    )
    with pytest.raises(CheckpointError, match="not finite"):
        load_model("m.safetensors")
    assert np.isnan(
        load_model("m.safetensors", allow_non_finite=True).state_dict()["features.0.weight"]
    ).any()


def test_from_folder_takes_the_classes_of_a_model(tmp_path: Path) -> None:
    letters(tmp_path, 1)
    found = from_folder(tmp_path, classes=["?", *LETTERS])
    assert found.labels.tolist() == list(range(1, 11))
    assert replace(Pictures(), classes=found.classes).names(12)[-1] == "11"
