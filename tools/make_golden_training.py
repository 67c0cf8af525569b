"""Write tests/golden/training.npz: PyTorch's groups of parameters, RMSprop, schedules and losses.

As ``tools/make_golden.py``: run once, from the repository's root, with PyTorch installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler

PATH = Path(__file__).resolve().parents[1] / "tests" / "golden" / "training.npz"
STEPS = 6

# Name, options, options of the groups.
GROUPS: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [{}, {"lr": 0.02, "weight_decay": 0.1}]),
    ("Adam", {"lr": 0.1}, [{"betas": [0.8, 0.9]}, {"lr": 0.02, "weight_decay": 0.1}]),
    ("AdamW", {"lr": 0.1}, [{}, {"lr": 0.02, "weight_decay": 0.0}]),
    ("RMSprop", {"lr": 0.1}, [{}]),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "weight_decay": 0.1, "momentum": 0.5}, [{}]),
    ("RMSprop", {"lr": 0.1, "centered": True}, [{}, {"lr": 0.3, "momentum": 0.9}]),
]

# Each on groups with rates 0.1 and 0.02.
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("CosineLR", {"T_max": 8, "eta_min": 0.01}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("WarmUpLR", {"steps": 4, "start_factor": 0.25}),
    ("WarmUpLR", {"steps": 4, "start_factor": 0.0, "after": ["CosineLR", {"T_max": 8}]}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 13}),
]
PLATEAU: list[dict[str, Any]] = [
    {"patience": 1, "factor": 0.5},
    {"patience": 0, "factor": 0.5, "cooldown": 2, "min_lr": 0.01, "threshold": 0.05},
]
EPOCH_LOSSES = [1.0, 0.9, 0.91, 0.89999, 0.92, 0.7, 0.69, 0.71, 0.72, 0.73, 0.74, 0.75]

LOSSES: list[dict[str, Any]] = [
    {"weight": True},
    {"weight": True, "reduction": "sum"},
    {"weight": True, "reduction": "none"},
    {"weight": True, "label_smoothing": 0.2},
    {"ignore_index": 2},
    {"ignore_index": 2, "label_smoothing": 0.2, "weight": True},
    {"ignore_index": -100, "reduction": "sum"},
]


def main() -> None:
    """Write the file."""
    arrays = {"torch_version": np.array(torch.__version__)} | groups() | schedules() | losses()
    tables = {"groups": GROUPS, "schedules": SCHEDULES, "plateau": PLATEAU, "losses": LOSSES}
    cases = np.array(json.dumps(tables | {"epoch_losses": EPOCH_LOSSES}))
    np.savez_compressed(PATH, cases=cases, **arrays)  # type: ignore[arg-type]
    print(f"{PATH.name}: {PATH.stat().st_size:,} bytes")


def groups() -> dict[str, np.ndarray]:
    """For each case the parameters of all groups after each step, one after the other."""
    rng = np.random.RandomState(1998)
    start, gradients = rng.uniform(-1, 1, (2, 4)), rng.uniform(-1, 1, (STEPS, 2, 4))
    found = {"start": start, "gradients": gradients}
    for i, (name, options, own) in enumerate(GROUPS):
        parameters = [nn.Parameter(torch.from_numpy(start[k].copy())) for k in range(len(own))]
        given = [{"params": [p], **each} for p, each in zip(parameters, own, strict=True)]
        optimizer = getattr(torch.optim, name)(given, **options)
        rows = []
        for step in gradients:
            for p, g in zip(parameters, step, strict=False):
                p.grad = torch.from_numpy(g.copy())
            optimizer.step()
            rows.append([p.detach().numpy().copy() for p in parameters])
        found[f"groups.{i}"] = np.array(rows)
    return found


def two_groups() -> torch.optim.Optimizer:
    rates = (0.1, 0.02)
    return torch.optim.Adam([{"params": [nn.Parameter(torch.zeros(1))], "lr": r} for r in rates])


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def schedules() -> dict[str, np.ndarray]:
    """For each case the rates of both groups, at the start and after each step."""
    found = {}
    for i, (name, options) in enumerate(SCHEDULES):
        optimizer = two_groups()
        schedule = made(name, dict(options), optimizer)
        rows = [rates(optimizer)]
        for _ in range(12):
            optimizer.step()
            schedule.step()
            rows.append(rates(optimizer))
        found[f"schedules.{i}"] = np.array(rows)
    for i, options in enumerate(PLATEAU):
        optimizer = two_groups()
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rows = []
        for loss in EPOCH_LOSSES:
            plateau.step(loss)
            rows.append(rates(optimizer))
        found[f"plateau.{i}"] = np.array(rows)
    return found


def made(name: str, options: dict[str, Any], optimizer: Any) -> Any:
    """Return PyTorch's schedule for one of ours."""
    if name == "CosineLR":
        return lr_scheduler.CosineAnnealingLR(optimizer, **options)
    if name != "WarmUpLR":
        return getattr(lr_scheduler, name)(optimizer, **options)
    steps, after = options.pop("steps"), options.pop("after", None)
    # LinearLR refuses 0; the smallest float is 0 to all digits compared.
    factor = options["start_factor"] or 1e-300
    rise = lr_scheduler.LinearLR(optimizer, start_factor=factor, total_iters=steps)
    if after is None:
        return rise
    then = made(*after, optimizer)
    return lr_scheduler.SequentialLR(optimizer, [rise, then], milestones=[steps])


def losses() -> dict[str, np.ndarray]:
    """For each case the loss and dlogits of the same logits and targets."""
    rng = np.random.RandomState(1998)
    logits, targets = rng.uniform(-6, 6, (9, 5)).astype("f4"), np.arange(9) % 5
    weight = np.array([0.5, 2.0, 0.0, 1.5, 1.0])
    found = {"logits": logits, "targets": targets, "weight": weight}
    for i, options in enumerate(LOSSES):
        z = torch.from_numpy(logits).double().requires_grad_()
        labels = targets.copy()
        if options.get("ignore_index") == -100:
            labels[[1, 4]] = -100
        own = dict(options)
        if own.pop("weight", False):
            own["weight"] = torch.from_numpy(weight)
        loss = nn.CrossEntropyLoss(**own)(z, torch.from_numpy(labels))
        loss.sum().backward()
        found |= {f"losses.{i}.loss": loss.detach().numpy(), f"losses.{i}.dlogits": z.grad.numpy()}
    return found


if __name__ == "__main__":
    main()
