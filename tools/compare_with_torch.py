"""Compare the library with PyTorch at random: layers, chains, losses, optimizers, ONNX.

    python tools/compare_with_torch.py --minutes 10 --seed 1
    python tools/compare_with_torch.py --only chain --case 1234 --seed 1      # one case again

Needs PyTorch, and for ONNX onnx and onnxruntime. A case is drawn from the seed, its kind and its
number alone. Prints the cases of each kind and, for each that differs, what to type to repeat it;
ends with status 0 when none differs. PyTorch computes in float64.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_networks import Array, Rng, chain, chance, laid_out, one_layer, pick, same_state, whole
from torch import nn
from torch.optim import lr_scheduler

import nplenet
from nplenet import layers as own
from nplenet import optim, schedules
from nplenet.losses import CrossEntropyLoss

BOUNDS = {"float64": 1e-9, "float32": 2e-4}
"""Largest error, relative to the largest number of the array."""


# ------------------------------------------------------------------ how it is compared


def error_of(found: Any, expected: Any, scale: float) -> float:
    """Return the largest difference, relative to the largest number; NaN for another shape."""
    found, expected = np.asarray(found, "f8"), np.asarray(expected, "f8")
    if found.shape != expected.shape:
        return float("nan")
    if not found.size:
        return 0.0
    return float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), scale, 1e-3)


def differences(
    pairs: dict[str, tuple[Any, Any]], bound: float, rounded: dict[str, Any] | None = None
) -> str:
    """Compare arrays by their names; a small one is measured by the largest of all.

    ``rounded`` are PyTorch's own results in float32: what they are off, ours may be four times.
    There a gradient that is a sum of large terms, such as of a convolution before a norm, whose
    size does not matter, is rounding only.
    """
    expected = (np.asarray(b) for _, b in pairs.values())
    scale = (0.01 if rounded is None else 0.1) * max(
        (float(np.abs(b).max()) for b in expected if b.size), default=0.0
    )
    found = []
    for name, (a, b) in pairs.items():
        error = error_of(a, b, scale)
        allowed = bound if rounded is None else max(bound, 4 * error_of(rounded[name], b, scale))
        if not error <= allowed:
            found.append(f"{name}: off by {error:.2g}")
    return "; ".join(found)


def gradients(ours: own.Layer, theirs: nn.Module) -> dict[str, tuple[Any, Any]]:
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    return {
        p.name or str(i): (p.grad, e)
        for i, (p, e) in enumerate(zip(ours.parameters(), expected.values(), strict=True))
    }


def torch_results(module: nn.Module, x: Array, dy: Array, dtype: torch.dtype) -> dict[str, Any]:
    """Return y, dx, the gradients and the state afterwards, as PyTorch computes them."""
    module = copy.deepcopy(module).to(dtype)
    inputs = torch.from_numpy(np.array(x)).to(dtype).requires_grad_()
    y = module(inputs)
    y.backward(torch.from_numpy(np.array(dy)).to(dtype))
    found = {"y": y.detach(), "dx": inputs.grad}
    found |= {f"d{name}": p.grad for name, p in module.named_parameters()}
    found |= {f"after {name}": a for name, a in module.state_dict().items()}
    return {name: a.numpy() for name, a in found.items()}


def layer_case(rng: Rng) -> str:
    """Forward and backward of one layer, in training and in evaluation."""
    (ours, theirs), shape = one_layer(rng)
    same_state(rng, ours, theirs)
    dtype = pick(rng, ("float32", "float64"))
    ours.astype(dtype)
    training = chance(rng, 0.7)
    ours.train(training), theirs.train(training)
    x = laid_out(rng, rng.standard_normal(shape).astype("f4").astype(dtype))
    try:
        y = copy.deepcopy(theirs)(torch.from_numpy(np.array(x, "f8")))
    except (RuntimeError, ValueError) as error:
        return refused(ours, x, str(error))
    dy = laid_out(rng, rng.standard_normal(tuple(y.shape)).astype("f4").astype(dtype))
    expected = torch_results(theirs, x, dy, torch.float64)
    rounded = torch_results(theirs, x, dy, torch.float32) if dtype == "float32" else None
    found = {"y": ours(x), "dx": ours.backward(dy)}
    names = [name for name, _ in theirs.named_parameters()]
    found |= {f"d{n}": p.grad for n, p in zip(names, ours.parameters(), strict=True)}
    found |= {f"after {name}": a for name, a in ours.state_dict().items()}
    if training and "BatchNorm" in type(ours).__name__ and x.strides[0] == 0:
        del found["dx"]  # the variance may be zero: rounding decides
    assert found.keys() <= expected.keys()
    return differences({n: (a, expected[n]) for n, a in found.items()}, BOUNDS[dtype], rounded)


def refused(ours: own.Layer, x: Array, reason: str) -> str:
    """Expect an error where PyTorch gives one."""
    try:
        ours(x)
    except (ValueError, TypeError):
        return ""
    return f"PyTorch refuses: {reason}"


def loss_options(rng: Rng, classes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw the options of a loss, and PyTorch's form of them."""
    ours: dict[str, Any] = {"reduction": pick(rng, ("mean", "mean", "sum", "none"))}
    ours["label_smoothing"] = pick(rng, (0.0, 0.0, 0.1, 1.0))
    theirs = dict(ours)
    if chance(rng, 0.3):
        ours["weight"] = rng.uniform(0.1, 2.0, classes)
        theirs["weight"] = torch.from_numpy(ours["weight"])
    if chance(rng, 0.3):
        ours["ignore_index"] = theirs["ignore_index"] = pick(rng, (0, -100, classes - 1))
    return ours, theirs


