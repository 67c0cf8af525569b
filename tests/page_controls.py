"""What the tests of the page share: its sliders, its bars, and photos to give to it."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from drawing_page import (
    STROKES,
)
from PIL import Image, ImageDraw

PERCENT = 0.0051  # whole percents are shown


OPENED = """() => {
    for (const id of ["all-on", "close"]) document.getElementById(id).click();
    const set = (id, value) => {
        const slider = document.getElementById(id);
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
    };
    document.getElementById("own-temperature").click();
    set("thickness", 36);
    set("rotate", 0);
    if (document.getElementById("invert").ariaPressed === "true")
        document.getElementById("invert").click();
    document.querySelector("[aria-label='Example 5']").click();
    document.activeElement.blur();
    scrollTo(0, 0);
}"""


BACK = "() => document.getElementById('own-temperature').click()"  # the temperature
SET = """([id, value]) => {
    const slider = document.getElementById(id);
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
}"""


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


GIVE = """([kind, text]) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
    const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
    document.getElementById("board").dispatchEvent(event);
}"""


def hover(page: Any, k: int, x: int = 40) -> tuple[int, ...]:
    """Point at a value of the layer number k and return its index, as the panel names it."""
    layer = page.locator(".layer").nth(k)
    layer.locator(".maps").evaluate("(maps) => maps.scrollIntoView({ block: 'center' })")
    box = layer.locator(".maps").bounding_box()
    y = 10 if "units" in layer.locator(".size").inner_text() else 40  # within the first row
    page.mouse.move(round(box["x"] + x), round(box["y"] + y))
    return tuple(int(n) for n in re.findall(r"\d+", page.inner_text("#place")))
