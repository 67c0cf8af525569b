"""A run of all that LeNet-5 lacks: other layers, groups of parameters, frozen ones, preprocessing.

[image] -> [grouped, dilated conv] -> [GroupNorm] -> [Residual] -> [LayerNorm] -> [classes]
"""

from __future__ import annotations

import io
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nplenet import compile
from nplenet.augment import Compose, Normalize, RandomInvert, ToFloat
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.data import DataLoader, load_dataset
from nplenet.layers import (
    GELU,
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    LayerNorm,
    MaxPool2d,
    Residual,
    Sequential,
    Softmax,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.schedules import PlateauLR
from nplenet.terminal import printable
from nplenet.train import NonFiniteLoss, fit

from .bench import Outcome

CLASS_NAMES = tuple(f"class {i}" for i in range(10))


def network() -> Sequential:
    """Return the network, whose first convolution and batch norm are not trained."""
    body = Sequential(Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, rng=1), GELU())
    model = Sequential(
        Conv2d(1, 4, 5, stride=4, rng=0),
        BatchNorm2d(4),
        GroupNorm(2, 4),
        Residual(body, Conv2d(4, 4, 1, rng=2)),
        MaxPool2d(2),
        LayerNorm((4, 3, 3)),
        Residual(Sequential(GELU())),
        GlobalAvgPool2d(),
        Flatten(),
        Softmax(),
        Dense(4, 10, rng=3),
    )
    for layer in list(model)[:2]:
        layer.eval()
        for parameter in layer.parameters():
            parameter.requires_grad = False
    return model


def train(folder: Path, epochs: int = 2, *, resume: Path | None = None, **kept: Any) -> None:
    """Train the network in a folder, from the beginning or on from a checkpoint."""
    data = load_dataset("digits").limited(48)
    model = network()
    parameters = list(model.parameters())
    groups = [{"params": parameters[:8], "lr": 0.01}, {"params": parameters[8:], "lr": 0.1}]
    optimizer = SGD(groups, momentum=0.9)
    transform = Compose([RandomInvert(0.5), ToFloat(), Normalize(0.5, 0.25)])
    rng = np.random.default_rng(0)
    images, labels = data.train_images, data.train_labels
    loss = CrossEntropyLoss()
    # Pinned, as tuning would write a cache; a forged run brings its own.
    pinned = resume is None or "keep" in kept
    step = compile(model, loss, optimizer, 16, tunables={"threads": 1}) if pinned else None
    fit(
        model,
        loss,
        optimizer,
        DataLoader(images, labels, 16, transform=transform, rng=0, transform_rng=rng),
        epochs=epochs,
        step=step,
        schedule=PlateauLR(optimizer, patience=0),
        validation=(data.test_images, data.test_labels),
        checkpoints=CheckpointFolder(
            folder, arguments={"dataset": "digits", "class_names": list(CLASS_NAMES)}, **kept
        ),
        resume=load(resume) if resume else None,
        clip_norm=1.0,
        progress=False,
    )


