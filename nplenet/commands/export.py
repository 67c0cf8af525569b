"""Write a trained model as an ONNX file, or as weights for PyTorch.

examples:
  nplenet export default --to onnx --output digits.onnx
  nplenet export run/checkpoint.safetensors --to pytorch
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..augment import in_words
from ..checkpoint import DEFAULT_MODEL, load
from ..input_shape import input_shape
from ..terminal import printable, show
from . import add_checkpoint, add_input_shape, check_output, nonempty_path

SUFFIXES = {
    "onnx": (".onnx",),
    "pytorch": (".pth", ".pt", ".pth.tar", ".bin", ".ckpt", ".safetensors"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument("--to", choices=SUFFIXES, required=True, help="format to write")
    parser.add_argument(
        "--output",
        type=nonempty_path,
        metavar="FILE",
        help="file to write: .onnx, or .pth, .pt or .safetensors for PyTorch (default: beside the "
        "checkpoint, with the suffix .onnx or .pth; for the bundled model in this folder)",
    )
    add_input_shape(parser)


def run(options: argparse.Namespace) -> int:
    suffixes = SUFFIXES[options.to]
    beside = options.checkpoint.with_suffix(suffixes[0])
    if options.checkpoint == DEFAULT_MODEL:
        beside = Path(beside.name)  # not into the installed package
    path = options.output or beside
    if not path.name.endswith(suffixes):
        raise ValueError(f"--output must end with {' or '.join(suffixes)}, got {path}")
    check_output("--output", path, options.checkpoint)
    checkpoint = load(options.checkpoint)
    model = checkpoint.model(allow_non_finite=options.allow_non_finite)
    if options.to == "onnx":
        from ..interop import onnx, onnx_input  # needs the extra `onnx`

        shape = input_shape(model, options.input_shape or checkpoint.input_shape)
        onnx.export(model, path, shape)
        words = onnx_input.sentence(model, preprocessing=True)
    else:
        from ..interop import pytorch

        pytorch.save(model, path)
        words = f"the weights take {in_words(model.preprocessing)}"
    show(f"wrote {printable(path)}")
    show(printable(words))
    return 0
