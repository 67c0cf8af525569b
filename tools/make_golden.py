"""Write tests/golden/*.npz: results of PyTorch, so that the tests do not need PyTorch.

Run once, kept to show where the numbers came from: ``python tools/make_golden.py`` from the
repository's root, with PyTorch installed. Everything is computed in float64, so the numbers do not
depend on the machine, and nplenet's float32 and float64 are both compared to them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
SEED = 1998
STEPS, BATCH = 5, 16
SAMPLE = 1200  # elements kept of a large tensor

LAYERS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Conv2d", {"in_channels": 3, "out_channels": 4, "kernel_size": 3}, (2, 3, 6, 5)),
    (
        "Conv2d",
        {"in_channels": 2, "out_channels": 3, "kernel_size": [3, 2], "stride": [2, 3]}
        | {"padding": [1, 0], "bias": False},
        (2, 2, 8, 9),
    ),
    (
        "Conv2d",
        {"in_channels": 1, "out_channels": 2, "kernel_size": 5, "stride": 2, "padding": 3},
        (2, 1, 7, 6),
    ),
    ("Dense", {"in_features": 7, "out_features": 4}, (5, 7)),
    ("Dense", {"in_features": 7, "out_features": 4, "bias": False}, (5, 7)),
    ("BatchNorm1d", {"num_features": 4}, (6, 4)),
    ("BatchNorm1d", {"num_features": 4, "eps": 0.1, "momentum": 0.3}, (3, 4, 5)),
    ("BatchNorm2d", {"num_features": 3}, (2, 3, 4, 5)),
    ("BatchNorm2d", {"num_features": 3, "momentum": None}, (2, 3, 4, 5)),
    ("AvgPool2d", {"kernel_size": 2}, (2, 3, 6, 8)),
    ("AvgPool2d", {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 1]}, (2, 2, 7, 6)),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, (2, 2, 6, 8)),
    (
        "AvgPool2d",
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        (2, 2, 6, 8),
    ),
    (
        "AvgPool2d",
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
        | {"count_include_pad": False},
        (2, 2, 6, 8),
    ),
    ("AvgPool2d", {"kernel_size": 3, "padding": 1, "count_include_pad": False}, (2, 2, 7, 7)),
    ("MaxPool2d", {"kernel_size": 2}, (2, 3, 6, 8)),
    ("MaxPool2d", {"kernel_size": 3, "stride": [1, 2], "padding": 1}, (2, 2, 6, 7)),
    ("MaxPool2d", {"kernel_size": [2, 3], "stride": 1, "dilation": [3, 2]}, (2, 2, 8, 9)),
    (
        "MaxPool2d",
        {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True},
        (2, 2, 8, 9),
    ),
    # Here ceil_mode must leave out a last window, which would begin beyond the image.
    ("AvgPool2d", {"kernel_size": 2, "padding": 1, "ceil_mode": True}, (2, 2, 5, 7)),
    ("MaxPool2d", {"kernel_size": 2, "padding": 1, "ceil_mode": True}, (2, 2, 5, 7)),
    ("Flatten", {}, (2, 3, 2, 2)),
    ("ReLU", {}, (4, 9)),
    ("LeakyReLU", {}, (4, 9)),
    ("LeakyReLU", {"negative_slope": 0.3}, (4, 9)),
    ("Sigmoid", {}, (4, 9)),
    ("Tanh", {}, (4, 9)),
    (
        "Conv2d",
        {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": 1, "groups": 2},
        (2, 4, 5, 4),
    ),
    (
        "Conv2d",
        {"in_channels": 3, "out_channels": 3, "kernel_size": [2, 3], "stride": [1, 2]}
        | {"padding": [2, 1], "dilation": [3, 2], "groups": 3, "bias": False},
        (2, 3, 5, 8),
    ),
    ("GroupNorm", {"num_groups": 2, "num_channels": 6}, (2, 6, 3, 4)),
    ("GroupNorm", {"num_groups": 1, "num_channels": 4, "eps": 0.1}, (3, 4)),
    ("GroupNorm", {"num_groups": 3, "num_channels": 6, "affine": False}, (2, 6, 5)),
    ("LayerNorm", {"normalized_shape": 6}, (4, 6)),
    ("LayerNorm", {"normalized_shape": [3, 4], "eps": 0.1, "bias": False}, (2, 5, 3, 4)),
    ("LayerNorm", {"normalized_shape": 5, "elementwise_affine": False}, (3, 4, 5)),
    ("GlobalAvgPool2d", {}, (2, 3, 4, 5)),
    ("GELU", {}, (4, 9)),
    ("GELU", {"approximate": "tanh"}, (4, 9)),
    ("Softmax", {"dim": 1}, (4, 7)),
    ("Softmax", {"dim": -3}, (2, 3, 2, 3)),
]

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.02}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {"lr": 0.001}),
    ("Adam", {"lr": 0.002, "betas": [0.8, 0.99], "eps": 1e-4, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.001}),
    ("AdamW", {"lr": 0.002, "weight_decay": 0.5}),
]

LOSSES: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"label_smoothing": 0.1},
    {"reduction": "sum", "label_smoothing": 0.7},
]

SCHEDULES: list[tuple[str, dict[str, Any], int]] = [
    ("StepLR", {"step_size": 4}, 14),
    ("StepLR", {"step_size": 1, "gamma": 0.7}, 8),
    ("CosineLR", {"T_max": 9}, 9),
    ("CosineLR", {"T_max": 6, "eta_min": 0.01}, 15),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 23}, 23),
    (
        "OneCycleLR",
        {"max_lr": 0.4, "total_steps": 20, "pct_start": 0.13, "anneal_strategy": "linear"}
        | {"div_factor": 10.0, "final_div_factor": 100.0},
        20,
    ),
    (
        "OneCycleLR",
        {"max_lr": 0.4, "total_steps": 21, "three_phase": True, "base_momentum": 0.5}
        | {"max_momentum": 0.8},
        21,
    ),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 10, "cycle_momentum": False}, 10),
]

TORCH_NAMES: dict[str, Any] = {
    "Dense": nn.Linear,
    "GlobalAvgPool2d": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "CosineLR": torch.optim.lr_scheduler.CosineAnnealingLR,
}

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Write one file for each subject."""
    FOLDER.mkdir(exist_ok=True)
    for name, arrays in compute().items():
        path = FOLDER / f"{name}.npz"
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        print(f"{path.name}: {path.stat().st_size:,} bytes")


