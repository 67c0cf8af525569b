"""Show the contents of a checkpoint: model, settings, progress, environment."""

from __future__ import annotations

import argparse
import json

from ..checkpoint import CheckpointError, Epoch, load
from ..recipe import input_shape
from . import add_checkpoint


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument(
        "--json", action="store_true", help="print everything except the tensors as JSON"
    )


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    record = checkpoint.record
    if options.json:
        tensors = {k: [a.dtype.name, list(a.shape)] for k, a in checkpoint.tensors.items()}
        print(json.dumps(record | {"tensors": tensors}, indent=2))
        return 0
    kind = "a training run" if "progress" in record else "a model"
    print(f"{checkpoint.path}: {kind}, written by nplenet {record['nplenet']}")
    try:
        model = checkpoint.model()
        print(model.summary(input_shape(model)))  # type: ignore[attr-defined]
    except (AttributeError, CheckpointError, ValueError):
        # The shape of its input is unknown, or its layers are not the library's.
        print(json.dumps(record["model"], indent=2))
    for name in ("arguments", "environment"):
        if name in record:
            print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in record[name].items()))
    if "progress" in record:
        progress = record["progress"]
        for epoch in progress["epochs"]:
            print(Epoch(**epoch))
        steps = len(checkpoint.tensors["epoch.losses"])
        print(
            f"{len(progress['epochs'])} epochs and {steps} steps done in "
            f"{progress['seconds']:.1f} s; optimizer {record['optimizer']['type']} at step "
            f"{record['optimizer']['step']:,}"
        )
    return 0
