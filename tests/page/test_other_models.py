"""Models of other classes and other pictures, with names that may be a stranger's."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened
from drawing_page import (
    draw,
    ink,
    network_input,
    settle,
    shown_number,
)
from page_controls import hover, place, png, probabilities
from PIL import Image

from nplenet.__main__ import main
from nplenet.augment import Compose, Normalize, ToFloat
from nplenet.checkpoint import save_model
from nplenet.data import Pictures
from nplenet.layers import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    ReLU,
    Residual,
    Sequential,
)
from nplenet.losses import softmax
from nplenet.models import LeNet5
from nplenet.page import render, write_page
from nplenet.page.book import CHAPTERS
from nplenet.page.words import about, noun_of


def residual_network(classes: int) -> Sequential:
    rng = np.random.default_rng(0)
    body = Sequential(Conv2d(4, 4, 3, padding=1, rng=rng), BatchNorm2d(4), ReLU())
    return Sequential(
        Conv2d(1, 4, 5, stride=2, rng=rng),
        Residual(body),
        GlobalAvgPool2d(),
        Dense(4, classes, rng=rng),
    ).eval()


def test_other_models_get_their_title_names_and_chapters(browser: Any, tmp_path: Path) -> None:
    book = tmp_path / "docs" / "_build" / "html"
    book.mkdir(parents=True)
    for name, _ in CHAPTERS.values():
        (book / f"{name}.html").write_text("<title>a chapter</title>")
    names = [chr(ord("a") + k) for k in range(26)]
    model = residual_network(26)
    write_page(model, tmp_path / "page.html", classes=names)
    with opened(browser, tmp_path / "page.html") as page:
        assert page.inner_text("h1") == "Draw a letter"
        assert page.title() == "Draw a letter: inside a neural network"
        assert not page.is_visible("#samples")
        assert page.inner_text("#sure") == "draw a letter"
        draw(page, "3")
        expected = softmax(model(network_input(page)))[0]
        rows = page.locator("#bars tr")
        assert rows.count() == 10
        most = [names[k] for k in np.argsort(-expected)[:10]]
        assert [row.locator("th").inner_text() for row in rows.all()] == most
        assert page.inner_text("#answer") == most[0]
        assert page.locator("#layer-5 h3").inner_text() == "Residual 1"
        page.locator("#layer-7 .maps").focus()
        page.locator("#layer-7 .maps").press("ArrowRight")
        assert place(page) == "unit 1: b"
        link = page.locator("#layer-1 .chapter")
        assert link.inner_text() == "Chapter: Convolution as one matrix product"
        assert link.get_attribute("href") == "docs/_build/html/convolution.html"
        assert page.locator("#layer-4 .chapter").count() == 0  # ReLU has no chapter


def test_a_model_of_whole_pictures_gets_them_as_in_its_training(
    browser: Any, tmp_path: Path
) -> None:
    class Pictures:
        kind, size, polarity, classes = "whole", (26, 28), "dark on light", ("cup", "hat", "key")

    model = Sequential(Flatten(), Dense(1024, 3, rng=np.random.default_rng(0))).eval()
    model.preprocessing = Compose([ToFloat(), Normalize(0.3, 0.2), Normalize(0.1, 0.5)])
    vars(model)["pictures"] = Pictures
    write_page(model, tmp_path / "page.html")
    with opened(browser, tmp_path / "page.html") as page:
        assert page.inner_text("h1") == "Draw a picture"
        draw(page, "3")
        small = Image.fromarray(ink(page)).resize((28, 26), Image.Resampling.BILINEAR)
        image = 255 - np.pad(np.asarray(small), ((3, 3), (2, 2)))  # its border is dark
        expected = softmax(model(model.preprocessing(image[None, None], None)))[0]
        # An image of bytes that is rounded elsewhere differs by 1 in some pixels.
        np.testing.assert_allclose(probabilities(page), expected, atol=0.02)
        page.locator("#layer-0 .maps").focus()
        page.locator("#layer-0 .maps").press("ArrowRight")
        x = model.preprocessing(np.full((1, 1, 1, 1), 255, np.uint8), None)
        assert abs(shown_number(page.text_content(".total")) - x.item()) < 1e-4


def test_a_photo_for_a_model_of_whole_pictures_is_read_as_python_does(
    browser: Any, tmp_path: Path
) -> None:
    model = Sequential(Flatten(), Dense(1024, 3, rng=np.random.default_rng(0))).eval()
    pictures = Pictures("whole", (26, 28), "dark on light", ("cup", "hat", "key"))
    vars(model)["pictures"] = pictures
    write_page(model, tmp_path / "page.html")
    photo = np.zeros((150, 200, 3), np.uint8)
    photo[20:120, 50:170] = np.arange(120)[:, None] + [0, 60, 130]
    path = tmp_path / "photo.png"
    path.write_bytes(png(photo))
    with opened(browser, tmp_path / "page.html") as page:
        page.set_input_files("#file", path)
        page.wait_for_function("() => document.getElementById('answer').textContent.length > 1")
        settle(page)
        url = page.evaluate("() => document.getElementById('seen').toDataURL()")
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    expected = pictures.read(path, (1, 1, 32, 32))[0]
    assert expected[0, 0] == 255  # inverted: the photo is light on dark
    # Pillow resizes bytes with weights of 22 bits, and rounds some sums the other way.
    np.testing.assert_allclose(seen[:, :, 0], expected, atol=1)


def test_names_of_layers_are_shown_and_never_run(browser: Any, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)></script>"  # checkpoints may come from anywhere
    write_page(Sequential(**{name: Flatten(), "out": Dense(1024, 3)}), tmp_path / "page.html")
    with opened(browser, tmp_path / "page.html") as page:
        hover(page, 1)
        assert page.locator(".layer h3").nth(1).inner_text() == f"Flatten {name}"
        assert page.inner_text("#which") == f"Flatten {name}"


def test_names_of_classes_are_shown_and_never_run(browser: Any, tmp_path: Path) -> None:
    names = ["<img src=x onerror=alert(1)></script>", "$title", "boot"]
    write_page(Sequential(Flatten(), Dense(1024, 3)), tmp_path / "page.html", classes=names)
    with opened(browser, tmp_path / "page.html") as page:
        assert page.inner_text("h1") == "Draw a picture"
        settle(page)
        assert page.locator("#bars th").all_inner_texts() == names


def test_the_names_that_a_models_file_gives_are_used() -> None:
    class Pictures:
        classes = ("alpha", "beta")  # may be fewer than the model has

    model = Sequential(Flatten(), Dense(1024, 3))
    vars(model)["pictures"] = Pictures
    assert '"classes":["alpha","beta","2"]' in render(model)
    with pytest.raises(ValueError, match="3 classes, got 2 names"):
        render(model, classes=["a", "b"])


@pytest.mark.parametrize(
    ("names", "noun"),
    [("0123456789", "digit"), ("abc", "letter"), ("a1", "character"), (["ankle boot"], "picture")],
)
def test_one_draws_what_the_classes_are(names: Any, noun: str) -> None:
    assert noun_of(names) == noun
    assert ("classes apart" in about(7, names)) == (noun != "digit")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (LeNet5(in_channels=3, seed=0), "takes 3 channels"),
        (Sequential(Flatten(), Dense(64, 10)), "takes 64 channels or features"),
        (Sequential(Conv2d(1, 2, 3)), r"\(1, 2, 30, 30\), not \(1, classes\)"),
    ],
)
def test_a_model_of_other_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Layer, words: str
) -> None:
    save_model(model, tmp_path / "model.safetensors")
    output = tmp_path / "page.html"
    assert main(["draw", str(tmp_path / "model.safetensors"), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert "one grey image of 32x32 or 28x28" in error
    assert re.search(words, error)
    assert not output.exists()