def compute() -> dict[str, Arrays]:
    """Return the arrays of every golden file by its name; ``cases`` is a table in JSON."""
    torch.use_deterministic_algorithms(True)
    files = {"layers": layers(), "losses": losses(), "schedules": schedules(), "lenet5": lenet5()}
    version = {"torch_version": np.array(torch.__version__)}
    return {name: arrays | version for name, arrays in files.items()}


def layers() -> Arrays:
    """Per case, whose number begins each name: x, dy, the state before, and all results.

    Layers whose training differs from their evaluation are also run in ``eval``, after training.
    """
    rng = np.random.RandomState(SEED)
    found: Arrays = {"cases": table([(name, options) for name, options, _ in LAYERS])}
    for i, (name, options, shape) in enumerate(LAYERS):
        kind = TORCH_NAMES.get(name) or getattr(nn, name)
        layer = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
        layer.double()
        for key, tensor in layer.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(rng.uniform(0.1, 1.0, tensor.shape).astype("f4")))
            found[f"{i}.before.{key}"] = tensor.numpy().copy()
        x = rng.uniform(-1, 1, shape).astype("f4")
        dy = rng.uniform(-1, 1, layer(torch.from_numpy(x).double()).shape).astype("f4")
        layer.load_state_dict(  # the trial run above moved the running statistics
            {key: torch.from_numpy(found[f"{i}.before.{key}"]) for key in layer.state_dict()}
        )
        found |= {f"{i}.x": x, f"{i}.dy": dy}
        for mode in ["train", "eval"] if "BatchNorm" in name else ["train"]:
            layer.train(mode == "train")
            found |= {f"{i}.{mode}.{k}": v for k, v in forward_backward(layer, x, dy).items()}
        found |= {f"{i}.after.{k}": v.numpy().copy() for k, v in layer.state_dict().items()}
    return found


def forward_backward(layer: nn.Module, x: np.ndarray, dy: np.ndarray) -> Arrays:
    """Return y, dx and the gradient of each parameter."""
    layer.zero_grad()
    inputs = torch.from_numpy(x).double().requires_grad_()
    y = layer(inputs)
    y.backward(torch.from_numpy(dy).double())
    found = {"y": y.detach().numpy(), "dx": inputs.grad.numpy()}
    return found | {f"d{k}": p.grad.numpy().copy() for k, p in layer.named_parameters()}


