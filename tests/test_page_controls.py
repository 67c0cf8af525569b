"""What one does on the page for drawing a digit: photos, kernels, temperature, map, lesson.

One page serves most tests; each begins with the example 5, as the page opens.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened
from drawing_page import (
    STROKES,
    draw,
    ink,
    lead,
    network_input,
    prepared,
    settle,
    shown_number,
)
from PIL import Image, ImageDraw

from nplenet.augment import Compose, Normalize, ToFloat
from nplenet.checkpoint import DEFAULT_MODEL, load_model
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
from nplenet.page import MODULES, render, write_page
from nplenet.page.book import CHAPTERS
from nplenet.page.words import about, noun_of
from nplenet.recognize import prepare
from nplenet.trust import calibrated, judged

PERCENT = 0.0051  # whole percents are shown
OPENED = """() => {
    for (const id of ["all-on", "close"]) document.getElementById(id).click();
    const set = (id, value) => {
        const slider = document.getElementById(id);
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
    };
    set("temperature", 0);
    set("thickness", 36);
    if (document.getElementById("invert").ariaPressed === "true")
        document.getElementById("invert").click();
    document.querySelector("[aria-label='Example 5']").click();
    document.activeElement.blur();
    scrollTo(0, 0);
}"""
SET = """([id, value]) => {
    const slider = document.getElementById(id);
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
}"""


@pytest.fixture(scope="module")
def desk(browser: Any, lenet_file: Path) -> Iterator[Any]:
    with opened(browser, lenet_file, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture
def page(desk: Any) -> Any:
    desk.evaluate(OPENED)
    settle(desk)
    return desk


def probabilities(page: Any) -> np.ndarray:
    """Return what the bars of the drawing say, float (10,)."""
    texts = page.locator("#bars .image .share-text").all_inner_texts()
    return np.array([float(text.removesuffix(" %")) / 100 for text in texts])


def place(page: Any) -> str:
    return str(page.inner_text("#place"))


def choose(page: Any, k: int, map_: int, row: int, column: int) -> None:
    """Choose a value by keyboard."""
    page.locator(f"#layer-{k} .maps").focus()
    page.evaluate("() => document.getElementById('close').click()")
    page.locator(f"#layer-{k} .maps").press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    for key, count in (("PageDown", map_), ("ArrowDown", row), ("ArrowRight", column)):
        for _ in range(count):
            page.keyboard.press(key)


def kernel(page: Any, k: int, f: int) -> Any:
    return page.locator(f"#layer-{k} .kernels button").nth(f)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def photo_of(digit: str) -> np.ndarray:
    """Return a photo, uint8 (336, 448): dark ink on paper that is lit from the left."""
    height, width = 336, 448
    drawn = Image.new("L", (width, height))
    for stroke in STROKES[digit]:
        points = [(150 + 130 * x, 70 + 180 * y) for x, y in stroke]
        ImageDraw.Draw(drawn).line(points, fill=255, width=16, joint="curve")
    paper = np.linspace(230, 120, width) * np.ones((height, 1))
    noise = np.random.default_rng(0).normal(0, 2, (height, width))
    grey = paper * (1 - 0.7 * np.asarray(drawn) / 255) + noise
    return np.clip(grey, 0, 255).astype(np.uint8)


# --- in sight -------------------------------------------------------------------------------------


def test_what_the_network_sees_stands_beside_the_board(page: Any) -> None:
    draw(page, "4")
    for canvas in ("seen", "small-seen"):
        url = page.evaluate("id => document.getElementById(id).toDataURL()", canvas)
        seen = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        np.testing.assert_array_equal(np.asarray(seen)[:, :, 0], prepared(page))
    board, seen_box = (page.locator(name).bounding_box() for name in ("#board", "#seen"))
    assert board["x"] + board["width"] < seen_box["x"]
    assert abs(board["y"] - seen_box["y"]) < 2


def test_board_and_answer_stay_in_sight_and_one_draws_there_too(page: Any) -> None:
    page.evaluate("() => document.getElementById('layer-12').scrollIntoView()")
    settle(page)
    assert page.locator("#strip").bounding_box()["y"] == 0
    assert page.inner_text("#small-answer") == "5"
    draw(page, "7", "#small-board")
    assert page.inner_text("#small-answer") == "7"
    assert page.inner_text("#small-sure") == page.text_content("#sure")
    assert ink(page).any()


def test_the_map_shows_where_one_is_and_leads_to_every_layer(page: Any) -> None:
    links = page.locator("#overview a")
    assert links.count() == page.locator(".layer").count()
    for k in (5, 17, 1):
        links.nth(k).click()
        page.wait_for_function(
            "k => document.querySelectorAll('#overview a')[k].ariaCurrent === 'true'", arg=k
        )
        assert page.locator("#overview [aria-current]").count() == 1
        title = page.locator(f"#layer-{k} h3").bounding_box()
        strip = page.locator("#strip").bounding_box()
        assert strip["y"] + strip["height"] <= title["y"] < 900
    label = "Conv2d features.4: 10 × 10, 16 maps"  # noqa: RUF001
    assert links.nth(5).get_attribute("aria-label") == label


def test_nothing_moves_when_something_is_switched_chosen_or_slid(page: Any) -> None:
    tops = "() => [...document.querySelectorAll('.layer')].map((layer) => layer.offsetTop)"
    before = page.evaluate(tops)
    kernel(page, 5, 2).click()
    page.evaluate(SET, ["temperature", 3])
    choose(page, 5, 1, 2, 3)
    page.click("#slide-step")
    page.click("#clear")
    settle(page)
    assert page.evaluate(tops) == before


# --- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "f", "channel"), [(1, 2, 0), (5, 3, 4)])
def test_kernels_are_shown_without_pointing(
    page: Any, lenet: Layer, k: int, f: int, channel: int
) -> None:
    layer = [layer for _, layer in lenet.modules() if isinstance(layer, Conv2d)][k > 1]
    weight = layer.weight.data[f, channel] / np.abs(layer.weight.data).max()
    picture, negative, zero, positive = page.evaluate(
        """([k, f]) => {
            const canvas = document.querySelectorAll(`#layer-${k} .kernels canvas`)[f];
            const style = getComputedStyle(document.documentElement);
            const ends = ["--negative", "--zero", "--positive"];
            return [canvas.toDataURL(), ...ends.map((name) => style.getPropertyValue(name))];
        }""",
        [k, f],
    )
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))
    # Kernels of one channel have cells of 9 pixels; of six channels, three a row, of 4 and a gap.
    cell = 9 if k == 1 else 4
    x, y = (channel % 3) * (5 * cell + 2), (channel // 3) * (5 * cell + 2)
    centres = cell // 2 + cell * np.arange(5)
    found = image[y + centres][:, x + centres, :3]
    ends = [np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in
            (negative, zero, positive)]  # fmt: skip
    share = np.abs(weight)[..., None]
    end = np.where(weight[..., None] < 0, ends[0], ends[2])
    np.testing.assert_allclose(found, ends[1] + (end - ends[1]) * share, atol=1)


def test_without_a_kernel_the_answer_is_that_of_python(page: Any, lenet: Layer) -> None:
    x = network_input(page)
    with_all = page.inner_text("#small-sure")
    page.evaluate(
        SET, ["temperature", 2]
    )  # of 4, where every class gets a share that can be compared
    off = (1, 2, 6)
    for f in off:
        kernel(page, 5, f).click()
        assert kernel(page, 5, f).get_attribute("aria-checked") == "false"
    settle(page)
    pruned = load_model(DEFAULT_MODEL)
    layer = [layer for _, layer in pruned.modules() if isinstance(layer, Conv2d)][1]
    layer.weight.data[list(off)] = 0
    if layer.bias is not None:
        layer.bias.data[list(off)] = 0
    expected = softmax(pruned(x) / 4)[0]
    whole = softmax(lenet(x) / 4)[0]
    np.testing.assert_allclose(probabilities(page), expected, atol=PERCENT)
    assert np.abs(expected - whole).max() > 0.02  # it is another answer
    assert f"3 kernels off; with all: 5, {100 * whole[5]:.0f} %" == page.inner_text("#switched")
    page.click("#all-on")
    page.evaluate(SET, ["temperature", 0])
    assert page.inner_text("#switched") == "all kernels on"
    assert page.inner_text("#small-sure") == with_all


def test_the_map_of_a_kernel_that_is_off_is_zero_in_the_arithmetic_too(page: Any) -> None:
    kernel(page, 1, 3).focus()
    page.keyboard.press("Space")
    choose(page, 1, 3, 10, 10)
    assert place(page) == "map 3, row 10, column 10"
    assert page.text_content(".total") == "0.0000"
    assert "used" in kernel(page, 1, 3).get_attribute("class")


def test_the_temperature_divides_the_outputs(page: Any, lenet: Layer) -> None:
    logits = lenet(network_input(page))
    for exponent, shown in ((5, "32"), (2, "4"), (-3, "0.13")):
        page.evaluate(SET, ["temperature", exponent])
        assert page.inner_text("#kelvin") == shown
        expected = softmax(logits / np.float32(float(shown)))[0]
        np.testing.assert_allclose(probabilities(page), expected, atol=PERCENT)
    page.evaluate(SET, ["temperature", 3])
    page.locator(".maps").last.focus()
    page.locator(".maps").last.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert abs(shown_number(page.text_content(".total")) - softmax(logits / 8)[0, 0]) < 1e-4


def test_an_unsure_answer_says_why(page: Any, lenet: Layer) -> None:
    found = {}
    for drawn in ("4", "scribble"):
        page.click("#clear")
        draw(page, drawn)
        p = calibrated(lenet(network_input(page)), lenet.trust)[0]
        answer = judged(p, lenet.trust)
        assert page.inner_text("#doubt") == ("" if answer.sure else f"unsure: {answer.reason}")
        found[drawn] = answer.sure
    assert found == {"4": True, "scribble": False}
    page.click("#clear")
    settle(page)
    assert page.inner_text("#doubt") == ""


# --- the window slides ----------------------------------------------------------------------------


def test_step_and_back_move_the_window_by_one_value(page: Any) -> None:
    choose(page, 1, 2, 0, 27)
    page.focus("#slide-step")
    page.keyboard.press("Enter")
    assert place(page) == "map 2, row 1, column 0"
    assert page.text_content("#spoken").startswith("map 2, row 1, column 0. The sum of 25")
    page.click("#slide-back")
    page.click("#slide-back")
    assert place(page) == "map 2, row 0, column 26"


def test_play_goes_to_the_end_of_the_map_and_grows_it(page: Any) -> None:

    def last_value() -> np.ndarray:
        url = page.evaluate("() => document.getElementById('slide-after').toDataURL()")
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        return picture[-8, -8]  # within the last value, beside its frame

    choose(page, 4, 0, 13, 9)
    pale = last_value()
    play = (
        "() => { const b = document.getElementById('slide-play'); b.click(); return b.innerText }"
    )
    assert page.evaluate(play) == "Pause"
    page.wait_for_function("() => document.getElementById('slide-play').textContent === 'Play'")
    assert place(page) == "map 0, row 13, column 13"
    assert np.abs(last_value().astype(int) - pale).max() > 2


def test_play_stops_when_one_pauses_chooses_or_closes(page: Any) -> None:
    page.locator("#layer-5 .slide-it").click()
    assert place(page) == "map 0, row 0, column 0"
    page.wait_for_function("() => /column 1$/.test(document.getElementById('place').textContent)")
    for stop in ("click", "Escape"):
        page.click("#slide-play")  # pause; then play again, and close
        if stop == "Escape":
            page.keyboard.press("Escape")
        assert page.text_content("#slide-play") == "Play"
        where = page.text_content("#place")
        page.wait_for_timeout(450)  # a step of this map takes 200 ms
        assert page.text_content("#place") == where


def test_with_less_motion_play_goes_row_by_row(browser: Any, lenet_file: Path) -> None:
    with opened(browser, lenet_file, reduced_motion="reduce") as page:
        page.locator("#layer-1 .slide-it").click()
        page.wait_for_timeout(400)
        assert place(page) == "map 0, row 0, column 0"
        page.wait_for_function(
            "() => /row 1, column 0$/.test(document.getElementById('place').textContent)"
        )


# --- photos ---------------------------------------------------------------------------------------

GIVE = """([kind, text]) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
    const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
    document.getElementById("board").dispatchEvent(event);
}"""


@pytest.mark.parametrize(
    ("way", "inverted"),
    [("open", False), ("take", False), ("drop", False), ("paste", False), ("open", True)],
)
def test_a_photo_is_prepared_nearly_as_python_does(page: Any, way: str, inverted: bool) -> None:
    digit = "4" if inverted else "7"
    grey = photo_of(digit)
    grey = 255 - grey if inverted else grey
    data = png(grey)
    if way in ("drop", "paste"):
        page.evaluate(GIVE, [way, base64.b64encode(data).decode()])
    else:
        file = {"name": "photo.png", "mimeType": "image/png", "buffer": data}
        page.set_input_files({"open": "#file", "take": "#camera"}[way], file)
    page.wait_for_selector("#boxes > div")
    # The page fits the paper of the whole photo, Python looks at windows of it: they differ at the
    # rim of the ink, which moves the digit by up to a quarter of a pixel; a whole one makes 8.
    difference = np.abs(prepared(page).astype(int) - prepare(grey))
    assert difference.mean() < 3
    assert page.inner_text("#answer") == digit
    box, board = (page.locator(name).bounding_box() for name in ("#boxes > div", "#board"))
    left, right = ((box["x"] + d - board["x"]) * 448 / board["width"] for d in (0, box["width"]))
    xs = [150 + 130 * x for stroke in STROKES[digit] for x, _ in stroke]
    assert (abs(left - (min(xs) - 8)) < 8, abs(right - (max(xs) + 8)) < 8) == (True, True)


def test_a_phone_opens_its_camera_and_undo_removes_a_photo(page: Any) -> None:
    before = ink(page)
    assert page.get_attribute("#camera", "capture") == "environment"
    page.evaluate(GIVE, ["drop", base64.b64encode(png(photo_of("3"))).decode()])
    page.wait_for_selector("#boxes > div")
    page.click("#undo")
    settle(page)
    assert page.locator("#boxes > div").count() == 0
    np.testing.assert_array_equal(ink(page), before)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no picture", "This browser cannot read the file as a picture."),
        (png(np.full((60, 80), 200, np.uint8)), "Nothing in this picture stands out"),
    ],
)
def test_a_file_without_a_digit_gets_a_reason(page: Any, data: bytes, words: str) -> None:
    before = ink(page)
    file = {"name": "photo.png", "mimeType": "image/png", "buffer": data}
    page.set_input_files("#file", file)
    page.wait_for_function(
        "words => document.getElementById('photo-note').textContent.startsWith(words)", arg=words
    )
    np.testing.assert_array_equal(ink(page), before)


def test_three_digits_of_a_photo_are_read(page: Any) -> None:
    grey = np.full((336, 448), 200, np.uint8)
    for digit, left in (("7", 0), ("3", 130), ("4", 260)):
        grey[:, left : left + 188] = np.minimum(
            grey[:, left : left + 188], np.where(photo_of(digit)[:, 130:318] < 70, 60, 200)
        )
    page.evaluate(GIVE, ["drop", base64.b64encode(png(grey)).decode()])
    page.wait_for_selector("#boxes > div:nth-child(3)")
    assert page.locator("#boxes button").all_inner_texts() == ["7", "3", "4"]


# --- several digits -------------------------------------------------------------------------------

SINGLE = {
    "4, two strokes that cross": [[(0.6, 0), (0.08, 0.65), (0.95, 0.62)],
                                  [(0.68, 0.35), (0.64, 1)]],
    "4, its strokes apart": [[(0.3, 0), (0, 0.6), (0.6, 0.6)], [(0.86, 0.3), (0.84, 1)]],
    "5, its bar above": [[(0.2, 0.18), (0.15, 0.45), (0.6, 0.42), (0.85, 0.7), (0.6, 0.98),
                          (0.1, 0.95)], [(0.25, 0), (0.95, -0.03)]],
    "5, its bar to the right": [[(0.1, 0), (0.1, 0.42), (0.5, 0.4), (0.8, 0.7), (0.5, 1),
                                 (0, 0.95)], [(0.36, -0.02), (1, 0)]],
    "8, two circles": [[(0.5, 0), (0.2, 0.2), (0.5, 0.4), (0.8, 0.2), (0.5, 0)],
                       [(0.5, 0.54), (0.1, 0.77), (0.5, 1), (0.9, 0.77), (0.5, 0.54)]],
    "3, a dry pen": [[(0.12, 0.1), (0.4, 0), (0.75, 0.06), (0.82, 0.25), (0.65, 0.4)],
                     [(0.75, 0.56), (0.88, 0.75), (0.7, 0.95), (0.38, 1), (0.08, 0.9)]],
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_a_digit_of_several_strokes_is_one(page: Any, name: str) -> None:
    page.evaluate(SET, ["thickness", 24])
    page.click("#clear")
    lead(page, SINGLE[name])
    boxes = page.evaluate(
        """() => nplenet.findDigits(nplenet.ink(), 448, 448).map(
            ({ box: { top, left, height, width } }) => [top, left, top + height, left + width])"""
    )
    rows, columns = np.nonzero(ink(page) > 127)  # the rim's threshold may be another one
    sides = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    np.testing.assert_allclose(boxes, [sides], atol=2)


def test_of_several_digits_one_is_chosen_by_its_box(page: Any) -> None:
    page.click("#clear")
    draw(page, "3", left=0.08, width=0.3)
    draw(page, "7", left=0.58, width=0.3)
    buttons = page.locator("#boxes button")
    assert buttons.all_inner_texts() == ["3", "7"]
    assert page.inner_text("#reading") == "In reading order: 3 7"
    assert page.inner_text("#answer") == "3"
    buttons.nth(1).press("Enter")
    settle(page)
    assert page.inner_text("#answer") == "7"
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    assert buttons.nth(1).get_attribute("aria-label") == "digit 2 of 2: 7"


def test_a_stroke_may_begin_at_the_corner_of_another_digits_box(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    draw(page, "3", left=0.08, width=0.25)
    for stroke in SINGLE["5, its bar above"]:  # the bar begins where the rest has its corner
        lead(page, [stroke], left=0.55, width=0.3)
    assert page.locator("#boxes button").all_inner_texts() == ["3", "5"]


def test_a_digit_at_the_edge_of_the_board_is_read_too(page: Any) -> None:
    page.click("#clear")
    draw(page, "3", left=-0.02, width=0.3)
    draw(page, "7", left=0.5, width=0.3)
    assert ink(page)[:, 0].any()
    assert page.locator("#boxes button").all_inner_texts() == ["3", "7"]


def test_digits_are_read_line_by_line_each_from_left_to_right(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    for digit, left, top in (("3", 0.3, 0.57), ("7", 0.55, 0.1), ("4", 0.15, 0.13)):
        draw(page, digit, left=left, top=top, width=0.22, height=0.32)
    assert page.locator("#boxes button").all_inner_texts() == ["4", "7", "3"]


def test_slanted_digits_are_two_though_their_boxes_overlap(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    lead(page, [[(0.4, 0), (0.1, 1)], [(0.7, 0), (0.4, 1)]])
    assert page.locator("#boxes button").count() == 2


def test_specks_and_the_line_below_digits_are_not_digits(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    draw(page, "4", left=0.1, width=0.25, height=0.4)
    draw(page, "7", left=0.5, width=0.25, height=0.4)
    lead(page, [[(0, 0), (1, 0.02)]], left=0.1, width=0.7, top=0.66)
    page.evaluate(SET, ["thickness", 8])
    lead(page, [[(0, 0), (0.1, 0)]], left=0.9, top=0.3)
    assert page.locator("#boxes button").all_inner_texts() == ["4", "7"]


# --- lesson, book, names --------------------------------------------------------------------------


def test_tasks_have_answers_and_are_marked_when_done(page: Any) -> None:
    tasks = page.locator("#tasks li")
    assert tasks.count() == 8
    done = (
        "() => [...document.querySelectorAll('#tasks .done p:first-child')].map(p => p.innerText)"
    )
    page.evaluate(SET, ["temperature", 5])
    page.click("#invert")
    settle(page)
    found = page.evaluate(done)
    assert [text.partition(":")[0] for text in found if text.startswith("Press Invert")]
    assert [text for text in found if text.startswith("Without touching the drawing")]
    for item in tasks.all():
        item.locator("summary").click()
        assert len(item.locator("details p").inner_text()) > 50
    assert "28 × 28 = 784" in tasks.nth(3).inner_text()  # noqa: RUF001


def test_without_a_book_there_are_no_links(page: Any) -> None:
    assert page.locator(".chapter").count() == 0


@pytest.mark.parametrize(("name", "title"), sorted(set(CHAPTERS.values())))
def test_the_chapters_are_those_of_the_book(name: str, title: str) -> None:
    chapter = Path(__file__).parents[1] / "docs" / f"{name}.md"
    assert f"\n# {title}\n" in chapter.read_text("utf-8")


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
        page.evaluate(SET, ["temperature", 0])
        # An image of bytes that is rounded elsewhere differs by 1 in some pixels.
        np.testing.assert_allclose(probabilities(page), expected, atol=0.02)
        page.locator("#layer-0 .maps").focus()
        page.locator("#layer-0 .maps").press("ArrowRight")
        x = model.preprocessing(np.full((1, 1, 1, 1), 255, np.uint8), None)
        assert abs(shown_number(page.text_content(".total")) - x.item()) < 1e-4


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


# --- for everyone ---------------------------------------------------------------------------------


def test_without_javascript_the_page_says_what_it_needs(browser: Any, lenet_file: Path) -> None:
    with opened(browser, lenet_file, java_script_enabled=False) as page:
        assert page.inner_text(".notice").startswith("This page needs JavaScript.")
        assert not page.is_visible("main")


@pytest.mark.parametrize(
    ("theme", "size"), [("light", (1280, 900)), ("dark", (390, 844))], ids=["desk", "phone"]
)
def test_axe_finds_nothing_in_any_state(
    browser: Any, lenet_file: Path, theme: Any, size: tuple[int, int]
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs `pip install axe-playwright-python`"
    )
    options = {"color_scheme": theme, "viewport": {"width": size[0], "height": size[1]}}
    with opened(browser, lenet_file, **options) as page:
        page.evaluate(GIVE, ["drop", base64.b64encode(png(photo_of("3"))).decode()])
        page.wait_for_selector("#boxes > div")
        page.click("#invert")
        page.evaluate("() => document.querySelectorAll('summary').forEach((one) => one.click())")
        kernel(page, 5, 2).evaluate("(button) => button.click()")
        if theme == "light":
            choose(page, 5, 1, 2, 3)  # the sums of a convolution
        else:
            page.locator("#layer-10 .maps").focus()  # and of a dense layer
            page.locator("#layer-10 .maps").press("ArrowRight")
        violations = axe.Axe().run(page).response["violations"]
        found = [(v["id"], v["impact"], [n["html"] for n in v["nodes"]]) for v in violations]
        assert found == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]


def test_the_file_is_smaller_than_700_kb(lenet_file: Path) -> None:
    assert lenet_file.stat().st_size < 700_000


def test_the_colours_are_those_of_the_report() -> None:
    style = (resources.files("nplenet.page") / "style.css").read_text("utf-8")
    report = (resources.files("nplenet.report") / "report.html").read_text("utf-8")
    pairs = {"background": "page", "text": "ink", "quiet": "quiet", "line": "line",
             "surface": "panel", "accent": "accent"}  # fmt: skip
    for theme in (0, 1):  # light, then dark
        for own, other in pairs.items():
            ours = re.findall(rf"--{own}: (#\w+)", style)
            assert ours[theme] == re.findall(rf"--{other}: (#\w+)", report)[theme], own
    for name, kind in (("--positive: #0072b2;", "--blue: #0072b2;"),
                       ("--negative: #d55e00;", "#d55e00")):  # fmt: skip
        assert name in style
        assert kind in report


def test_no_two_modules_use_a_name_at_the_top() -> None:
    # They share one script, in which a second function of a name would replace the first.
    names: list[str] = []
    for module in MODULES:
        source = (resources.files("nplenet.page") / module).read_text("utf-8")
        pattern = r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+|\[.*?\]|\{.*?\})"
        for found in re.findall(pattern, source, re.MULTILINE):
            names += re.findall(r"\w+", found)
    assert sorted(names) == sorted(set(names))
