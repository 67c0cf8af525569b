"""The optimizers: their formulas, the packing of parameters, state, clipping, refusals."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Backend, backend_of, get_backend
from nplenet.layers import Parameter
from nplenet.models import LeNet5
from nplenet.optim import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    RMSprop,
    clip_gradient_values,
    clip_gradients,
)
from nplenet.optim.flat import BLOCK

SETTINGS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3, "nesterov": True}),
    (Adam, {"lr": 0.1}),
    (Adam, {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.1, "weight_decay": 0.3}),
    (AdamW, {"lr": 0.1}),
    (AdamW, {"lr": 0.1, "weight_decay": 0.3}),
]
every_optimizer = pytest.mark.parametrize(
    ("kind", "settings"), SETTINGS, ids=[f"{k.__name__}-{s}" for k, s in SETTINGS]
)


NUMPY = get_backend("numpy")


def some_parameters(dtype: str = "float64", backend: Backend = NUMPY) -> list[Parameter]:
    """Return three parameters, together somewhat longer than one block."""
    rng = np.random.default_rng(0)
    shapes = {"weight": (BLOCK // 8, 9), "bias": (7,), "scale": ()}
    return [Parameter(backend.asarray(rng.normal(size=s), dtype), k) for k, s in shapes.items()]


def fill_gradients(parameters: list[Parameter], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for p in parameters:
        backend = backend_of(p.grad)
        p.grad[...] = backend.asarray(rng.normal(size=p.data.shape), p.grad.dtype)


def run(optimizer: Optimizer, parameters: list[Parameter], seeds: range) -> list[np.ndarray]:
    for seed in seeds:
        fill_gradients(parameters, seed)
        optimizer.step()
    return [p.data.copy() for p in parameters]


def one_number(kind: type[Optimizer], settings: dict[str, Any], p: float, gs: list[float]) -> float:
    """Return the parameter after the gradients ``gs``, by the formulas as papers print them."""
    option: dict[str, Any] = {
        "momentum": 0.0,
        "dampening": 0.0,
        "nesterov": False,
        "betas": (0.9, 0.999),
    }
    option |= {"eps": 1e-8, "weight_decay": 0.01 if kind is AdamW else 0.0} | settings
    lr, decay, (beta1, beta2) = option["lr"], option["weight_decay"], option["betas"]
    m = v = 0.0
    for k, g in enumerate(gs, start=1):
        if kind is AdamW:
            p -= lr * decay * p
        else:
            g += decay * p
        if kind is SGD:
            m = option["momentum"] * m + (g if k == 1 else (1 - option["dampening"]) * g)
            p -= lr * (g + option["momentum"] * m if option["nesterov"] else m)
            continue
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p -= lr * (m / (1 - beta1**k)) / (math.sqrt(v / (1 - beta2**k)) + option["eps"])
    return p


# ------------------------------------------------------------------ the update rules


@every_optimizer
def test_five_steps_follow_the_formula(
    kind: type[Optimizer], settings: dict[str, Any], backend: Backend
) -> None:
    parameters = some_parameters(backend=backend)
    starts, gradients = [p.data.copy() for p in parameters], []
    optimizer = kind(parameters, **settings)
    for seed in range(5):
        fill_gradients(parameters, seed)
        gradients.append([p.grad.copy() for p in parameters])
        optimizer.step()
    for i, p in enumerate(parameters):
        at = tuple(n - 1 for n in p.data.shape)  # the last element, so that all blocks count
        slopes = [float(g[i][at]) for g in gradients]
        expected = one_number(kind, settings, float(starts[i][at]), slopes)
        # float64 and another order of the operations: some rounding errors of 1e-16
        assert float(p.data[at]) == pytest.approx(expected, rel=1e-12)


@every_optimizer
def test_every_element_takes_the_same_rule(
    kind: type[Optimizer], settings: dict[str, Any], backend: Backend
) -> None:
    parameter = Parameter(backend.asarray(np.ones(2 * BLOCK + 3)), "weight")
    optimizer = kind([parameter], **settings)
    for _ in range(3):
        parameter.grad[...] = 0.5
        optimizer.step()
    data = backend.to_numpy(parameter.data)
    assert np.isfinite(data).all()
    assert data[0] != 1.0
    assert (data == data[0]).all()


@every_optimizer
def test_a_step_leaves_the_gradient_alone(kind: type[Optimizer], settings: dict[str, Any]) -> None:
    parameters = some_parameters()
    optimizer = kind(parameters, **settings)
    fill_gradients(parameters, 0)
    before = [p.grad.copy() for p in parameters]
    optimizer.step()
    for p, grad in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(p.grad, grad)


@every_optimizer
def test_float32_stays_float32(kind: type[Optimizer], settings: dict[str, Any]) -> None:
    parameters = some_parameters("float32")
    optimizer = kind(parameters, **settings)
    run(optimizer, parameters, range(2))
    arrays = [v for v in optimizer.state_dict().values() if np.ndim(v) and np.size(v) > 2]
    assert {a.dtype.name for a in [*arrays, *(p.data for p in parameters)]} == {"float32"}


def test_the_learning_rate_may_change_between_steps() -> None:
    parameters = some_parameters()
    optimizer = SGD(parameters, lr=1.0)
    fill_gradients(parameters, 0)
    before = parameters[1].data.copy()
    optimizer.lr = 0.25
    optimizer.step()
    np.testing.assert_array_equal(parameters[1].data, before - 0.25 * parameters[1].grad)


def test_a_learning_rate_of_zero_changes_nothing() -> None:
    parameters = some_parameters()
    before = [p.data.copy() for p in parameters]
    after = run(AdamW(parameters, lr=0.0), parameters, range(2))
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:.*all gradients are zero")
def test_adamw_decays_a_weight_without_gradient_and_adam_does_not_decay_by_default() -> None:
    decayed, kept = Parameter(np.ones(3)), Parameter(np.ones(3))
    AdamW([decayed], lr=0.1, weight_decay=0.5).step()
    Adam([kept], lr=0.1).step()
    np.testing.assert_allclose(decayed.data, 0.95, rtol=1e-15)
    np.testing.assert_array_equal(kept.data, 1.0)


def test_parameters_of_two_dtypes_are_updated_each_in_its_own() -> None:
    single, double = Parameter(np.ones(3, "f4"), "single"), Parameter(np.ones(3, "f8"), "double")
    optimizer = SGD([single, double], lr=0.5)
    single.grad[...] = double.grad[...] = 1.0
    optimizer.step()
    assert [(f.data.dtype.name, f.data.tolist()) for f in optimizer.flats] == [
        ("float32", [0.5] * 3),
        ("float64", [0.5] * 3),
    ]


# ------------------------------------------------------------------ packing


def test_packing_makes_every_parameter_a_view_of_one_array() -> None:
    model = LeNet5(seed=0)
    before = model.state_dict()
    (flat,) = Adam(model.parameters()).flats
    assert flat.data.size == flat.grad.size == sum(p.data.size for p in model.parameters())
    for p in model.parameters():
        assert p.data.base is flat.data
        assert p.grad.base is flat.grad
        np.testing.assert_array_equal(p.data, before[p.name])


def test_packing_keeps_gradients_that_are_there() -> None:
    parameters = some_parameters()
    fill_gradients(parameters, 0)
    before = [p.grad.copy() for p in parameters]
    SGD(parameters)
    for p, grad in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(p.grad, grad)


@pytest.mark.filterwarnings("ignore:.*all gradients are zero")
def test_loading_weights_into_the_model_reaches_the_optimizer() -> None:
    model, other = LeNet5(seed=0), LeNet5(seed=1)
    optimizer = SGD(model.parameters(), lr=1.0)
    model.load_state_dict(other.state_dict())
    optimizer.step()  # the gradients are zero
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_backward_of_the_model_adds_to_the_flat_gradient() -> None:
    model = LeNet5(seed=0)
    (flat,) = SGD(model.parameters()).flats
    y = model(np.random.default_rng(0).random((2, 1, 32, 32), np.float32))
    model.backward(np.ones_like(y))
    assert np.abs(flat.grad).sum() > 0


def test_zero_grad_clears_every_gradient() -> None:
    parameters = some_parameters()
    optimizer = SGD(parameters)
    fill_gradients(parameters, 0)
    optimizer.zero_grad()
    assert not any(p.grad.any() for p in parameters)


@pytest.mark.parametrize("call", ["step", "zero_grad"])
def test_a_converted_model_is_noticed(call: str) -> None:
    model = LeNet5(seed=0)
    optimizer = Adam(model.parameters())
    model.astype("float64")
    with pytest.raises(ValueError, match=r"Adam: Parameter\(features.0.weight.*make the optimizer"):
        getattr(optimizer, call)()


def test_a_replaced_gradient_is_noticed() -> None:
    parameters = some_parameters()
    optimizer = SGD(parameters)
    parameters[1].grad = np.ones_like(parameters[1].data)
    with pytest.raises(ValueError, match=r"SGD: Parameter\(bias.*add to it, parameter.grad \+="):
        optimizer.step()


@pytest.mark.filterwarnings("ignore:.*all gradients are zero")
def test_parameters_that_a_second_optimizer_took_are_noticed() -> None:
    parameters = some_parameters()
    first, second = SGD(parameters), SGD(parameters)
    second.step()
    with pytest.raises(ValueError, match="another optimizer"):
        first.step()


def test_a_deep_copy_is_refused_with_a_way_out() -> None:
    with pytest.raises(TypeError, match=r"SGD can't be deep-copied.*load_state_dict"):
        copy.deepcopy(SGD(some_parameters()))


def test_a_refused_step_is_not_counted() -> None:
    parameters = some_parameters()
    optimizer = Adam(parameters)
    parameters[0].data = parameters[0].data.copy()
    with pytest.raises(ValueError, match="weight"):
        optimizer.step()
    assert optimizer.step_count == 0


# ------------------------------------------------------------------ state


@every_optimizer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_state_continues_bit_for_bit(
    kind: type[Optimizer], settings: dict[str, Any], dtype: str, tmp_path: Any, backend: Backend
) -> None:
    straight = some_parameters(dtype, backend)
    expected = run(kind(straight, **settings), straight, range(6))

    parameters = some_parameters(dtype, backend)
    optimizer = kind(parameters, **settings)
    run(optimizer, parameters, range(3))
    np.savez(tmp_path / "state.npz", **optimizer.state_dict())

    resumed = some_parameters(dtype, backend)
    for p, q in zip(resumed, parameters, strict=True):
        p.data[...] = q.data
    second = kind(resumed, lr=7.0)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        second.load_state_dict(state)
    for a, b in zip(run(second, resumed, range(3, 6)), expected, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(a), backend.to_numpy(b))


def test_state_names_moments_by_parameter() -> None:
    state = Adam(LeNet5(seed=0).parameters()).state_dict()
    assert state["exp_avg.features.0.weight"].shape == (6, 1, 5, 5)
    assert state["exp_avg_sq.classifier.7.bias"].shape == (10,)
    assert {k for k in state if "." not in k} == {"step", "lr", "betas", "eps", "weight_decay"}


def test_state_is_a_copy() -> None:
    parameters = some_parameters()
    optimizer = Adam(parameters)
    state = optimizer.state_dict()
    run(optimizer, parameters, range(1))
    assert not state["exp_avg.bias"].any()


def test_loading_takes_over_the_hyper_parameters() -> None:
    state = Adam(some_parameters(), lr=0.5, betas=(0.1, 0.2), eps=0.3).state_dict()
    optimizer = Adam(some_parameters())
    optimizer.load_state_dict(state)
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (0.5, (0.1, 0.2), 0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exp_avg.bias": None}, r"missing \['exp_avg.bias'\], unknown nothing"),
        ({"exp_avg.extra": np.ones(1)}, r"missing nothing, unknown \['exp_avg.extra'\]"),
        ({"exp_avg.bias": np.ones(8)}, r"exp_avg.bias is float64 \(8,\), expected float64 \(7,\)"),
        ({"exp_avg.bias": np.ones(7, complex)}, "exp_avg.bias is complex128"),
        ({"step": -1}, "Adam.load_state_dict: step must be at least 0"),
        ({"step": 1.5}, "Adam.load_state_dict: step must be an int"),
        ({"lr": -1.0}, r"Adam: lr must be a number in \[0, inf\)"),
        ({"betas": np.array([0.9, 1.0])}, r"Adam: betas\[1\] must be a number in \[0, 1\)"),
        ({"betas": 0.9}, "Adam: betas must be two numbers, got 0.9"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: dict[str, Any], message: str) -> None:
    parameters = some_parameters()
    optimizer = Adam(parameters)
    run(optimizer, parameters, range(2))
    other = Adam(some_parameters(), lr=0.5).state_dict() | change
    before = optimizer.state_dict()
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.load_state_dict({k: v for k, v in other.items() if v is not None})
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(after[key], before[key])


def test_a_state_of_another_optimizer_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"missing .*exp_avg.bias.* unknown .*momentum_buffer.bias"
    ):
        Adam(some_parameters()).load_state_dict(SGD(some_parameters()).state_dict())


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SGD, {"lr": -0.1}, r"SGD: lr must be a number in \[0, inf\), got -0.1"),
        (SGD, {"lr": math.nan}, "SGD: lr"),
        (SGD, {"momentum": -0.1}, "SGD: momentum"),
        (SGD, {"weight_decay": -0.1}, "SGD: weight_decay"),
        (SGD, {"nesterov": True}, "SGD: nesterov needs momentum > 0"),
        (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening = 0"),
        (Adam, {"betas": (0.9, 1.0)}, "Adam: betas"),
        (Adam, {"betas": (-0.1, 0.9)}, "Adam: betas"),
        (Adam, {"eps": -1.0}, "Adam: eps"),
        (AdamW, {"weight_decay": -1.0}, "AdamW: weight_decay"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(
    kind: type[Optimizer], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(some_parameters(), **settings)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SGD, {"lr": "fast"}, "SGD: lr must be a number, got 'fast'"),
        (SGD, {"lr": True}, "SGD: lr must be a number, got True"),
        (Adam, {"betas": (0.9, 0.99, 0.999)}, "Adam: betas must be two numbers"),
    ],
)
def test_hyper_parameters_of_a_wrong_type_are_refused(
    kind: type[Optimizer], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        kind(some_parameters(), **settings)


def test_an_empty_list_of_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="SGD: the list of parameters is empty"):
        SGD([])


def test_a_parameter_given_twice_is_refused() -> None:
    parameters = some_parameters()
    with pytest.raises(ValueError, match="twice"):
        SGD([*parameters, parameters[0]])


def test_two_parameters_of_one_array_are_refused() -> None:
    shared = np.ones(3)
    with pytest.raises(ValueError, match="share one array"):
        SGD([Parameter(shared, "a"), Parameter(shared, "b")])


def test_two_parameters_of_one_name_keep_their_own_state() -> None:
    first, second = Parameter(np.ones(3), "bias"), Parameter(np.ones(2), "bias")
    optimizer = SGD([first, second], momentum=0.9)
    first.grad[:], second.grad[:] = 1.0, 2.0
    optimizer.step()
    state = optimizer.state_dict()
    assert np.array_equal(state["momentum_buffer.0.bias"], np.ones(3))
    assert np.array_equal(state["momentum_buffer.1.bias"], np.full(2, 2.0))


def test_a_parameter_of_ones_own_has_data_grad_and_name() -> None:
    own: Any = SimpleNamespace(data=np.ones(3), grad=np.full(3, 2.0), name="own")
    SGD([own], lr=0.25).step()
    assert np.array_equal(own.data, np.full(3, 0.5))


def test_what_is_not_a_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a list of Parameter.*ndarray"):
        SGD([np.ones(3)])  # type: ignore[list-item]


def test_a_refused_construction_leaves_the_parameters_alone() -> None:
    parameters = some_parameters()
    before = [p.data for p in parameters]
    with pytest.raises(ValueError, match="lr"):
        Adam(parameters, lr=-1.0)
    assert all(p.data is data for p, data in zip(parameters, before, strict=True))


# ------------------------------------------------------------------ clipping


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_scales_all_gradients_by_one_factor(dtype: str) -> None:
    parameters = some_parameters(dtype)
    fill_gradients(parameters, 0)
    before = [p.grad.astype("float64") for p in parameters]
    norm = math.sqrt(sum((g**2).sum() for g in before))
    assert clip_gradients(parameters, 1.5) == pytest.approx(norm, rel=1e-6)
    for p, g in zip(parameters, before, strict=True):
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad, g * 1.5 / (norm + 1e-6), rtol=1e-5)  # float32 sums


def test_clipping_leaves_a_small_gradient_alone() -> None:
    parameter = Parameter(np.zeros(2))
    parameter.grad[...] = [3.0, 4.0]
    assert clip_gradients([parameter], 5.1) == 5.0
    np.testing.assert_array_equal(parameter.grad, [3.0, 4.0])


def test_clipping_works_on_packed_parameters() -> None:
    parameters = some_parameters()
    (flat,) = SGD(parameters).flats
    fill_gradients(parameters, 0)
    clip_gradients(parameters, 1.0)
    assert np.linalg.norm(flat.grad) == pytest.approx(1.0, rel=1e-6)


def test_clipping_by_value_cuts_each_element() -> None:
    parameter = Parameter(np.zeros(4))
    parameter.grad[...] = [-3.0, -0.5, 0.5, 3.0]
    clip_gradient_values([parameter], 1.0)
    np.testing.assert_array_equal(parameter.grad, [-1.0, -0.5, 0.5, 1.0])


@pytest.mark.parametrize("clip", [clip_gradients, clip_gradient_values])
@pytest.mark.parametrize("limit", [-1.0, math.nan])
def test_clipping_refuses_a_limit_below_zero(clip: Any, limit: float) -> None:
    with pytest.raises(ValueError, match=r"a number in \[0, inf\]"):
        clip(some_parameters(), limit)


def test_clipping_refuses_an_empty_list() -> None:
    with pytest.raises(ValueError, match="empty"):
        clip_gradients([], 1.0)


# ------------------------------------------------------------------ groups, frozen parameters


def grouped(backend: Backend, **more: Any) -> tuple[Any, list[Parameter]]:
    parameters = [Parameter(backend.asarray(np.ones(n)), name) for n, name in ((3, "w"), (2, "b"))]
    groups = [{"params": parameters[:1]}, {"params": parameters[1], "lr": 0.5, "weight_decay": 0.0}]
    return AdamW(groups, lr=0.1, **more), parameters


def test_groups_are_saved_and_only_the_same_groups_take_them_back() -> None:
    optimizer, parameters = grouped(NUMPY)
    for p in parameters:
        p.grad[...] = 1.0
    optimizer.step()
    optimizer.param_groups[1]["lr"] = np.float32(0.25)
    state = json.loads(json.dumps(optimizer.state_dict(), default=lambda a: a.tolist()))
    other, _ = grouped(NUMPY)
    other.load_state_dict(state)
    assert [group.lr for group in other.param_groups] == [0.1, 0.25]
    assert type(optimizer.param_groups[1].lr) is float
    assert other.step_count == 1
    with pytest.raises(ValueError, match=r"AdamW\.load_state_dict: missing nothing.*groups"):
        AdamW(parameters).load_state_dict(state)
    swapped = AdamW([{"params": parameters[1]}, {"params": parameters[0]}])
    with pytest.raises(ValueError, match=r"groups\[0\] is of other parameters"):
        swapped.load_state_dict(state)
    state["groups"][1]["lr"] = -1.0
    with pytest.raises(ValueError, match="AdamW: lr must be a number"):
        other.load_state_dict(state)
    assert [group.lr for group in other.param_groups] == [0.1, 0.25]


def test_an_assignment_to_the_optimizer_is_for_all_groups_and_is_checked() -> None:
    optimizer, _ = grouped(NUMPY)
    assert optimizer.lr == 0.1
    optimizer.weight_decay = np.float32(0.5)
    assert [group.weight_decay for group in optimizer.param_groups] == [0.5, 0.5]
    for name, value in (("lr", -1.0), ("lr", "fast"), ("betas", (1.0, 0.9)), ("eps", np.nan)):
        with pytest.raises((TypeError, ValueError), match=f"AdamW: {name}"):
            setattr(optimizer, name, value)
    with pytest.raises(AttributeError, match="a group of parameters has no rate"):
        optimizer.param_groups[0].rate = 1.0


@pytest.mark.parametrize(
    "change",
    [
        lambda optimizer: optimizer.param_groups.reverse(),
        lambda optimizer: optimizer.param_groups.pop(),
        lambda optimizer: optimizer.param_groups[0].params.pop(),
        lambda optimizer: optimizer.param_groups[0]["params"].append(Parameter(np.ones(2), "c")),
        lambda optimizer: setattr(optimizer, "param_groups", []),
        lambda optimizer: setattr(optimizer.param_groups[0], "params", []),
    ],
)
def test_the_groups_are_packed_once_and_refuse_a_change(change: Callable[[Any], Any]) -> None:
    # Reversed groups gave each parameter the other group's rate; a parameter taken out was trained.
    optimizer, _ = grouped(NUMPY)
    with pytest.raises(AttributeError):
        change(optimizer)
    assert [group.lr for group in optimizer.param_groups] == [0.1, 0.5]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([{"lr": 0.1}], "dicts with 'params'"),
        ([{"params": [Parameter(np.ones(2))]}, Parameter(np.ones(2))], "among dicts"),
        ([{"params": []}], "group 0 has no parameters"),
        ([{"params": [Parameter(np.ones(2))], "rate": 1}], r"group 0 has \['rate'\]"),
    ],
    ids=["no parameters", "mixed", "empty", "unknown"],
)
def test_groups_that_make_no_sense_are_refused(params: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        SGD(params)


def test_a_parameter_in_two_groups_is_refused() -> None:
    p = Parameter(np.ones(2))
    with pytest.raises(ValueError, match="twice"):
        SGD([{"params": [p]}, {"params": [p]}])


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop])
def test_a_frozen_parameter_stays_as_it_is_to_the_last_bit(backend: Backend, kind: Any) -> None:
    parameters = [Parameter(backend.asarray(np.full(4, 1.0))) for _ in range(4)]
    optimizer = kind(parameters, lr=0.1, weight_decay=0.1)
    parameters[1].requires_grad = parameters[3].requires_grad = False
    for p in parameters:
        p.grad[...] = 1.0
    optimizer.step()
    moved = [bool((backend.to_numpy(p.data) != 1.0).all()) for p in parameters]
    assert moved == [True, False, True, False]
    assert (backend.to_numpy(parameters[1].data) == 1.0).all()
    total = clip_gradients(parameters, 1e9)
    assert float(total) == pytest.approx(np.sqrt(8.0))  # of the two that are trained
    parameters[1].requires_grad = True
    with pytest.raises(ValueError, match=r"was not trained in the 1 steps .* make a new optimizer"):
        optimizer.step()


def test_nesterov_that_was_switched_on_without_momentum_is_refused_in_the_step() -> None:
    p = Parameter(np.ones(2))
    p.grad[...] = 1.0
    optimizer = SGD([p], lr=0.1)
    optimizer.nesterov = True
    with pytest.raises(ValueError, match=r"nesterov needs momentum > 0 .* got momentum=0\.0"):
        optimizer.step()
    optimizer.momentum = 0.5
    optimizer.step()
    assert optimizer.step_count == 1
    np.testing.assert_allclose(p.data, 1.0 - 0.1 * (1.0 + 0.5))  # of the rule: m = g at first
