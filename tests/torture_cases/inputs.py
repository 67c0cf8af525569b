"""Input files that ask for much: bounded memory and time, one line for what is refused."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from nplenet.checkpoint import load, save_model
from nplenet.checkpoint.file import write_file
from nplenet.layers import Dense, Sequential

from .bench import GOALS as GOALS
from .bench import Bench, Case, Figure

HUGE = (3000, 10**6, 10**18)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its kind of colour


def png(width: int, height: int, colour: int, depth: int = 8, *chunks: bytes) -> bytes:
    """Return a PNG of zeros; ``colour`` 0 is grey, 2 RGB, 3 a palette, 4 grey and alpha, 6 RGBA."""

    def chunk(data: bytes) -> bytes:
        return struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = bytes(1 + -(-width * CHANNELS[colour] * depth // 8))
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    palette = (b"PLTE" + bytes(768),) if colour == 3 else ()
    parts = [header, *palette, *chunks, b"IDAT" + packed, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, parts))


def jpeg(width: int, height: int, **options: Any) -> bytes:
    from PIL import Image  # which tests that only need a PNG do without

    target = io.BytesIO()
    Image.new("RGB", (width, height), (10, 20, 200)).save(target, "JPEG", **options)
    return target.getvalue()


def jpeg_of_65535() -> bytes:
    data = bytearray(jpeg(40, 40))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    size = width * height * 3 % 2**32
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", (54 + size) % 2**32, 0, 0, 54) + header


def image(contents: Callable[[], bytes], decoded: int) -> Case:
    """Return a case that reads an image whose decoded size is given in bytes."""

    def case(bench: Bench) -> str:
        path = bench.new(".image")
        path.write_bytes(contents())
        wrong = bench.answered("predict", "default", path, decoded=decoded)
        path.unlink()
        return wrong

    return case


def grey_in_pieces(side: int) -> bytes:
    """Return the image data of a PNG in chunks of one byte."""
    return png(side, side, 0, 8, *[b"tEXta\0b"] * 50_000)


def text_bomb(kind: bytes) -> Callable[[], bytes]:
    return lambda: png(40, 40, 0, 8, kind + b"name\0\0" + packed_zeros(400_000_000, 15))


def packed_zeros(count: int, form: int = 31, before: bytes = b"") -> bytes:
    """Return zeros, by default in a gzip archive."""
    packer, part = zlib.compressobj(1, wbits=form), bytes(10_000)
    parts = [packer.compress(before), *(packer.compress(part) for _ in range(count // 10_000))]
    return b"".join(parts) + packer.compress(bytes(count % 10_000)) + packer.flush()


IMAGES = {
    "PNG 9400x9400 RGBA": image(lambda: png(9400, 9400, 6), 9400 * 9400 * 4),
    "PNG 8000x8000 RGBA": image(lambda: png(8000, 8000, 6), 8000 * 8000 * 4),
    "PNG 8000x8000 grey": image(lambda: png(8000, 8000, 0), 8000 * 8000),
    "PNG 8000x8000 of 16 bits": image(lambda: png(8000, 8000, 0, 16), 8000 * 8000 * 2),
    "PNG 8000x8000 RGB of 16 bits": image(lambda: png(8000, 8000, 2, 16), 8000 * 8000 * 6),
    "PNG 8000x8000 of one bit": image(lambda: png(8000, 8000, 0, 1), 8000 * 8000),
    "PNG 8000x8000 grey and alpha": image(lambda: png(8000, 8000, 4), 8000 * 8000 * 4),
    "PNG 8000x8000 of a transparent palette": image(
        lambda: png(8000, 8000, 3, 8, b"tRNS" + bytes(256)), 8000 * 8000
    ),
    "PNG 89,000,000x1": image(lambda: png(89_000_000, 1, 0), 89_000_000),
    "PNG 1x89,000,000": image(
        lambda: png(1, 200, 0).replace(b"\0\0\0\xc8", b"\5\x4e\x06\x40"), 200
    ),
    "PNG 32768x1900": image(lambda: png(32768, 1900, 6), 32768 * 1900 * 4),
    "PNG 1x32768": image(lambda: png(1, 32768, 6), 32768 * 4),
    "PNG of 50,000 texts": image(lambda: grey_in_pieces(40), 1600),
    "PNG with a text of 400 MB": image(text_bomb(b"zTXt"), 1600),
    "PNG with a profile of 400 MB": image(text_bomb(b"iCCP"), 1600),
    "JPEG 8000x8000": image(lambda: jpeg(8000, 8000), 8000 * 8000 * 3),
    "JPEG 65535x65535": image(jpeg_of_65535, 40 * 40 * 3),
    "JPEG 7000x7000, progressive": image(
        lambda: jpeg(7000, 7000, progressive=True), 2 * 7000 * 7000 * 3
    ),  # whose coefficients have two bytes
    "BMP of 4,000,000,000 pixels and no data": image(lambda: bmp(2_000_000, 2000), 54),
    "BMP 8000x8000": image(lambda: bmp(8000, 8000) + bytes(8000 * 8000 * 3), 8000 * 8000 * 3),
    "GIF": image(lambda: b"GIF89a\xff\xff\xff\xff\x00\x00\x00;", 14),
    "SVG": image(lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9e9" height="9e9"/>', 14),
}

# ------------------------------------------------------------------ models

MODEL_USES = {
    "info": "info {}",
    "predict": "predict {} {image}",
    "evaluate": "evaluate {} --dataset digits --limit 2",
    "draw": "draw {} --no-open --output {new}.html",
    "onnx": "export {} --to onnx --output {new}.onnx",
}


def changed(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of the first convolution in a description of LeNet-5."""

    def change(model: dict[str, Any]) -> None:
        model["layers"]["features"]["layers"]["0"][name] = value

    change.__name__ = f"{name} {value}"
    return change


