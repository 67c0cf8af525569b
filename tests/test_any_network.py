"""The commands with any network and any data: other sizes, channels, classes, settings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet import compile
from nplenet.__main__ import main
from nplenet.augment import invert
from nplenet.checkpoint import LATEST, CheckpointError, load, load_model, save_model
from nplenet.checkpoint.file import write_file
from nplenet.commands import known_pictures
from nplenet.data import Pictures, from_folder, load_digits
from nplenet.input_shape import input_shape
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    Conv2d,
    Dense,
    Flatten,
    Layer,
    ReLU,
    Sequential,
)
from nplenet.losses import softmax
from nplenet.models import LeNet5, LeNet5For28x28
from nplenet.recipe import LATER
from nplenet.report.html import Html
from nplenet.train import evaluate

RNG = np.random.default_rng(0)


def flat(features: int, classes: int = 10) -> Layer:
    return Sequential(Flatten(), Dense(features, 16, rng=RNG), ReLU(), Dense(16, classes, rng=RNG))


NETWORKS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "LeNet5": (lambda: LeNet5(seed=0), (1, 32, 32)),
    "LeNet5 of colours": (lambda: LeNet5(in_channels=3, seed=0), (3, 32, 32)),
    "LeNet5 of 28x28": (lambda: LeNet5For28x28(seed=0), (1, 28, 28)),
    "1024 features": (lambda: flat(1024), (1, 32, 32)),
    "784 features": (lambda: flat(784), (1, 28, 28)),
    "3072 features": (lambda: flat(3072), (3, 32, 32)),
    "26 classes": (lambda: flat(784, 26), (1, 28, 28)),
    "no image": (lambda: Sequential(Dense(7, 3, rng=RNG)), (7,)),
    "norm first": (lambda: Sequential(BatchNorm1d(5), Dense(5, 3, rng=RNG)), (5,)),
}
OF_DIGITS = [name for name, (_, shape) in NETWORKS.items() if shape[0] == 1]


@pytest.fixture
def saved(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Layer]:
    model = NETWORKS[request.param][0]()
    save_model(model, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors", model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shape_of_an_input_is_found_from_the_layers(name: str) -> None:
    make, shape = NETWORKS[name]
    assert input_shape(make()) == (1, *shape)


@pytest.mark.parametrize("saved", NETWORKS, indirect=True)
def test_every_network_is_exported_and_shown(
    saved: tuple[Path, Layer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    runtime: Any = pytest.importorskip("onnxruntime")
    path, model = saved
    out = tmp_path / "m.onnx"
    assert main(["export", str(path), "--to", "onnx", "--output", str(out)]) == 0
    x = RNG.random((3, *input_shape(model)[1:]), np.float32)
    (logits,) = runtime.InferenceSession(out).run(None, {"x": x})
    np.testing.assert_allclose(logits, model(x), atol=1e-5)
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"input {'x'.join(map(str, x.shape[1:]))}\n" in text
    assert "multiply-adds" in text


@pytest.mark.parametrize("saved", OF_DIGITS, indirect=True)
def test_every_network_of_digits_is_evaluated_on_images_of_its_size(
    saved: tuple[Path, Layer], capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = saved
    images, labels = load_digits("test")
    side = input_shape(model)[2]
    border = (32 - side) // 2
    images = images[:, None, border : 32 - border, border : 32 - border]
    classes = model.output_shape(input_shape(model))[1]
    expected = [vars(evaluate(model, x, labels, classes=classes)) for x in (images, invert(images))]
    assert main(["evaluate", str(path), "--dataset", "digits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found["test"], found["inverted_test"]] == expected
    assert len(found["test"]["confusion"]) == classes


@pytest.mark.parametrize("saved", OF_DIGITS, indirect=True)
def test_every_network_of_digits_predicts(
    saved: tuple[Path, Layer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pillow: Any = pytest.importorskip("PIL.Image")
    from nplenet.recognize import prepare

    path, model = saved
    grey = np.full((90, 70), 230, np.uint8)
    grey[20:70, 30:38] = 10
    pillow.fromarray(grey).save(tmp_path / "one.png")
    side = input_shape(model)[2]
    border = (32 - side) // 2
    image = prepare(grey)[border : 32 - border, border : 32 - border] / np.float32(255)
    assert main(["predict", str(path), str(tmp_path / "one.png"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = softmax(model(image[None, None].astype(np.float32)))[0]
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)  # a batch of two there


@pytest.mark.parametrize("saved", OF_DIGITS, indirect=True)
def test_every_network_of_digits_is_drawn(saved: tuple[Path, Layer], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["draw", str(saved[0]), "--no-open", "--output", str(page)]) == 0
    assert f'"side":{input_shape(saved[1])[2]}' in page.read_text()


def odd() -> Layer:
    return Sequential(Conv2d(1, 2, 5, rng=RNG), ReLU(), AvgPool2d(2), Flatten(), Dense(128, 3))


def test_a_file_that_says_the_shape_of_its_input_needs_no_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network of 20x20 images, with and without the field; files of before lack it."""
    silent, told = tmp_path / "silent.safetensors", tmp_path / "told.safetensors"
    save_model(odd(), silent)
    save_model(odd(), told, input_shape=(1, 20, 20))
    assert (load(silent).input_shape, load(told).input_shape) == (None, (1, 20, 20))
    assert len(load_model(told).parameters()) == 4
    for path, options in ((told, []), (silent, ["--input-shape", "1x20x20"])):
        assert main(["info", str(path), *options]) == 0
        assert "input 1x20x20\n" in capsys.readouterr().out
    assert main(["info", str(silent)]) == 0  # as JSON: no table without a shape
    assert '"type": "Conv2d"' in capsys.readouterr().out
    pytest.importorskip("onnx")
    assert main(["export", str(silent), "--to", "onnx"]) == 2
    assert "say it with --input-shape, such as 1,28,28" in capsys.readouterr().err
    assert main(["export", str(silent), "--to", "onnx", "--input-shape", "1,20,20"]) == 0
    assert main(["export", str(told), "--to", "onnx"]) == 0


