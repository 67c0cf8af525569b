"""Write tests/golden/interop: weights saved by PyTorch, and the logits of the same models.

Also tests/golden/torch_files, by ``make_torch_files.py``: each way in which people save weights.
Run once, kept to show where the files came from: ``python tools/make_interop.py`` from the
repository's root, with PyTorch and safetensors installed. Weights are float16, to keep the files
small; PyTorch computes the logits from the same rounded weights, in float64.
"""

from __future__ import annotations

from pathlib import Path

import make_torch_files
import numpy as np
import safetensors.torch
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden" / "interop"
IMAGES = 3


def main() -> None:
    """Write the two models' weights, a checkpoint of all dtypes, and what the tests compare."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1998)
    arrays = {"torch_version": np.array(torch.__version__)}
    for name, model, size in [("lenet5", LeNet5(), 32), ("notebook", notebook(), 28)]:
        vary(model)
        state = model.half().state_dict()
        if name == "lenet5":
            torch.save(state, FOLDER / "lenet5.pth")
        else:
            safetensors.torch.save_file(state, FOLDER / "notebook.safetensors")
        x = torch.rand(IMAGES, 1, size, size).half()
        with torch.no_grad():
            arrays |= {f"{name}.x": x.numpy(), f"{name}.logits": model.double()(x.double()).numpy()}
    state = every_kind_of_tensor()
    torch.save(checkpoint(state), FOLDER / "checkpoint.pth")
    distinct = {k: tensor.contiguous() for k, tensor in state.items() if k != "tied"}
    safetensors.torch.save_file(distinct, FOLDER / "tensors.safetensors")
    for k, tensor in state.items():
        values = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        arrays[f"tensors.{k}"] = values.detach().numpy()
    np.savez_compressed(FOLDER / "expected.npz", **arrays)  # type: ignore[arg-type]
    make_torch_files.write(make_torch_files.FOLDER)
    for path in sorted([*FOLDER.iterdir(), *make_torch_files.FOLDER.iterdir()]):
        print(f"{path.name}: {path.stat().st_size:,} bytes")


class LeNet5(nn.Module):
    """The PyTorch module that equals nplenet's LeNet5."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(84, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x))
        return logits


def notebook() -> nn.Sequential:
    """Return the PyTorch module that equals nplenet's LeNet5For28x28."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.BatchNorm2d(16),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.BatchNorm1d(120),
        nn.Dropout(0.5),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.BatchNorm1d(84),
        nn.Dropout(0.5),
        nn.Linear(84, 10),
    )


def vary(model: nn.Module) -> None:
    """Give every batch norm weights and statistics unlike the initial ones; switch to inference."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
                tensor.uniform_(-0.5, 1.5)
            layer.running_var.uniform_(0.5, 1.5)
            layer.num_batches_tracked.fill_(7)
    model.eval()


def every_kind_of_tensor() -> dict[str, torch.Tensor]:
    """Return small tensors of each supported dtype, and of each kind of storage layout."""
    dtypes = [
        "float16",
        "float32",
        "float64",
        "bfloat16",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
    ]
    state = {name: torch.arange(6).to(getattr(torch, name)).reshape(2, 3) for name in dtypes}
    state["bool"] = torch.tensor([True, False, True])
    state["scalar"] = torch.tensor(3.5)
    state["empty"] = torch.zeros(0, 3)
    state["transposed"] = torch.arange(6.0).reshape(2, 3).t()
    state["part"] = torch.arange(20.0)[3:15:4]
    state["parameter"] = nn.Parameter(torch.arange(3.0))
    state["tied"] = state["parameter"]
    return state


def checkpoint(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """Return a state_dict within a larger checkpoint, with the usual other entries."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"model_state_dict": state, "optimizer": optimizer.state_dict(), "epoch": 3}


if __name__ == "__main__":
    main()