def many_layers(model: dict[str, Any]) -> None:
    model.clear()
    model |= {"type": "Sequential", "layers": {str(i): {"type": "ReLU"} for i in range(100_000)}}


def deep(model: dict[str, Any]) -> None:
    inner: dict[str, Any] = {"type": "ReLU"}
    for _ in range(400):
        inner = {"type": "Sequential", "layers": {"0": inner}}
    model.clear()
    model |= inner


MODELS: dict[str, Callable[[dict[str, Any]], None]] = {
    **{f"padding {size}": changed("padding", [size, size]) for size in HUGE},
    **{f"stride {size}": changed("stride", [size, size]) for size in HUGE},
    **{f"window {size}": changed("kernel_size", [size, size]) for size in HUGE},
    **{f"{size} channels": changed("out_channels", size) for size in HUGE},
    "100,000 layers": many_layers,
    "400 chains in each other": deep,
}


def model_case(change: Callable[[dict[str, Any]], None], how: str) -> Case:
    def case(bench: Bench) -> str:
        path = bench.new(".safetensors")
        saved = load(bench.make_run())
        change(saved.record["model"])
        write_file(path, saved.tensors, saved.record)
        return use(bench, path, how, f"{change.__name__}, {how}")

    return case


def use(bench: Bench, path: Path, how: str, name: str) -> str:
    digit = bench.new(".png")
    digit.write_bytes(png(40, 40, 0))
    words = MODEL_USES[how].split()
    command = [word.format(path, image=digit, new=bench.new()) for word in words]
    decoded = path.stat().st_size
    return bench.answered(*command, decoded=decoded, name=name)


def chain_of_6900(how: str) -> Case:
    """Use a model of 6,900 dense layers of one weight."""

    def case(bench: Bench) -> str:
        path = bench.new(".safetensors")
        save_model(Sequential(*(Dense(1, 1) for _ in range(6900))), path)
        return use(bench, path, how, f"6,900 layers, {how}")

    return case


# ------------------------------------------------------------------ what is not a file, and IDX


