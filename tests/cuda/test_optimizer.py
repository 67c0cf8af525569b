"""The optimizer kernels: the update rules of their NumPy twins, all parameters in one launch."""

from __future__ import annotations

from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.backend import Backend, get_backend
from nplenet.layers import Parameter
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam, AdamW, Optimizer, clip_gradients
from nplenet.optim.clip import norm

SETTINGS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3, "nesterov": True}),
    (Adam, {"lr": 0.1}),
    (Adam, {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.1, "weight_decay": 0.3}),
    (AdamW, {"lr": 0.1, "weight_decay": 0.3}),
]
NUMPY = get_backend("numpy")

every_optimizer = pytest.mark.parametrize(
    ("kind", "settings"), SETTINGS, ids=[f"{k.__name__}-{s}" for k, s in SETTINGS]
)


def trained(
    backend: Backend, kind: type[Optimizer], settings: dict[str, Any], size: int, dtype: type
) -> dict[str, np.ndarray]:
    """Return parameters and moments after five steps with the same gradients on each backend."""
    rng = np.random.default_rng(size)
    shapes = {"weight": (size, 3), "bias": (size,), "scale": ()}
    parameters = [
        Parameter(backend.asarray(rng.standard_normal(shape), dtype), name)
        for name, shape in shapes.items()
    ]
    optimizer = kind(parameters, **settings)
    for _ in range(5):
        for p in parameters:
            p.grad[...] = backend.asarray(rng.standard_normal(p.data.shape), dtype)
        optimizer.step()
    state = optimizer.state_dict()
    return {p.name: np.array(backend.to_numpy(p.data)) for p in parameters} | {
        name: value for name, value in state.items() if "." in name
    }


@every_optimizer
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("size", [1, 31, 64, 257, 7001])
def test_five_steps_equal_numpy(
    cuda: Backend,
    kind: type[Optimizer],
    settings: dict[str, Any],
    size: int,
    dtype: type,
    tolerance: float,
) -> None:
    ours = trained(cuda, kind, settings, size, dtype)
    twin = trained(NUMPY, kind, settings, size, dtype)
    assert ours.keys() == twin.keys()
    for name, array in ours.items():
        assert np.isfinite(array).all()
        # The products are summed in another order, or fused: some ulps a step
        np.testing.assert_allclose(array, twin[name], rtol=0, atol=tolerance, strict=True)


@every_optimizer
@pytest.mark.parametrize("order", ["reverse", "random:5"])
def test_the_order_of_the_threads_changes_nothing(
    cuda: Backend, kind: type[Optimizer], settings: dict[str, Any], order: str
) -> None:
    expected = trained(cuda, kind, settings, 301, np.float32)
    with gpusim.thread_order(order):
        actual = trained(cuda, kind, settings, 301, np.float32)
    assert all(actual[name].tobytes() == array.tobytes() for name, array in expected.items())


@every_optimizer
def test_a_step_leaves_the_gradient_alone(
    cuda: Backend, kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    parameter = Parameter(cuda.asarray(np.ones(1000)))
    optimizer = kind([parameter], **settings)
    parameter.grad[...] = 0.5
    optimizer.step()
    assert (cuda.to_numpy(parameter.grad) == 0.5).all()


def test_moments_saved_on_one_backend_continue_on_the_other(cuda: Backend) -> None:
    results = []
    for backend in (NUMPY, cuda):
        before = Parameter(NUMPY.asarray(np.linspace(-1, 1, 77)), "weight")
        first = Adam([before], lr=0.1)
        before.grad[...] = 0.3
        first.step()
        after = Parameter(backend.asarray(before.data), "weight")
        second = Adam([after])
        second.load_state_dict(first.state_dict())
        after.grad[...] = -0.2
        second.step()
        assert isinstance(second.state_dict()["exp_avg.weight"], np.ndarray)
        results.append(backend.to_numpy(after.data))
    np.testing.assert_allclose(*results, rtol=0, atol=1e-12, strict=True)


@every_optimizer
@pytest.mark.usefixtures("simulated")
def test_a_step_of_lenet5_is_one_launch(
    cuda: Backend, kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    optimizer = kind(LeNet5(seed=0).to(cuda).parameters(), **settings)
    optimizer.step()
    with gpusim.counting() as count:
        optimizer.step()
    assert (count.launches, count.syncs, count.h2d, count.d2h, count.allocations) == (1, 0, 0, 0, 0)
    with gpusim.counting() as count:
        optimizer.zero_grad()
    assert (count.launches + count.memsets, count.syncs, count.h2d) == (1, 0, 0)


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_lie_on_the_device_give_the_same_bits(
    cuda: Backend, kind: type[Optimizer], settings: dict[str, Any], dtype: type
) -> None:
    rng, results = np.random.default_rng(0), []
    start, gradients = rng.standard_normal(301), rng.standard_normal((3, 301))
    for there in (False, True):
        parameter = Parameter(cuda.asarray(start, dtype), "p")
        optimizer = kind([parameter], **settings)
        for gradient in gradients:
            parameter.grad[...] = cuda.asarray(gradient, dtype)
            optimizer.step_count += 1
            numbers = optimizer.numbers()
            optimizer.update(cuda.asarray(numbers, np.float64) if there else numbers)
            optimizer.lr *= 0.5  # a schedule
        arrays = [parameter.data, *optimizer._arrays().values()]
        results.append([cuda.to_numpy(array).tobytes() for array in arrays])
    assert results[0] == results[1]


def test_numbers_on_the_device_must_be_as_many_as_the_rule_has(cuda: Backend) -> None:
    optimizer = SGD([Parameter(cuda.asarray(np.ones(3)))])
    with pytest.raises(ValueError, match=r"expected 5 numbers on the device, got shape \(6,\)"):
        optimizer.update(cuda.xp.zeros(6))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_norm_of_gradients_equals_numpy_in_any_order_of_threads(
    cuda: Backend, dtype: type, tolerance: float
) -> None:
    rng = np.random.default_rng(0)
    shapes = [(1,), (7, 3), (64 * 256 + 1,), (2, 3, 5), (100_003,)]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    given, bits = [cuda.asarray(a) for a in arrays], set()
    given[1] = cuda.asarray(arrays[1].T).T
    for order in ("forward", "reverse", "random:5"):
        with gpusim.thread_order(order):
            found = cuda.to_numpy(cuda.primitive(norm, *given))
        # NumPy sums float32 in float32: a hundred roundings
        np.testing.assert_allclose(found, norm(np, *arrays), rtol=tolerance)
        bits.add(found.tobytes())
    assert len(bits) == 1


@pytest.mark.usefixtures("simulated")
def test_clipping_reads_nothing_on_the_host_and_calls_no_cublas(cuda: Backend) -> None:
    parameters = LeNet5(seed=0).to(cuda).parameters()
    for p in parameters:
        p.grad.fill(1)
    clip_gradients(parameters, 1.0)
    with gpusim.counting() as count:
        clip_gradients(parameters, 1.0)
    assert (count.gemms, count.syncs, count.h2d, count.d2h, count.allocations) == (0, 0, 0, 0, 0)
    size = sum(p.grad.size for p in parameters)
    for p in parameters:
        expected = np.full(p.grad.shape, size**-0.5)
        np.testing.assert_allclose(cuda.to_numpy(p.grad), expected, rtol=1e-5)