def resume(path: Path, folder: Path) -> Outcome:
    """Do with a checkpoint what ``train --resume`` does with one of LeNet-5."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            train(folder, 3, resume=path)
            status = 0
        except (NonFiniteLoss, OSError, ValueError) as error:  # those that ``fit`` promises
            print(f"nplenet: {printable(' '.join(str(error).split()))}", file=err)
            status = 2
        except Exception:
            return Outcome(99, out.getvalue(), traceback.format_exc())
    return Outcome(status, out.getvalue(), err.getvalue())


# ------------------------------------------------------------------ forgeries by hand

Record = dict[str, Any]


def at(*path: Any, value: Any) -> Callable[[Record], None]:
    """Return the change of a record at one place."""

    def change(record: Record) -> None:
        inside: Any = record
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value

    return change


def layer(name: str, **values: Any) -> Callable[[Record], None]:
    """Return the change of arguments of a layer of the network."""

    def change(record: Record) -> None:
        found: Any = record["model"]["layers"]
        for key in name.split("/"):
            found = found[key]
        found.update(values)

    return change


def nested(depth: int, **more: Any) -> Callable[[Record], None]:
    """Return the change to a model of as many Residuals in each other."""

    def change(record: Record) -> None:
        inner: Any = {"type": "GELU"}
        for _ in range(depth):
            inner = {"type": "Residual", "body": inner, **more}
        record["model"]["layers"]["6"] = inner

    return change


def long_body(record: Record) -> None:
    chain = {str(i): {"type": "GELU"} for i in range(100_000)}
    record["model"]["layers"]["6"]["body"] = {"type": "Sequential", "layers": chain}


def wide(record: Record, blocks: int = 3000) -> None:
    """Many blocks beside each other, each of a nest of chains."""
    for i in range(blocks):
        inner: Any = {"type": "GELU"}
        for _ in range(12):
            inner = {"type": "Residual", "body": inner, "shortcut": {"type": "GELU"}}
        record["model"]["layers"][f"block {i}"] = inner


CONV = "3/body/layers/0"
HUGE = (10**6, 10**18, 10**400)
CHANGES: dict[str, Callable[[Record], None]] = {
    **{f"{n:.0e} groups".replace("+", ""): layer(CONV, groups=n) for n in HUGE[:2]},
    **{f"dilation of {len(str(n))} digits": layer(CONV, dilation=[n, n]) for n in HUGE},
    **{
        f"dilation and padding of {len(str(n))} digits": layer(
            CONV, dilation=[n, n], padding=[n, n]
        )
        for n in (1000, 20_000, *HUGE)
    },
    **{
        f"stride and padding of {len(str(n))} digits": layer(
            CONV, stride=[n, n], padding=[n, n], dilation=[1, 1]
        )
        for n in (1000, 20_000, *HUGE)
    },
    **{
        f"pooling with stride and padding of {len(str(n))} digits": layer(
            "4", stride=[n, n], padding=[n, n], kernel_size=[2 * n, 2 * n]
        )
        for n in (128, 20_000, *HUGE)
    },
    **{f"norm of {len(str(n))} digits of groups": layer("2", num_groups=n) for n in HUGE},
    **{f"norm of {len(str(n))} digits of channels": layer("2", num_channels=n) for n in HUGE},
    **{
        f"layer norm of {len(str(n))} digits": layer("5", normalized_shape=[n, n], bias=False)
        for n in HUGE
    },
    "layer norm of 100,000 axes": layer("5", normalized_shape=[2**62] * 100_000),
    "layer norm of 100,000 axes of one": layer("5", normalized_shape=[1] * 100_000),
    "layer norm of no axis": layer("5", normalized_shape=[]),
    "layer norm of layers": layer("5", normalized_shape=[{"type": "GELU"}] * 100_000),
    "layer norm of lists": layer("5", normalized_shape=[[[4]]]),
    "groups true": layer(CONV, groups=True),
    "groups null": layer(CONV, groups=None),
    "zero groups": layer(CONV, groups=0),
    "a body that is none": layer("6", body=None),
    "a body that is a text": layer("6", body="GELU"),
    "a body that is a list": layer("6", body=[{"type": "GELU"}]),
    "a shortcut that is a number": layer("6", shortcut=3),
    "a body of another shape": layer("6", body={"type": "Flatten"}),
    "a class of the library that is no layer": layer("6", type="Parameter"),
    "softmax with an argument": layer("9", axis=0),
    "eps huge": layer("2", eps=10**400),
    "eps negative": layer("5", eps=-1),
    "20 blocks in each other": nested(20, shortcut={"type": "GELU"}),
    "40 blocks in each other": nested(40),
    "90 blocks in each other": nested(90),
    "a body of 100,000 layers": long_body,
    "36,000 blocks": wide,
    "1,400 blocks": partial(wide, blocks=120),
    "preprocessing by 100,000 transforms": at(
        "preprocessing", value=[{"type": "ToFloat", "dtype": "float32"}] * 100_000
    ),
    "preprocessing by 2,000 transforms": at(
        "preprocessing",
        value=[{"type": "ToFloat"}] + [{"type": "Normalize", "mean": 0, "std": 1}] * 2000,
    ),
    "a mean of 200,000 channels": at(
        "preprocessing", 1, value={"type": "Normalize", "mean": [0.5] * 200_000, "std": 1}
    ),
    "a mean of lists": at("preprocessing", 1, "mean", value=[[0.5]]),
    "a mean of ragged lists": at("preprocessing", 1, "mean", value=[[0.5], 1]),
    "a mean of texts": at("preprocessing", 1, "mean", value=["x"]),
    "a mean that is an object": at("preprocessing", 1, "mean", value={"0": 1}),
    "a deviation of zero": at("preprocessing", 1, "std", value=0),
    "a deviation of 1e-300": at("preprocessing", 1, "std", value=1e-300),
    "floats of objects": at("preprocessing", 0, "dtype", value="object"),
    "floats of a text": at("preprocessing", 0, "dtype", value="S10"),
    "floats of a list": at("preprocessing", 0, "dtype", value=["f4"]),
    "floats of records": at("preprocessing", 0, "dtype", value="f4,f4"),
    "floats of 128 bits": at("preprocessing", 0, "dtype", value="float128"),
    "a transform of no type": at("preprocessing", 1, value={}),
    "a transform with an argument": at("preprocessing", 1, "self", value=1),
    "no preprocessing known": at("preprocessing", value=None),
    "images of 3 x 256 x 256": at("input_shape", value=[1, 256, 768]),
    "images of one row": at("input_shape", value=[1, 1, 196_608]),
    "images of 27 x 27": at("input_shape", value=[1, 27, 27]),
    "an input of one axis": at("input_shape", value=[10]),
    "an input of texts": at("input_shape", value=["1", "32", "32"]),
    "200,000 frozen names": at("frozen", value=["x"] * 200_000),
    "frozen none": at("frozen", value=None),
    "frozen numbers": at("frozen", value=[1]),
    "all frozen": at("frozen", value=["x.weight", "5.bias", "10.weight", "10.bias"]),
    "none frozen": at("frozen", value=[]),
    "all in eval": at("eval", value=["", "0.", "1.", "3.body."]),
    "200,000 names of classes": at("arguments", "class_names", value=["x"] * 200_000),
    "names of classes an object": at("arguments", "class_names", value={"0": "x"}),
    "names of classes numbers": at("arguments", "class_names", value=[1] * 10),
    "names of classes of 10,001 characters": at("arguments", "class_names", value=["x" * 10_001]),
    "pictures a text": at("pictures", value="whole"),
    "pictures of no kind": at("pictures", value={}),
    "pictures of an unknown kind": at("pictures", value={"kind": "x"}),
    "pictures of 2^40 pixels": at("pictures", value={"kind": "whole", "size": [2**20, 2**20]}),
    "pictures larger than the input": at("pictures", value={"kind": "whole", "size": [99, 99]}),
    "pictures of one side": at("pictures", value={"kind": "whole", "size": [32]}),
    "a polarity of lists": at("pictures", value={"kind": "digit", "polarity": [["light"]]}),
    "more names than classes": at("pictures", value={"kind": "whole", "classes": ["x"] * 999}),
    "200,000 names in pictures": at(
        "pictures", value={"kind": "whole", "classes": ["x"] * 200_000}
    ),
    "names that are formulas": at(
        "pictures", value={"kind": "digit", "classes": ["$\\frac{", "\x1b[2J", "\u202e"]}
    ),
    "no groups": at("optimizer", "groups", value=[]),
    "groups an object": at("optimizer", "groups", value={}),
    "groups of numbers": at("optimizer", "groups", value=[1, 2]),
    "a group of no parameters": at("optimizer", "groups", 0, "parameters", value=None),
    "a group of other parameters": at("optimizer", "groups", 0, "parameters", value=["x"]),
    "a group of lists": at("optimizer", "groups", 0, "parameters", value=[[]] * 8),
    "a group whose rate is a text": at("optimizer", "groups", 1, "lr", value="x"),
    "a group whose rate is infinite": at("optimizer", "groups", 1, "lr", value=1e400),
    "100,000 groups": at("optimizer", "groups", value=[{"parameters": ["x"]}] * 100_000),
    "reductions of 2^62": at("schedule", "reductions", value=2**62),
    "reductions without end": lambda record: record["schedule"].update(
        reductions=2**62, factor=1 - 1e-12, base_lr=1e300, base_lrs=[1e300, 1e300]
    ),
    "many small reductions": lambda record: record["schedule"].update(
        reductions=2**62, factor=1 - 1.1e-8, base_lr=1e4, base_lrs=[1e4, 1e4]
    ),
    "a factor of NaN": at("schedule", "factor", value=float("nan")),
    "a factor of one": lambda record: record["schedule"].update(factor=1.0, reductions=2**62),
    "the best loss a text": at("schedule", "best", value="x"),
    "the rates a number": at("schedule", "base_lrs", value=0.1),
    "the rates of lists": at("schedule", "base_lrs", value=[[0.1], 0.1]),
    "the rates of texts": at("schedule", "base_lrs", value=["x", "y"]),
    "bad epochs without end": at("schedule", "bad_epochs", value=2**63),
}