def fifo_case(command: str) -> Case:
    """Give a command a pipe without a writer."""

    def case(bench: Bench) -> str:
        pipe, folder = bench.new(), bench.new()
        os.mkfifo(pipe)
        folder.mkdir()
        os.mkfifo(folder / "history.json")
        return bench.answered(*command.format(pipe=pipe, folder=folder, new=bench.new()).split())

    return case


PIPES = {
    "info": "info {pipe}",
    "evaluate": "evaluate {pipe}",
    "draw": "draw {pipe} --no-open --output {new}",
    "export": "export {pipe} --to onnx --output {new}",
    "image": "predict default {pipe}",
    "resume": "train --resume {pipe} --output {new}",
    "report": "report {folder}",
    "data": "evaluate default --dataset mnist --no-download --data-dir {folder}",
}


def idx_case(images: Callable[[], bytes], labels: bytes, decoded: int) -> Case:
    """Test on images of these bytes."""

    def case(bench: Bench) -> str:
        folder = bench.new()
        folder.mkdir()
        for name, contents in (("images-idx3", images()), ("labels-idx1", labels)):
            for split in ("train", "t10k"):
                (folder / f"{split}-{name}-ubyte").write_bytes(contents)
        words = ["evaluate", "default", "--dataset", "mnist", "--no-download", "--limit", "2"]
        return bench.answered(*words, "--data-dir", folder, decoded=decoded)

    return case


def idx(*shape: int, data: bytes = b"") -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + data


LABELS = idx(10, data=bytes(range(10)))
IDX = {
    "a header of 2^31 images": idx_case(lambda: idx(2**31 - 1, 28, 28), LABELS, 16),
    "a packed header of 2^31 images": idx_case(
        lambda: gzip.compress(idx(2**31 - 1, 28, 28)), LABELS, 16
    ),
    "a bomb": idx_case(lambda: packed_zeros(200_000_000, before=idx(10, 28, 28)), LABELS, 7840),
    "64 dimensions": idx_case(lambda: idx(*[1] * 64), LABELS, 260),
    "255 dimensions": idx_case(lambda: idx(*[2] * 255), LABELS, 1024),
    "60,000 images": idx_case(
        lambda: packed_zeros(47_040_000, before=idx(60_000, 28, 28)),
        packed_zeros(60_000, before=idx(60_000)),
        2 * 47_040_000,  # of both splits
    ),
}
FOLDERS = {
    name: (lambda bench, command=command: bench.answered(*command.format("/dev/zero").split()))
    for name, command in {
        "/dev/zero as a checkpoint": "info {}",
        "/dev/zero as an image": "predict default {}",
        "/dev/zero as a run": "report {}",
    }.items()
}


def images_at_random(bench: Bench) -> Iterator[tuple[str, str]]:
    """Read images of random sizes, in which zeros cost no bytes."""
    number = 0
    while bench.goes_on(number):
        rng = random.Random(f"{bench.seed} images {number}")
        pixels = 10 ** rng.uniform(5, 8)
        width = max(int(pixels ** rng.uniform(0.3, 0.7)), 1)
        height = max(int(pixels / width), 1)
        colour, depth = rng.choice(((0, 8), (0, 1), (0, 16), (2, 8), (3, 8), (4, 8), (6, 8)))
        decoded = width * height * CHANNELS[colour] * max(depth // 8, 1)
        decoded *= 2 if colour == 4 else 1  # Pillow has four bytes for grey and alpha
        name = f"image {number} of seed {bench.seed}: PNG {width}x{height} {colour} {depth}"
        yield name, image(partial(png, width, height, colour, depth), decoded)(bench)
        number += 1


FIGURES = [
    Figure("images that ask for much", IMAGES, images_at_random, 0.06),
    Figure(
        "other inputs that ask for much",
        {
            f"{name}, {how}": model_case(change, how)
            for name, change in MODELS.items()
            for how in MODEL_USES
        }
        | {f"6,900 layers, {how}": chain_of_6900(how) for how in MODEL_USES}
        | {f"a pipe: {name}": fifo_case(command) for name, command in PIPES.items()}
        | {f"IDX: {name}": case for name, case in IDX.items()}
        | FOLDERS,
    ),
]