@pytest.mark.parametrize("shape", [(1, 21, 24), (20, 20), (2, 20, 20)])
def test_a_shape_that_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...]
) -> None:
    words = (
        rf"does not take inputs of shape \({', '.join(map(str, shape))}\), without the batch axis: "
    )
    with pytest.raises(ValueError, match=words):
        save_model(odd(), tmp_path / "m.safetensors", input_shape=shape)
    save_model(odd(), tmp_path / "m.safetensors")
    text = ",".join(map(str, shape))
    assert main(["info", str(tmp_path / "m.safetensors"), "--input-shape", text]) == 2
    error = capsys.readouterr().err
    assert "does not take inputs of shape" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("shape", "error", "says"),
    [
        ((1, 1, 20, 20), ValueError, "at most 3 axes, without the batch axis"),
        (20, TypeError, "must be a tuple of ints, got 20"),
        ((1, 20, 20.0), TypeError, r"\[2\] must be an int, got 20\.0"),
    ],
)
def test_what_is_not_the_shape_of_an_input_is_refused(
    tmp_path: Path, shape: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=f"save_model: input_shape.*{says}"):
        save_model(odd(), tmp_path / "m.safetensors", input_shape=shape)
    if error is TypeError:
        with pytest.raises(error, match=f"compile: input_shape.*{says}"):
            compile(odd(), input_shape=shape)


@pytest.mark.parametrize("value", ["x", [], [0], [1, 2, 3, 4], [3, 300, 300], [1, 20.0], {}])
def test_a_forged_input_shape_is_refused_with_its_field(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "m.safetensors"
    save_model(odd(), path)
    found = load(path)
    write_file(path, found.tensors, found.record | {"input_shape": value})
    with pytest.raises(ValueError, match="in its record input_shape"):
        load(path)


@pytest.mark.parametrize("text", ["", "a", "1,2,3,4", "0,28,28", "-1", "1,28.5,2", "99999999"])
def test_a_shape_that_is_none_names_its_option(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["info", "default", f"--input-shape={text}"])
    assert "argument --input-shape: must be 1 to 3 sizes such as 1,28,28" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no image", r"takes inputs of shape (7,), not images (C, H, W); put Flatten() before"),
        ("LeNet5 of colours", "takes images of 3 channels, digits has images of 1"),
    ],
)
def test_images_that_the_network_does_not_take_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(NETWORKS[name][0](), path)
    assert main(["evaluate", str(path), "--dataset", "digits"]) == 2
    assert words in capsys.readouterr().err
    assert main(["predict", str(path), "x.png"]) == 2


