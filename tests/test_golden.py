"""Layers, losses, optimizers and schedules compute what PyTorch computes.

``tests/golden/*.npz`` holds PyTorch's answers, in float64; ``tools/make_golden.py`` wrote them and
explains their names. Both precisions of nplenet are compared to them: float64 shows that the
formulas are the same, float32 that rounding stays small.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet.layers
import nplenet.optim
import nplenet.schedules
from nplenet.layers import Layer, Parameter
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5

FOLDER = Path(__file__).parent / "golden"
MAKE_GOLDEN = Path(__file__).parents[1] / "tools" / "make_golden.py"
Arrays = dict[str, np.ndarray]


def load(name: str) -> tuple[Any, Arrays]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return json.loads(str(arrays["cases"])), arrays


LAYERS, LAYER_ARRAYS = load("layers")
LOSSES, LOSS_ARRAYS = load("losses")
SCHEDULES, SCHEDULE_ARRAYS = load("schedules")
OPTIMIZERS, LENET5 = load("lenet5")

both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
"""Of the largest error against the largest value of the same array. float32 has 24 bits and up to
5 steps of training to lose some of them; float64 only rounding of 1e-16 a few thousand times."""


def assert_equals_pytorch(found: Any, expected: np.ndarray, what: str, tolerance: float) -> None:
    """Compare by the array's largest value: a gradient that cancels to 0 has no relative error."""
    found = np.asarray(found)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, PyTorch {expected.shape}"
    assert np.isfinite(found).all(), f"{what} is not finite"
    scale = max(float(np.abs(expected).max()), 1e-30)
    error = float(np.abs(found - expected).max()) / scale
    assert error <= tolerance, f"{what}: off by {error:.1e} of its largest value, {scale:.3g}"