def chain_case(rng: Rng) -> str:
    """Loss, gradients and predictions of a compiled network."""
    classes, n = whole(rng, 2, 12), whole(rng, 2, 40)
    ours, theirs, shape = chain(rng, classes)
    same_state(rng, ours, theirs)
    options, torch_options = loss_options(rng, classes)
    if options["reduction"] == "none":
        options["reduction"] = torch_options["reduction"] = "mean"
    ours.astype("float64")
    tunables = {"threads": whole(rng, 1, 2), "lanes": pick(rng, (16, 32)), "transpose": 0}
    loss = CrossEntropyLoss(**options)
    step = nplenet.compile(ours, loss, optim.SGD(ours.parameters(), 0.0), n, tunables=tunables)
    for k in range(2):  # the second time with memory that the first has written
        m = n if k == 0 else whole(rng, 2, n)
        x = rng.standard_normal((m, *shape))
        y = rng.integers(0, classes, m)
        theirs.train().zero_grad()
        logits = theirs(torch.from_numpy(x))
        y[0] = 1 if classes > 2 else y[0]
        expected = nn.CrossEntropyLoss(**torch_options)(logits, torch.from_numpy(y))
        if not torch.isfinite(expected):  # all labels are ignored
            return ""
        expected.backward()
        value = step.gradients(x, y)
        pairs = {"loss": (value, expected.item())} | gradients(ours, theirs)
        counted = y != options.get("ignore_index")
        hits = (logits.argmax(1).numpy() == y) & counted
        pairs["correct"] = step.correct, int(hits.sum())
        predicted = step.predict(x)
        pairs["predict"] = predicted, theirs.eval()(torch.from_numpy(x)).detach()
        if wrong := differences(pairs, 1e-7):
            return f"{wrong} ({step.describe().splitlines()[0]})"
    return ""


def loss_case(rng: Rng) -> str:
    """The loss and its gradient, with logits of any size."""
    n, classes = whole(rng, 1, 20), whole(rng, 1, 30)
    options, torch_options = loss_options(rng, classes)
    dtype = pick(rng, ("float32", "float64"))
    z = (rng.standard_normal((n, classes)) * 10 ** rng.uniform(-2, 3)).astype("f4").astype(dtype)
    y = rng.integers(0, classes, n)
    logits = torch.from_numpy(z.astype("f8")).requires_grad_()
    if chance(rng, 0.1):  # a class that is left out
        z[np.arange(n), (y + 1) % classes] = -np.inf if classes > 1 else z[:, 0]
        options.pop("label_smoothing"), torch_options.pop("label_smoothing")
        logits = torch.from_numpy(z.astype("f8")).requires_grad_()
    expected = nn.CrossEntropyLoss(**torch_options)(logits, torch.from_numpy(y))
    if not torch.isfinite(expected).all():
        return ""
    expected.sum().backward()
    loss = CrossEntropyLoss(**options)
    value = loss(laid_out_rows(rng, z), y)
    pairs = {"loss": (value, expected.detach()), "dlogits": (loss.backward(), logits.grad)}
    return differences(pairs, BOUNDS[dtype])