def test_labels_beyond_the_classes_of_the_network_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(flat(1024, 4), tmp_path / "m.safetensors")
    assert main(["evaluate", str(tmp_path / "m.safetensors"), "--dataset", "digits"]) == 2
    assert "digits has the label 9, the model 4 classes: 0 to 3" in capsys.readouterr().err


# --- training on other data ---


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 classes of six colour images each: a bright row and column by the class, and noise."""
    pillow: Any = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("letters")
    for label in range(26):
        (folder / chr(65 + label)).mkdir()
        for k in range(6):
            image = RNG.integers(0, 60, (30, 30, 3)).astype(np.uint8)
            image[2 + label] = (255, 0, 80)
            image[:, 2 + label] = (0, 255, 80)
            pillow.fromarray(image).save(folder / chr(65 + label) / f"{k}.png")
    return folder


SHORT = ["--epochs", "2", "--batch-size", "20", "--validation", "0", "--quiet"]


@pytest.mark.usefixtures("no_report")
def test_a_folder_of_26_classes_in_colour_resumes_to_the_same_bits(
    letters: Path, tmp_path: Path
) -> None:
    plan = ["train", "--dataset", f"folder:{letters}", *SHORT]
    assert main([*plan, "--output", str(tmp_path / "whole")]) == 0
    assert main([*plan, "--output", str(tmp_path / "parts"), "--stop-after", "1"]) == 0
    assert main(["train", "--resume", "auto", "--quiet", "--output", str(tmp_path / "parts")]) == 0
    whole, parts = (load(tmp_path / name / LATEST) for name in ("whole", "parts"))
    for name, array in whole.tensors.items():
        assert parts.tensors[name].tobytes() == array.tobytes()


def test_a_folder_of_26_classes_in_colour_trains_and_is_evaluated(
    letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"folder:{letters}"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("figure", "charts"):  # the command draws them below
            patch.setattr(f"nplenet.report.sections.{name}", lambda *_: Html())
        assert main(["train", "--dataset", data, *SHORT, "--output", str(tmp_path / "whole")]) == 0
    whole = load(tmp_path / "whole" / LATEST)
    assert whole.input_shape == (3, 32, 32)
    model = whole.model()
    assert model.output_shape((1, 3, 32, 32)) == (1, 26)
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert history["arguments"]["dataset"] == data
    assert sum(map(sum, history["test"]["confusion"])) == 16  # a tenth of 156
    path = str(tmp_path / "whole" / LATEST)
    capsys.readouterr()
    assert main(["evaluate", path, "--dataset", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test"] == history["test"]
    assert main(["evaluate", path]) == 2
    refusal = capsys.readouterr().err
    assert f"was trained on {data}; name the data with --dataset" in refusal
    pytest.importorskip("matplotlib")
    assert main(["report", str(tmp_path / "whole")]) == 2
    assert f"was trained on {data}; name the data" in capsys.readouterr().err
    report = tmp_path / "whole" / "report.html"
    assert report.exists()
    report.unlink()
    assert main(["report", str(tmp_path / "whole"), "--dataset", data]) == 0
    text = report.read_text()
    assert "LeNet-5 on folder:" in text
    assert '<th scope="row">Z</th>' in text
    assert '<th scope="col">Z</th>' in text
    capsys.readouterr()
    assert main(["info", path]) == 0
    said = capsys.readouterr().out
    assert "images: whole pictures of 32x32\n" in said
    assert f"classes: {', '.join(map(chr, range(65, 91)))}\n" in said


def test_a_folder_with_some_of_the_classes_is_evaluated_with_their_labels(
    letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = LeNet5(26, in_channels=3, seed=0)
    model.pictures = Pictures(classes=tuple(map(chr, range(65, 91))))
    save_model(model, tmp_path / "m.safetensors")
    some = tmp_path / "some"
    some.mkdir()
    for name in "XYZ":
        (some / name).symlink_to(letters / name)
    words = ["evaluate", str(tmp_path / "m.safetensors"), "--dataset", f"folder:{some}"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == list(model.pictures.classes)
    tested = {k for k, row in enumerate(found["test"]["confusion"]) if sum(row)}
    assert tested
    assert tested <= {23, 24, 25}


@pytest.mark.usefixtures("no_report")
def test_predict_reads_a_picture_as_the_training_did_and_names_its_class(
    letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = ["--epochs", "40", "--batch-size", "20", "--validation", "0", "--quiet"]
    plan = ["train", "--dataset", f"folder:{letters}", *long, "--augment", "none"]
    assert main([*plan, "--output", str(tmp_path)]) == 0
    path, pictures = str(tmp_path / LATEST), [str(letters / k / "0.png") for k in "AHZ"]
    model, data = load_model(path), from_folder(letters)
    for k, name in zip((0, 7, 25), pictures, strict=True):
        image = data.images[6 * k]  # the first of its class
        expected = softmax(model(image[None] / np.float32(255)))[0]
        capsys.readouterr()
        assert main(["predict", path, "--json", name]) == 0
        found = json.loads(capsys.readouterr().out)
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
        assert found["class"] == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[found["digit"]]
        assert found["digit"] == k
    assert main(["predict", path, pictures[1]]) == 0
    *seen, head, row, _, answer = capsys.readouterr().out.splitlines()
    assert answer == f"{pictures[1]}: H"
    assert head.split()[0] == "class"
    assert "H" in head.split()
    assert len(head.split()) == len(row.split()) == 11
    assert [len(line) for line in seen] == [32] * 16


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"] * 27, "27 names for 26"),
        ([1], r"\[0\] must be a text"),
        ("ab", "a list"),
        (["a"] * 1001, "at most 1000 names"),
    ],
)
@pytest.mark.parametrize("place", ["arguments", "pictures"])
def test_forged_names_of_classes_are_refused(
    tmp_path: Path, names: Any, words: str, place: str
) -> None:
    path, shape = tmp_path / "m.safetensors", (1, 1, 32, 32)
    save_model(flat(1024, 26), path)
    found = load(path)

    def forge(names: Any) -> list[str]:
        old, new = {"class_names": names}, {"kind": "whole", "classes": names}
        more = {place: old if place == "arguments" else new}
        write_file(path, found.tensors, found.record | more)
        forged = load(path)
        return known_pictures(forged, forged.model(), shape)[1]

    with pytest.raises(CheckpointError, match=words) as refusal:
        forge(names)
    assert str(path) in str(refusal.value)
    assert forge(["x", "y"]) == ["x", "y", *map(str, range(2, 26))]


@pytest.mark.usefixtures("no_report")
def test_images_that_moved_are_named_when_the_run_resumes(letters: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    plan = ["train", "--dataset", f"folder:{letters}", *SHORT, "--output", str(tmp_path / "run")]
    assert main([*plan, "--stop-after", "1"]) == 0
    moved.symlink_to(letters)
    again = ["train", "--resume", "auto", "--output", str(tmp_path / "run"), "--quiet"]
    assert main([*again, "--dataset", f"folder:{moved}"]) == 0
    assert main([*again, "--dataset", "digits"]) == 2  # other images


@pytest.mark.usefixtures("no_report")
def test_a_checkpoint_without_the_later_settings_resumes(tmp_path: Path) -> None:
    run = ["--dataset", "digits", "--limit", "60", "--validation", "0.1", "--batch-size", "20"]
    plan = ["train", *run, "--epochs", "2", "--quiet"]
    assert main([*plan, "--output", str(tmp_path / "whole")]) == 0
    assert main([*plan, "--output", str(tmp_path / "parts"), "--stop-after", "1"]) == 0
    path = tmp_path / "parts" / LATEST
    found = load(path)
    record = dict(found.record)
    del record["input_shape"]
    record["arguments"] = {
        name: value for name, value in record["arguments"].items() if name not in LATER
    }
    write_file(path, found.tensors, record)
    assert main(["train", "--resume", "auto", "--output", str(path.parent), "--quiet"]) == 0
    whole, parts = (load(tmp_path / name / LATEST) for name in ("whole", "parts"))
    for name, array in whole.part("model.").items():
        assert parts.part("model.")[name].tobytes() == array.tobytes()


# --- settings ---

DIGITS = ["train", "--dataset", "digits", "--limit", "40", "--epochs", "1", "--batch-size", "20"]


@pytest.mark.usefixtures("no_report")
def test_weight_decay_reaches_the_optimizer(tmp_path: Path) -> None:
    for optimizer, default in (("adamw", 0.01), ("sgd", 0.0)):
        for options, expected in (([], default), (["--weight-decay", "0.3"], 0.3)):
            folder = tmp_path / f"{optimizer}{len(options)}"
            command = [*DIGITS, "--optimizer", optimizer, *options, "--output", str(folder)]
            assert main([*command, "--quiet"]) == 0
            assert load(folder / LATEST).record["optimizer"]["weight_decay"] == expected


@pytest.mark.usefixtures("no_report")
def test_label_smoothing_of_1_asks_for_all_classes_alike(tmp_path: Path) -> None:
    """The cross entropy with equal targets is at least log K, whatever the network says."""
    assert main([*DIGITS, "--label-smoothing", "1", "--output", str(tmp_path), "--quiet"]) == 0
    record = json.loads((tmp_path / "history.json").read_text())
    assert math.log(10) <= record["epochs"][0]["loss"] < math.log(10) + 1


@pytest.mark.usefixtures("no_report")
def test_clipped_gradients_move_the_weights_by_no_more_than_the_rate_times_their_norm(
    tmp_path: Path,
) -> None:
    """One step of plain descent: every image in one batch, no schedule, no momentum to build up."""
    options = ["--optimizer", "sgd", "--schedule", "constant", "--lr", "0.5", "--limit", "16"]
    command = [*DIGITS[:3], *options, "--epochs", "1", "--batch-size", "16", "--validation", "0"]
    command += ["--weight-decay", "0", "--quiet", "--output", str(tmp_path)]
    assert main([*command, "--clip-norm", "0.001"]) == 0
    begun, found = LeNet5(dropout=0.1, seed=0), load_model(tmp_path / LATEST).state_dict()
    moved = [found[p.name] - p.data for p in begun.parameters()]
    length = math.sqrt(sum(float((step.astype(np.float64) ** 2).sum()) for step in moved))
    nesterov = 0.5 * (1 + 0.9)  # of the first step: the gradient, and its momentum
    assert length == pytest.approx(nesterov * 0.001, rel=1e-2)  # of weights in float32
    assert main([*command, "--clip-norm", "0"]) == 2


def test_more_classes_than_the_data_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*DIGITS, "--validation", "0", "--quiet"]
    assert main([*command, "--classes", "13", "--output", str(tmp_path)]) == 0
    assert load_model(tmp_path / LATEST).output_shape((1, 1, 32, 32)) == (1, 13)
    assert main([*command, "--classes", "4"]) == 2
    assert "--classes 4 is too few: digits has 10 classes" in capsys.readouterr().err


def test_no_validation_and_all_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*DIGITS, "--validation", "0", "--output", str(tmp_path)]) == 0
    assert "40 training, 0 validation, 40 test images" in capsys.readouterr().out
    record = json.loads((tmp_path / "history.json").read_text())
    assert record["epochs"][0]["validation_accuracy"] is None
    for value, words in (
        ("1", "--validation 1 leaves none of the 40 images to train on"),
        ("-0.5", "--validation must be a number from 0 to 1, got -0.5"),
        ("nan", "--validation must be a number from 0 to 1, got nan"),
    ):
        assert main([*DIGITS, f"--validation={value}"]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train"], ["gradcheck", "relu"]])
def test_a_negative_seed_names_its_option(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--seed", "-1"])
    assert "argument --seed: must be an integer of at least 0, got '-1'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train"], ["evaluate", "default"], ["report", "x"]])
@pytest.mark.parametrize("name", ["cifar", "csv:"])
def test_an_unknown_data_set_names_its_option(
    command: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--dataset", name])
    assert "argument --dataset: must be one of auto, mnist, digits" in capsys.readouterr().err


def test_a_csv_of_ones_own_is_named_by_line_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label,a,b,c,d\n" + "1,2,3,4,5\n" * 9 + "1,2,3,4\n")
    assert main(["train", "--dataset", f"csv:{path}"]) == 2
    error = capsys.readouterr().err
    assert error == f"nplenet train: {path}: line 11 has 4 columns, the first line 5\n"
