"""Groups of parameters, RMSprop, schedules and weighted losses compute what PyTorch computes.

``tests/golden/training.npz`` holds PyTorch's answers, in float64, from
``tools/make_golden_training.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet.optim
import nplenet.schedules
from nplenet.backend import Backend
from nplenet.compiled import TextbookStep, compile
from nplenet.layers import Dense, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, Adam, Optimizer
from nplenet.parameter import Parameter
from nplenet.schedules import PlateauLR

with np.load(Path(__file__).parent / "golden" / "training.npz", allow_pickle=False) as file:
    ARRAYS = dict(file)
CASES: dict[str, Any] = json.loads(str(ARRAYS["cases"]))


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}


@pytest.mark.parametrize("i", range(len(CASES["groups"])))
def test_groups_of_parameters_are_updated_as_in_pytorch(backend: Backend, i: int) -> None:
    name, options, own = CASES["groups"][i]
    start = ARRAYS["start"]
    parameters = [Parameter(backend.asarray(start[k].copy())) for k in range(len(own))]
    groups = [{"params": [p], **options_of(each)} for p, each in zip(parameters, own, strict=True)]
    optimizer = getattr(nplenet.optim, name)(groups, **options_of(options))
    for step, expected in zip(ARRAYS["gradients"], ARRAYS[f"groups.{i}"], strict=True):
        for p, g in zip(parameters, step, strict=False):
            p.grad[...] = backend.asarray(g)
        optimizer.step()
        found = [backend.to_numpy(p.data) for p in parameters]
        np.testing.assert_allclose(found, expected, rtol=1e-12)  # float64: rounding of 6 steps


def two_groups() -> Adam:
    return Adam([{"params": [Parameter(np.zeros(1))], "lr": rate} for rate in (0.1, 0.02)])


def rates(optimizer: Optimizer) -> list[float]:
    return [group.lr for group in optimizer.param_groups]


def made(name: str, options: dict[str, Any], optimizer: Optimizer) -> Any:
    own = dict(options)
    if "after" in own:
        own["after"] = made(*own["after"], optimizer)
    return getattr(nplenet.schedules, name)(optimizer, **own)


@pytest.mark.parametrize("i", range(len(CASES["schedules"])))
def test_each_group_follows_a_schedule_as_in_pytorch(i: int) -> None:
    optimizer = two_groups()
    schedule = made(*CASES["schedules"][i], optimizer)
    rows = [rates(optimizer)]
    half: dict[str, Any] = {}
    for k in range(12):
        if k == 6:
            half = json.loads(json.dumps(schedule.state_dict()))
        schedule.step()
        rows.append(rates(optimizer))
    # PyTorch multiplies step by step where we use the closed form.
    np.testing.assert_allclose(rows, ARRAYS[f"schedules.{i}"], rtol=1e-10, atol=1e-15)
    other = two_groups()
    again = made(*CASES["schedules"][i], other)
    again.load_state_dict(half)
    assert rates(other) == rows[6]
    again.step()
    assert rates(other) == rows[7]


@pytest.mark.parametrize("i", range(len(CASES["plateau"])))
def test_plateau_reduces_the_rate_when_pytorch_does(i: int) -> None:
    optimizer = two_groups()
    schedule = PlateauLR(optimizer, **CASES["plateau"][i])
    rows = []
    for k, loss in enumerate(CASES["epoch_losses"]):
        if k == 6:  # saved and continued, as a run that resumes
            state = json.loads(json.dumps(schedule.state_dict()))
            optimizer = two_groups()
            schedule = PlateauLR(optimizer, **CASES["plateau"][i])
            schedule.load_state_dict(state)
        schedule.step()  # of a batch: changes nothing
        schedule.end_epoch(loss)
        rows.append(rates(optimizer))
    np.testing.assert_allclose(rows, ARRAYS[f"plateau.{i}"], rtol=1e-12)


# ------------------------------------------------------------------ losses


def loss_of(i: int) -> tuple[CrossEntropyLoss, np.ndarray]:
    own, targets = dict(CASES["losses"][i]), ARRAYS["targets"].copy()
    if own.get("ignore_index") == -100:
        targets[[1, 4]] = -100
    if own.pop("weight", False):
        own["weight"] = ARRAYS["weight"]
    return CrossEntropyLoss(**own), targets


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("i", range(len(CASES["losses"])))
def test_weighted_and_ignored_images_count_as_in_pytorch(
    backend: Backend, i: int, dtype: str
) -> None:
    loss, targets = loss_of(i)
    logits = ARRAYS["logits"].astype(dtype)
    value = loss(backend.asarray(logits), backend.asarray(targets))
    found = backend.to_numpy(value), backend.to_numpy(loss.backward())
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    for name, array in zip(("loss", "dlogits"), found, strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(
            array, ARRAYS[f"losses.{i}.{name}"], rtol=tolerance, atol=tolerance
        )
    counted = targets != (loss.ignore_index or -1)
    right = (logits.argmax(axis=1) == targets) & counted
    assert int(loss.correct) == right.sum()


@pytest.mark.parametrize("i", range(len(CASES["losses"])))
def test_a_compiled_step_does_what_its_loss_does_or_leaves_it_to_the_textbook(
    backend: Backend, i: int
) -> None:
    loss, targets = loss_of(i)
    logits = ARRAYS["logits"].astype("f8")
    model = Sequential(Dense(5, 5).astype("f8")).to(backend)
    model[0].weight.data[...] = backend.asarray(np.eye(5))
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters(), lr=0.0), 9, tunables={})
    x, y = backend.asarray(logits), backend.asarray(targets)
    step(x, backend.asarray(ARRAYS["targets"]))
    vars(step.loss).update({k: v for k, v in vars(loss).items() if k[0] != "_"})
    value = backend.to_numpy(step(x, y))
    np.testing.assert_allclose(value, ARRAYS[f"losses.{i}.loss"], rtol=1e-12)
    expected = ARRAYS[f"losses.{i}.dlogits"].sum(axis=0)
    np.testing.assert_allclose(
        backend.to_numpy(model[0].bias.grad), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("label", [0, 2])
@pytest.mark.parametrize("fast", [False, True])
def test_a_logit_of_minus_infinity_is_a_class_switched_off(
    backend: Backend, smoothing: float, label: int, fast: bool
) -> None:
    """As in PyTorch: 1.3133 for another label; infinite for its own, and where smoothing asks."""
    model = Sequential(Dense(2, 3, bias=True).astype("f8")).to(backend)
    model[0].weight.data[...] = 0.0
    model[0].bias.data[...] = backend.asarray(np.array([1.0, 2.0, -np.inf]))
    loss, optimizer = CrossEntropyLoss(label_smoothing=smoothing), SGD(model.parameters(), lr=0.0)
    step = (
        compile(model, loss, optimizer, 4, tunables={})
        if fast
        else TextbookStep(model, loss, optimizer, 4, "")
    )
    y = backend.asarray(np.array([label, label]))
    value = float(step.gradients(backend.asarray(np.ones((2, 2))), y))
    expected = np.log1p(np.e) if label == 0 and smoothing == 0.0 else np.inf
    assert value == pytest.approx(expected)
    p = np.array([1, np.e, 0]) / (1 + np.e)
    t = np.eye(3)[label] * (1 - smoothing) + smoothing / 3
    np.testing.assert_allclose(backend.to_numpy(model[0].bias.grad), p - t, atol=1e-12)


@pytest.mark.parametrize("arguments", [{"weight": [1, -1]}, {"weight": [[1.0]]}, {"weight": []}])
def test_weights_that_are_none_are_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match="weight must be a number >= 0 for each class"):
        CrossEntropyLoss(**arguments)


def test_a_batch_of_which_no_image_counts_has_no_mean() -> None:
    loss = CrossEntropyLoss(ignore_index=-1)
    assert np.isnan(loss(np.ones((2, 3)), np.array([-1, -1])))
    with pytest.raises(ValueError, match="label -1 of sample 0"):
        CrossEntropyLoss()(np.ones((2, 3)), np.array([-1, -1]))
    with pytest.raises(ValueError, match="weight is of 2 classes, the logits of 3"):
        CrossEntropyLoss(weight=[1, 2])(np.ones((2, 3)), np.array([0, 1]))


@pytest.mark.parametrize("fast", [False, True])
def test_one_hot_and_list_targets_get_a_hint(fast: bool) -> None:
    model = Sequential(Dense(4, 3))
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters())
    step = (
        compile(model, loss, optimizer, 2, tunables={})
        if fast
        else TextbookStep(model, loss, optimizer, 2, "")
    )
    x = np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match=r"for one-hot targets pass targets\.argmax\(axis=1\)"):
        step(x, np.eye(3, dtype=np.int64)[:2])
    with pytest.raises(ValueError, match=r"pass targets\[:, 0\]"):
        step(x, np.zeros((2, 1), np.int64))
    with pytest.raises(TypeError, match="asarray"):
        step(x, [0, 1])
    with pytest.raises(TypeError, match="integers"):
        step(x, np.zeros(2, np.float32))