def laid_out_rows(rng: Rng, z: Array) -> Array:
    return np.asfortranarray(z) if chance(rng, 0.5) else z


# ------------------------------------------------------------------ optimizers and schedules


def optimizer_pair(rng: Rng) -> tuple[str, dict[str, Any]]:
    decay = pick(rng, (0.0, 0.0, 0.01, 0.3))
    lr = float(10 ** rng.uniform(-4, -0.5))
    if chance(rng, 0.4):
        momentum = pick(rng, (0.0, 0.5, 0.9))
        nesterov = momentum > 0 and chance(rng, 0.4)
        dampening = 0.0 if nesterov else pick(rng, (0.0, 0.2))
        options = {"momentum": momentum, "nesterov": nesterov, "dampening": dampening}
        return "SGD", {"lr": lr, "weight_decay": decay, **options}
    if chance(rng, 0.25):
        options = {"alpha": pick(rng, (0.5, 0.99)), "momentum": pick(rng, (0.0, 0.9))}
        options |= {"centered": chance(rng, 0.4), "eps": pick(rng, (1e-8, 1e-2))}
        return "RMSprop", {"lr": lr, "weight_decay": decay, **options}
    options = {"betas": (pick(rng, (0.0, 0.5, 0.9)), pick(rng, (0.9, 0.999)))}
    options["eps"] = pick(rng, (1e-8, 1e-4))
    return pick(rng, ("Adam", "AdamW")), {"lr": lr, "weight_decay": decay, **options}


def schedule_pair(rng: Rng, ours: Any, theirs: Any, steps: int, momentum: bool) -> tuple[Any, Any]:
    kind = pick(rng, (None, "StepLR", "CosineLR", "OneCycleLR", "ExponentialLR", "PlateauLR"))
    if kind is None:
        return None, None
    if kind == "PlateauLR":
        options: dict[str, Any] = {"factor": 0.5, "patience": whole(rng, 0, 3), "cooldown": 1}
    elif kind == "ExponentialLR":
        options = {"gamma": pick(rng, (0.9, 0.99))}
    elif kind == "StepLR":
        options = {"step_size": whole(rng, 1, 9), "gamma": pick(rng, (0.1, 0.7))}
    elif kind == "CosineLR":
        options = {"T_max": whole(rng, 1, 2 * steps), "eta_min": pick(rng, (0.0, 1e-4))}
    else:
        options = {
            "max_lr": float(10 ** rng.uniform(-3, 0)),
            "total_steps": steps + whole(rng, 1, 10),
            "pct_start": pick(rng, (0.2, 0.3, 0.5)),
            "anneal_strategy": pick(rng, ("cos", "linear")),
            "three_phase": chance(rng, 0.3),
            "cycle_momentum": momentum and chance(rng, 0.7),
        }
    name = {"CosineLR": "CosineAnnealingLR", "PlateauLR": "ReduceLROnPlateau"}.get(kind, kind)
    return getattr(schedules, kind)(ours, **options), getattr(lr_scheduler, name)(theirs, **options)


def groups_of(rng: Rng, ours: list[Any], theirs: list[Any]) -> tuple[Any, Any]:
    """Cut parameters into two groups, the second with a rate of its own, or leave them one."""
    if len(ours) < 2 or chance(rng, 0.6):
        return ours, theirs
    cut, own_rate = whole(rng, 1, len(ours) - 1), {"lr": float(10 ** rng.uniform(-4, -1))}
    a, b = ([{"params": p[:cut]}, {"params": p[cut:], **own_rate}] for p in (ours, theirs))
    return a, b


def advance(rng: Rng, schedule: Any, scheduler: Any) -> None:
    """Do a step of both schedules; of those that wait for a loss, an epoch."""
    if isinstance(schedule, schedules.PlateauLR):
        loss = float(rng.uniform(0.5, 1.0))
        schedule.end_epoch(loss), scheduler.step(loss)
    else:
        schedule.step(), scheduler.step()