def losses() -> Arrays:
    """For each case the loss and dlogits of the same logits and targets."""
    rng = np.random.RandomState(SEED)
    logits, targets = rng.uniform(-6, 6, (9, 5)).astype("f4"), np.arange(9) % 5
    found = {"cases": table(LOSSES), "logits": logits, "targets": targets}
    for i, options in enumerate(LOSSES):
        z = torch.from_numpy(logits).double().requires_grad_()
        loss = nn.CrossEntropyLoss(**options)(z, torch.from_numpy(targets))
        loss.backward()
        found |= {f"{i}.loss": loss.detach().numpy(), f"{i}.dlogits": z.grad.numpy()}
    return found


def schedules() -> Arrays:
    """For each case the rates of Adam and its beta1, at the start and after each step."""
    found = {"cases": table(SCHEDULES)}
    for i, (name, options, steps) in enumerate(SCHEDULES):
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.1)
        kind = TORCH_NAMES.get(name) or getattr(torch.optim.lr_scheduler, name)
        schedule = kind(optimizer, **options)
        rows = [(optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0])]
        for _ in range(steps):
            optimizer.step()
            schedule.step()
            rows.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
        found[f"{i}.rates"] = np.array(rows)
    return found


def lenet5() -> Arrays:
    """Logits, loss and gradients of the first batch; losses of 5 steps with every optimizer."""
    state, images, labels = recipe(np.random.RandomState(SEED), torch_lenet5().state_dict())
    found = {"cases": table(OPTIMIZERS), "labels": labels}
    x, y = torch.from_numpy(images[0]).double(), torch.from_numpy(labels[0])

    model = torch_lenet5()
    model.load_state_dict(state)
    found["eval.logits"] = model.eval()(x).detach().numpy()
    logits = model.train()(x)
    loss = nn.CrossEntropyLoss()(logits, y)
    loss.backward()
    found |= {"train.logits": logits.detach().numpy(), "train.loss": loss.detach().numpy()}
    found |= {f"gradient.{k}": sample(p.grad.numpy()) for k, p in model.named_parameters()}
    found |= {f"buffer.{k}": b.numpy().copy() for k, b in model.named_buffers()}

    for i, (name, options) in enumerate(OPTIMIZERS):
        model.load_state_dict(state)
        optimizer = getattr(torch.optim, name)(model.parameters(), **options)
        series = []
        for x, y in zip(images, labels, strict=True):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(model(torch.from_numpy(x).double()), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            series.append(loss.item())
        found[f"{i}.losses"] = np.array(series)
        found[f"{i}.weight"] = sample(model.features[4].weight.detach().numpy())
    return found


def recipe(
    rng: np.random.RandomState, shapes: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], np.ndarray, np.ndarray]:
    """Return weights, images and labels. Uniform numbers of RandomState, a stream that is frozen.

    The same lines stand in tests/test_golden.py: so the files need not hold 61,728 weights.
    """
    state = {}
    for key, tensor in shapes.items():
        if tensor.ndim == 0:  # num_batches_tracked
            state[key] = tensor
            continue
        if tensor.ndim == 1:
            low, high = (-0.1, 0.1) if key.endswith("bias") else (0.5, 1.5)
        else:
            high = np.sqrt(6.0 / np.prod(tensor.shape[1:]))
            low = -high
        state[key] = torch.from_numpy(rng.uniform(low, high, tensor.shape).astype("f4"))
    images = rng.uniform(-1, 1, (STEPS, BATCH, 1, 32, 32)).astype("f4")
    return state, images, (np.arange(STEPS * BATCH) * 7 % 10).reshape(STEPS, BATCH)


def torch_lenet5() -> nn.Sequential:
    """Return nplenet.models.LeNet5(dropout=0) in PyTorch."""
    features = nn.Sequential(
        nn.Conv2d(1, 6, 5, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
    )
    classifier = nn.Sequential(
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Linear(84, 10),
    )
    model = nn.Sequential()
    model.add_module("features", features)
    model.add_module("classifier", classifier)
    return model.double()


def sample(array: np.ndarray) -> np.ndarray:
    """Return every N-th element of ``array``, flat, followed by its norm and its sum."""
    flat = array.ravel()
    kept = flat[:: -(-flat.size // SAMPLE)]
    return np.concatenate([kept, [np.linalg.norm(flat), flat.sum()]])


def table(cases: Any) -> np.ndarray:
    """Return the cases as JSON, so that the test reads them from the file."""
    return np.array(json.dumps(cases))


if __name__ == "__main__":
    main()
