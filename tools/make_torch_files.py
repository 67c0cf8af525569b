"""Write tests/golden/torch_files: one small file for each way in which people save with PyTorch.

Run once, kept to show where the files came from: ``python tools/make_torch_files.py`` from the
repository's root, with PyTorch and safetensors installed. ``tools/make_interop.py`` calls it too.
All hold the weights of one small network, or say why not: tests/interop/test_torch_files.py.
"""

from __future__ import annotations

import argparse
import datetime
import enum
import pathlib
import re
import warnings
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "torch_files"
FLOAT8 = ("float8_e4m3fn", "float8_e5m2")


class Tiny(nn.Module):
    """A dense layer and a batch norm, of numbers that float8 can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[0.5, -1.0, 2.0], [0.25, 4.0, -0.5]]))
            self.fc.bias.copy_(torch.tensor([1.0, -2.0]))
            self.norm.running_mean.copy_(torch.tensor([0.5, 0.25]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.fc(x))
        return y


class Wrapper(nn.Module):
    """A network under a name of the user's."""

    def __init__(self, name: str, model: nn.Module) -> None:
        super().__init__()
        setattr(self, name, model)


@dataclass
class Config:
    """Settings of a user's own class."""

    lr: float = 0.1


class Mode(enum.Enum):
    """An enumeration of a user's own."""

    FAST = 1


class Array(torch.Tensor):
    """A subclass of tensors."""


def files() -> dict[str, Any]:
    """Return what ``torch.save`` writes, by the name of its file."""
    model = Tiny().eval()
    state = model.state_dict()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    state = Tiny().state_dict()  # as before the step
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    more = {"epoch": 3, "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict()}
    settings = argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("run"))
    return {
        "plain.pth": state,
        "plain.pt": state,
        "parallel.pth": nn.DataParallel(Tiny()).state_dict(),
        "compiled.pth": torch.compile(Tiny()).state_dict(),
        "compiled_parallel.pth": torch.compile(nn.DataParallel(Tiny())).state_dict(),
        "wrapped.pth": Wrapper("model", Tiny()).state_dict(),
        "wrapped_otherwise.pth": Wrapper("backbone", Tiny()).state_dict(),
        "state_dict.pth": {**more, "state_dict": state, "best_acc1": torch.tensor(99.1)},
        "model_state_dict.pth": {**more, "model_state_dict": state, "loss": 0.3},
        "nested.pth": {"checkpoint": {"model": state, **more}, "config": {"lr": 0.1}},
        "fsdp.pth": {"model": state, "optim": {"state": {"fc.weight": {"exp_avg": torch.ones(2)}}}},
        "two.pth": {"model": state, "ema": {k: v + 1 for k, v in state.items()}, "epoch": 2},
        "namespace.pth": {"model": state, "args": settings, "when": datetime.date(2024, 1, 2)},
        "values.pth": {
            "model": state,
            "best": np.float64(0.3),
            "history": np.zeros(3),
            "shape": torch.Size([1, 2]),
            "device": torch.device("cpu"),
            "dtype": torch.float32,
            "rng_state": torch.arange(16, dtype=torch.uint8),
            "losses": defaultdict(list, {"train": [1.0]}),
            "seen": {1, 2},
            1.5: "a key that is a float",
        },
        "own_class.pth": {"model": state, "config": Config(), "mode": Mode.FAST},
        "lightning.ckpt": {
            "epoch": 1,
            "pytorch-lightning_version": "2.2.0",
            "state_dict": {f"model.{name}": tensor for name, tensor in state.items()},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.1)}},
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [schedule.state_dict()],
            "hyper_parameters": {"lr": 0.1, "config": Config()},
        },
        "beside.pth": {**state, "epoch": 3, "note": "x"},
        "tuple.pth": (state, optimizer.state_dict()),
        "subclass.pth": {k: v.as_subclass(Array) for k, v in state.items()},
        "half.pth": {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
        "bfloat16.pth": {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()},
        "double.pth": {k: v.double() if v.is_floating_point() else v for k, v in state.items()},
        "list_of_parameters.pth": list(model.parameters()),
        "one_tensor.pth": torch.zeros(3),
        "optimizer_only.pth": optimizer.state_dict(),
        "whole_model.pth": Tiny(),
        "model_inside.pth": {"epoch": 1, "model": Tiny()},
        "nan.pth": {k: v * float("nan") if k == "fc.weight" else v for k, v in state.items()},
        "infinite.pth": {k: v / 0 if k == "fc.bias" else v for k, v in state.items()},
        "sparse.pth": {k: v.to_sparse() if v.ndim == 2 else v for k, v in state.items()},
        "complex.pth": {k: v.to(torch.complex64) for k, v in state.items()},
        "meta.pth": {k: v.to("meta") for k, v in state.items()},
        "quantised_tensors.pth": {
            k: torch.quantize_per_tensor(v, 0.25, 0, torch.qint8) if v.is_floating_point() else v
            for k, v in state.items()
        },
        "quantised_model.pth": torch.ao.quantization.quantize_dynamic(
            Tiny(), {nn.Linear}, dtype=torch.qint8
        ).state_dict(),
        **{f"{name}.pth": as_float8(name) for name in FLOAT8},
    }


def as_float8(name: str) -> dict[str, torch.Tensor]:
    """Return the weights in a dtype of 8 bits."""
    dtype = getattr(torch, name)
    state = Tiny().state_dict()
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


def write(folder: pathlib.Path) -> None:
    """Write all files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is deprecated in PyTorch is what people have
        for name, content in files().items():
            torch.save(content, folder / name)
        model, state = Tiny().eval(), Tiny().state_dict()
        torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
        torch.jit.script(model).save(str(folder / "script.pt"))
        torch.jit.trace(model, torch.zeros(2, 3)).save(str(folder / "trace.pt"))
        exported = torch.export.export(model, (torch.zeros(2, 3),))
        torch.export.save(exported, str(folder / "exported.pt2"))
    safetensors.torch.save_file(state, folder / "plain.safetensors")
    named = {f"module.{name}": tensor for name, tensor in state.items()}
    safetensors.torch.save_file(named, folder / "parallel.safetensors")
    safetensors.torch.save_file(as_float8(FLOAT8[0]), folder / f"{FLOAT8[0]}.safetensors")
    for name in ("script.pt", "trace.pt", "exported.pt2"):
        without_paths(folder / name)
    whole = (folder / "plain.pth").read_bytes()
    (folder / "cut.pth").write_bytes(whole[:-300])


def without_paths(path: pathlib.Path) -> None:
    """Take the names of this machine's folders out of an archive."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    here = re.compile(rb"/[\w/.-]+/(?=tools/|torch/)")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            if not name.endswith(".debug_pkl"):
                archive.writestr(name, here.sub(b"", content))


if __name__ == "__main__":
    write(FOLDER)
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
