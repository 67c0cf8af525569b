"""The schedules' shapes, state and refusals; test_golden.py compares their values to PyTorch's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nplenet.layers import Parameter
from nplenet.optim import SGD, Adam, Optimizer
from nplenet.schedules import CosineLR, OneCycleLR, Schedule, StepLR, WarmUpLR

SCHEDULES: dict[str, Callable[[Optimizer], Schedule]] = {
    "step": lambda optimizer: StepLR(optimizer, 3, gamma=0.5),
    "cosine": lambda optimizer: CosineLR(optimizer, 10, eta_min=0.001),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, 0.4, 10),
    "three phases": lambda optimizer: OneCycleLR(
        optimizer, 0.4, 10, three_phase=True, anneal_strategy="linear"
    ),
}
every_schedule = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())


def adam(lr: float = 0.1) -> Adam:
    return Adam([Parameter(np.ones(2), "weight")], lr=lr)


def rates(schedule: Schedule, steps: int) -> list[float]:
    found = [schedule.optimizer.lr]
    for _ in range(steps):
        schedule.step()
        found.append(schedule.optimizer.lr)
    return found


def test_step_lr_falls_by_gamma_every_step_size_steps() -> None:
    assert rates(StepLR(adam(0.8), 2, gamma=0.5), 5) == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]


def test_cosine_falls_from_the_base_rate_over_the_middle_to_eta_min() -> None:
    found = rates(CosineLR(adam(0.5), 4, eta_min=0.1), 4)
    assert found[::2] == pytest.approx([0.5, 0.3, 0.1])
    assert found == sorted(found, reverse=True)


def test_one_cycle_rises_to_max_lr_and_falls_below_the_start() -> None:
    found = rates(OneCycleLR(adam(), 0.4, 20, div_factor=8.0, final_div_factor=100.0), 19)
    peak = found.index(max(found))
    assert (found[0], found[peak], found[-1]) == pytest.approx((0.05, 0.4, 0.0005))
    assert peak == 5  # pct_start * total_steps - 1
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


@pytest.mark.parametrize("pct_start", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("total_steps", [1, 2, 4])
def test_one_cycle_takes_any_short_run(
    pct_start: float, three_phase: bool, total_steps: int
) -> None:
    schedule = OneCycleLR(adam(), 0.4, total_steps, pct_start=pct_start, three_phase=three_phase)
    assert all(0.0 < lr <= 0.4 * (1 + 1e-12) for lr in rates(schedule, total_steps - 1))


def test_one_cycle_moves_beta1_of_adam_against_the_rate() -> None:
    optimizer = adam()
    schedule = OneCycleLR(optimizer, 0.4, 20)
    assert optimizer.betas == (0.95, 0.999)
    rates(schedule, 5)
    assert optimizer.betas == pytest.approx((0.85, 0.999))
    rates(schedule, 14)
    assert optimizer.betas == pytest.approx((0.95, 0.999))


def test_one_cycle_moves_the_momentum_of_sgd() -> None:
    optimizer = SGD([Parameter(np.ones(2))], momentum=0.9)
    schedule = OneCycleLR(optimizer, 0.4, 20, base_momentum=0.5, max_momentum=0.8)
    assert optimizer.momentum == 0.8
    rates(schedule, 5)
    assert optimizer.momentum == pytest.approx(0.5)


def test_one_cycle_leaves_the_momentum_alone_when_told() -> None:
    optimizer = adam()
    rates(OneCycleLR(optimizer, 0.4, 20, cycle_momentum=False), 7)
    assert optimizer.betas == (0.9, 0.999)


@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("pct_start", [0.0, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 20])
def test_one_cycle_holds_its_last_values_and_what_it_sets_can_be_restored(
    kind: Any, strategy: str, three_phase: bool, pct_start: float, total_steps: int
) -> None:
    more = {"momentum": 0.9, "nesterov": True} if kind is SGD else {}

    def pair() -> tuple[Any, OneCycleLR]:
        optimizer = kind([Parameter(np.ones(2))], **more)
        options: dict[str, Any] = {"pct_start": pct_start, "three_phase": three_phase}
        schedule = OneCycleLR(
            optimizer, 0.4, total_steps, anneal_strategy=strategy, **options, final_div_factor=1e20
        )
        return optimizer, schedule

    optimizer, schedule = pair()
    values = []
    for _ in range(total_steps + 3):
        momentum = optimizer.betas[0] if kind is Adam else optimizer.momentum
        assert 0.0 <= optimizer.lr <= 0.4 * (1 + 1e-12)
        assert 0.85 - 1e-12 <= momentum <= 0.95 + 1e-12
        values.append((optimizer.lr, momentum))
        other, again = pair()
        other.load_state_dict(optimizer.state_dict())
        again.load_state_dict(schedule.state_dict())
        assert (other.lr, again.last_lr) == (optimizer.lr, schedule.last_lr)
        schedule.step()
    assert len(set(values[total_steps - 1 :])) == 1


@every_schedule
def test_last_lr_is_the_rate_the_optimizer_has(make: Callable[[Optimizer], Schedule]) -> None:
    schedule = make(adam())
    assert schedule.last_lr == schedule.optimizer.lr
    schedule.step()
    assert schedule.last_lr == schedule.optimizer.lr == schedule.rate(1)


@every_schedule
def test_a_schedule_loaded_from_json_continues_bit_for_bit(
    make: Callable[[Optimizer], Schedule],
) -> None:
    expected = rates(make(adam()), 9)
    first = make(adam())
    rates(first, 4)
    optimizer = adam(lr=7.0)
    second = make(optimizer)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert optimizer.betas == first.optimizer.betas
    assert rates(second, 5) == expected[4:]


@every_schedule
def test_a_schedule_loads_values_kept_as_arrays(make: Callable[[Optimizer], Schedule]) -> None:
    first, second = make(adam()), make(adam())
    first.step()
    second.load_state_dict({name: np.array(v) for name, v in first.state_dict().items()})
    assert second.state_dict() == first.state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": None}, r"missing \['gamma'\], unknown nothing"),
        ({"power": 2}, r"missing nothing, unknown \['power'\]"),
        ({"gamma": "half"}, "gamma is 'half', expected a float"),
        ({"step_count": 1.5}, "step_count is 1.5, expected a int"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: dict[str, Any], message: str) -> None:
    schedule = StepLR(adam(), 3)
    before, state = schedule.state_dict(), StepLR(adam(0.9), 4).state_dict() | change
    with pytest.raises(ValueError, match=message):
        schedule.load_state_dict({k: v for k, v in state.items() if v is not None})
    assert schedule.state_dict() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: StepLR(o, 0), "StepLR: step_size"),
        (lambda o: StepLR(o, 2, gamma=-0.1), "StepLR: gamma"),
        (lambda o: CosineLR(o, 0), "CosineLR: T_max"),
        (lambda o: CosineLR(o, 5, eta_min=-1.0), "CosineLR: eta_min"),
        (lambda o: OneCycleLR(o, 0.4, 0), "OneCycleLR: total_steps"),
        (lambda o: OneCycleLR(o, -0.4, 5), "OneCycleLR: max_lr"),
        (lambda o: OneCycleLR(o, 0.4, 5, pct_start=1.5), "OneCycleLR: pct_start"),
        (lambda o: OneCycleLR(o, 0.4, 5, anneal_strategy="sine"), "OneCycleLR: anneal_strategy"),
        (lambda o: OneCycleLR(o, 0.4, 5, max_momentum=1.0), "OneCycleLR: max_momentum"),
        (lambda o: OneCycleLR(o, 0.4, 5, div_factor=0.0), "OneCycleLR: div_factor"),
    ],
)
def test_settings_out_of_range_are_refused_and_the_rate_stays(make: Any, message: str) -> None:
    optimizer = adam()
    with pytest.raises(ValueError, match=message):
        make(optimizer)
    assert optimizer.lr == 0.1


@pytest.mark.parametrize("step_size", ["2", 2.0, True])
def test_a_step_size_that_is_not_an_integer_is_refused(step_size: Any) -> None:
    with pytest.raises(TypeError, match="StepLR: step_size must be an int"):
        StepLR(adam(), step_size)


def test_one_cycle_refuses_an_optimizer_without_momentum() -> None:
    plain = Optimizer([Parameter(np.ones(2))])
    plain.lr = 0.1
    with pytest.raises(ValueError, match="neither betas nor momentum"):
        OneCycleLR(plain, 0.4, 5)


def test_what_is_not_an_optimizer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"StepLR: optimizer must be from nplenet.optim, got float"):
        StepLR(0.1, 3)  # type: ignore[arg-type]


def test_a_warm_up_whose_state_does_not_fit_leaves_the_schedule_after_it_alone() -> None:
    optimizer = SGD([Parameter(np.ones(2))], lr=0.1)
    schedule = WarmUpLR(optimizer, 2, after=StepLR(optimizer, 5, 0.5))
    expected = [schedule.rate(k) for k in range(20)]
    state = schedule.state_dict() | {"after_gamma": 0.9, "step_count": -1}
    with pytest.raises(ValueError, match="step_count must be at least 0"):
        schedule.load_state_dict(state)
    assert [schedule.rate(k) for k in range(20)] == expected