def part(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def ids(cases: list[Any]) -> list[str]:
    return [json.dumps(case) for case in cases]


# ------------------------------------------------------------------ layers


@both_precisions
@pytest.mark.parametrize("i", range(len(LAYERS)), ids=ids(LAYERS))
def test_layer_equals_pytorch(i: int, dtype: str) -> None:
    name, options = LAYERS[i]
    arrays = part(LAYER_ARRAYS, f"{i}.")
    layer: Layer = getattr(nplenet.layers, name)(**options).astype(dtype)
    layer.load_state_dict(part(arrays, "before."))
    x, dy = arrays["x"].astype(dtype), arrays["dy"].astype(dtype)
    modes = [mode for mode in ("train", "eval") if f"{mode}.y" in arrays]
    assert modes
    for mode in modes:
        layer.train(mode == "train")
        layer.zero_grad()
        found = {"y": layer(x), "dx": layer.backward(dy)}
        assert found["y"].dtype == found["dx"].dtype == dtype
        found |= {f"d{p.name}": p.grad for p in layer.parameters()}
        expected = part(arrays, f"{mode}.")
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            assert_equals_pytorch(found[key], array, f"{mode} {key}", TOLERANCE[dtype])
    for key, array in part(arrays, "after.").items():
        assert_equals_pytorch(layer.state_dict()[key], array, key, TOLERANCE[dtype])


@both_precisions
@pytest.mark.parametrize("i", range(len(LOSSES)), ids=ids(LOSSES))
def test_loss_equals_pytorch(i: int, dtype: str) -> None:
    loss = CrossEntropyLoss(**LOSSES[i])
    value = loss(LOSS_ARRAYS["logits"].astype(dtype), LOSS_ARRAYS["targets"])
    dlogits = loss.backward()
    assert value.dtype == dlogits.dtype == dtype
    assert_equals_pytorch(value, LOSS_ARRAYS[f"{i}.loss"], "loss", TOLERANCE[dtype])
    apart = CrossEntropyLoss(**{**LOSSES[i], "reduction": "none"})
    losses = apart(LOSS_ARRAYS["logits"].astype(dtype), LOSS_ARRAYS["targets"])
    reduced = np.asarray(losses.mean() if loss.reduction == "mean" else losses.sum())
    assert_equals_pytorch(reduced, LOSS_ARRAYS[f"{i}.loss"], "losses", TOLERANCE[dtype])
    assert_equals_pytorch(dlogits, LOSS_ARRAYS[f"{i}.dlogits"], "dlogits", TOLERANCE[dtype])


# ------------------------------------------------------------------ schedules


@pytest.mark.parametrize("i", range(len(SCHEDULES)), ids=ids(SCHEDULES))
def test_schedule_equals_pytorch(i: int) -> None:
    name, options, steps = SCHEDULES[i]
    optimizer = nplenet.optim.Adam([Parameter(np.zeros(1))], lr=0.1)
    schedule = getattr(nplenet.schedules, name)(optimizer, **options)
    rows = [(optimizer.lr, optimizer.betas[0])]
    for _ in range(steps):
        schedule.step()
        rows.append((optimizer.lr, optimizer.betas[0]))
    expected = SCHEDULE_ARRAYS[f"{i}.rates"]
    if name == "OneCycleLR" and steps == options["total_steps"]:
        assert rows.pop() == rows[-1]  # from its last step on it stays; PyTorch extrapolates
        expected = expected[:-1]
    # PyTorch multiplies step by step where we use the closed form: rounding, relative to the top.
    np.testing.assert_allclose(rows, expected, rtol=1e-10, atol=1e-15)


# ------------------------------------------------------------------ the network


def recipe(shapes: Arrays) -> tuple[Arrays, np.ndarray]:
    """Return the weights and images that PyTorch got, by the lines of tools/make_golden.py."""
    rng = np.random.RandomState(1998)
    state = {}
    for key, array in shapes.items():
        if array.ndim == 0:  # num_batches_tracked
            state[key] = array
            continue
        if array.ndim == 1:
            low, high = (-0.1, 0.1) if key.endswith("bias") else (0.5, 1.5)
        else:
            high = np.sqrt(6.0 / np.prod(array.shape[1:]))
            low = -high
        state[key] = rng.uniform(low, high, array.shape).astype("f4")
    return state, rng.uniform(-1, 1, (*LENET5["labels"].shape, 1, 32, 32)).astype("f4")


def golden_lenet5(dtype: str) -> tuple[LeNet5, np.ndarray]:
    model = LeNet5(dropout=0.0)
    state, images = recipe(model.state_dict())
    model.astype(dtype).load_state_dict(state)
    return model, images.astype(dtype)


def sample(array: np.ndarray) -> np.ndarray:
    """Return every n-th element, then the norm and the sum of all, as tools/make_golden.py."""
    flat = array.ravel().astype("float64")
    kept = flat[:: -(-flat.size // 1200)]
    return np.concatenate([kept, [np.linalg.norm(flat), flat.sum()]])


@both_precisions
def test_logits_of_lenet5_in_eval_equal_pytorch(dtype: str) -> None:
    model, images = golden_lenet5(dtype)
    logits = model.eval()(images[0])
    assert logits.dtype == dtype
    assert_equals_pytorch(logits, LENET5["eval.logits"], "logits", TOLERANCE[dtype])


@both_precisions
def test_logits_loss_and_statistics_of_lenet5_in_training_equal_pytorch(dtype: str) -> None:
    model, images = golden_lenet5(dtype)
    logits = model(images[0])
    loss = CrossEntropyLoss()(logits, LENET5["labels"][0])
    assert_equals_pytorch(logits, LENET5["train.logits"], "logits", TOLERANCE[dtype])
    assert_equals_pytorch(loss, LENET5["train.loss"], "loss", TOLERANCE[dtype])
    state = model.state_dict()
    for key, array in part(LENET5, "buffer.").items():
        assert_equals_pytorch(state[key], array, key, TOLERANCE[dtype])


@both_precisions
def test_every_gradient_of_lenet5_equals_pytorch(dtype: str) -> None:
    model, images = golden_lenet5(dtype)
    loss = CrossEntropyLoss()
    loss(model(images[0]), LENET5["labels"][0])
    model.backward(loss.backward())
    expected = part(LENET5, "gradient.")
    assert {p.name for p in model.parameters()} == expected.keys()
    for p in model.parameters():
        assert p.grad.dtype == dtype
        assert_equals_pytorch(sample(p.grad), expected[p.name], p.name, TOLERANCE[dtype])


@both_precisions
@pytest.mark.parametrize("i", range(len(OPTIMIZERS)), ids=ids(OPTIMIZERS))
def test_losses_of_five_training_steps_equal_pytorch(i: int, dtype: str) -> None:
    name, options = OPTIMIZERS[i]
    model, images = golden_lenet5(dtype)
    loss, losses = CrossEntropyLoss(), []
    optimizer = getattr(nplenet.optim, name)(model.parameters(), **options)
    for x, y in zip(images, LENET5["labels"], strict=True):
        optimizer.zero_grad()
        losses.append(float(loss(model(x), y)))
        model.backward(loss.backward())
        optimizer.step()
    # Element by element: each loss to the stated relative error, not to that of the largest.
    np.testing.assert_allclose(losses, LENET5[f"{i}.losses"], rtol=TOLERANCE[dtype])
    if dtype == "float64":  # Adam makes rounding noise of a float32 gradient near 0 a full step
        weight = sample(model.state_dict()["features.4.weight"])
        assert_equals_pytorch(weight, LENET5[f"{i}.weight"], "weight", 1e-8)


# ------------------------------------------------------------------ the files themselves


def test_golden_files_stay_small_and_name_their_pytorch() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 500_000
    for arrays in (LAYER_ARRAYS, LOSS_ARRAYS, SCHEDULE_ARRAYS, LENET5):
        assert str(arrays["torch_version"])[0].isdigit()


def test_golden_files_hold_what_an_installed_pytorch_computes() -> None:
    pytest.importorskip(
        "torch", reason="PyTorch is not installed; the golden files stand in for it"
    )
    files = runpy.run_path(str(MAKE_GOLDEN))["compute"]()
    for name, arrays in files.items():
        kept = load(name)[1]
        assert arrays.keys() == kept.keys()
        for key in arrays.keys() - {"torch_version", "cases"}:
            assert_equals_pytorch(arrays[key], kept[key], f"{name} {key}", 1e-9)