def optimizer_case(rng: Rng) -> str:
    """Parameters after each of some steps; restored from a saved state in the middle."""
    shapes = [tuple(rng.integers(1, 5, whole(rng, 1, 3))) for _ in range(whole(rng, 1, 4))]
    starts = [rng.standard_normal(shape) for shape in shapes]
    name, options = optimizer_pair(rng)
    ours = [nplenet.layers.base.Parameter(a.copy(), f"p{i}") for i, a in enumerate(starts)]
    theirs = [nn.Parameter(torch.from_numpy(a.copy())) for a in starts]
    first, second = (
        getattr(optim, name)(ours, **options),
        getattr(torch.optim, name)(theirs, **options),
    )
    steps = whole(rng, 1, 20)
    momentum = name != "SGD" or options["momentum"] > 0
    try:
        schedule, scheduler = schedule_pair(rng, first, second, steps, momentum)
    except ZeroDivisionError:
        return ""
    for k in range(steps):
        for p, q in zip(ours, theirs, strict=True):
            g = rng.standard_normal(p.data.shape) * 10 ** rng.uniform(-3, 1)
            p.grad[...] = g
            q.grad = torch.from_numpy(g)
        first.step(), second.step()
        if schedule is not None:
            try:
                advance(rng, schedule, scheduler)
            except ZeroDivisionError:  # PyTorch's OneCycleLR with a phase of no step
                return ""
        if chance(rng, 0.1):
            first.load_state_dict(first.state_dict())
        pairs = {p.name: (p.data, q.detach()) for p, q in zip(ours, theirs, strict=True)}
        pairs["lr"] = first.lr, second.param_groups[0]["lr"]
        if wrong := differences(pairs, 1e-9):
            return f"step {k + 1} of {name}{options} {type(schedule).__name__}: {wrong}"
    return ""


# ------------------------------------------------------------------ ONNX


def onnx_case(rng: Rng) -> str:
    """A network exported to ONNX, computed by onnxruntime for two batch sizes."""
    import onnxruntime

    from nplenet.interop import onnx

    classes = whole(rng, 2, 12)
    ours, theirs, shape = chain(rng, classes)
    same_state(rng, ours, theirs)
    ours.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            onnx.export(ours, path, (1, *shape))
        except ValueError as error:
            return "" if "pool" in str(error).lower() else f"not exported: {error}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options)
        for n in (1, whole(rng, 2, 9)):
            x = rng.standard_normal((n, *shape)).astype("f4")
            (found,) = session.run(None, {"x": x})
            if wrong := differences({"logits": (found, ours(x))}, 1e-4):
                return wrong
    return ""


# ------------------------------------------------------------------ the command

KINDS: dict[str, tuple[Callable[[Rng], str], int]] = {
    "layer": (layer_case, 40),
    "chain": (chain_case, 5),
    "loss": (loss_case, 20),
    "optimizer": (optimizer_case, 20),
    "onnx": (onnx_case, 1),
}
"""What is compared, and how many cases of it in a round."""


def run(kind: str, number: int, seed: int) -> str:
    """Compare one case; return how it differs."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    torch.manual_seed(0)
    try:
        return KINDS[kind][0](rng)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--case", type=int, help="compare this case alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done, wrong = dict.fromkeys(options.only, 0), dict.fromkeys(options.only, 0)
    until = time.monotonic() + 60 * options.minutes

    def compared(kind: str, number: int) -> None:
        if difference := run(kind, number, options.seed):
            wrong[kind] += 1
            repeat = f"--only {kind} --case {number} --seed {options.seed}"
            print(f"DIFFERS  {repeat}: {difference}", flush=True)
        done[kind] += 1

    if options.case is not None:
        compared(options.only[0], options.case)
    while options.case is None and time.monotonic() < until:
        for kind in options.only:
            for _ in range(KINDS[kind][1]):
                compared(kind, done[kind])
    for kind in options.only:
        print(f"{kind:<12}{done[kind]:>8} cases, {wrong[kind]} differ")
    total = f"{sum(done.values()):>8} cases, {sum(wrong.values())} differ"
    print(f"{'all':<12}{total}; seed {options.seed}, PyTorch {torch.__version__}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
