"""The cross entropy kernel: the formulas of its NumPy twin, and faults that are noted, not lost."""

from __future__ import annotations

import gpusim
import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.losses import CrossEntropyLoss, cross_entropy

# (N, K): 1 and primes, rows that do not fill the block of 256 threads or go round it
SHAPES = [(1, 1), (1, 10), (2, 3), (64, 10), (251, 7), (256, 10), (257, 2), (1009, 13), (3, 1000)]


def batch(n: int, k: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, k])
    return (3 * rng.standard_normal((n, k))).astype(dtype), rng.integers(0, k, n)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_gradient_and_correct_equal_numpy(
    cuda: Backend, shape: tuple[int, int], dtype: type, tolerance: float, smoothing: float
) -> None:
    logits, targets = batch(*shape, dtype)
    scale = 1 / shape[0]
    fault = np.zeros(3, np.int64)
    twin = cross_entropy(np, logits, targets, smoothing, scale, fault, 1)
    device_fault = cuda.asarray(fault)
    arguments = (cuda.asarray(logits), cuda.asarray(targets), smoothing, scale, device_fault, 1)
    loss, dlogits, correct = map(cuda.to_numpy, cuda.primitive(cross_entropy, *arguments))
    assert (loss.shape, loss.dtype) == ((), dtype)
    assert np.isfinite(loss)
    assert np.isfinite(dlogits).all()
    # exp and log of the device, and sums over K in another order: a few ulps of the largest term
    np.testing.assert_allclose(loss, twin[0], rtol=tolerance)
    np.testing.assert_allclose(dlogits, twin[1], rtol=0, atol=tolerance * scale, strict=True)
    assert correct == twin[2]
    assert not cuda.to_numpy(device_fault).any()


def test_equal_logits_count_as_an_answer_for_the_first(cuda: Backend) -> None:
    loss = CrossEntropyLoss()
    loss(cuda.asarray(np.zeros((4, 3))), cuda.asarray([0, 1, 2, 0]))
    assert int(loss.correct) == 2


@pytest.mark.parametrize("order", ["reverse", "random:5"])
def test_the_order_of_the_threads_changes_nothing(cuda: Backend, order: str) -> None:
    logits, targets = map(cuda.asarray, batch(777, 10, np.float32))

    def results() -> list[bytes]:
        fault = cuda.xp.zeros(3, np.int64)
        made = cuda.primitive(cross_entropy, logits, targets, 0.1, 1 / 777, fault, 1)
        return [cuda.to_numpy(array).tobytes() for array in made]

    expected = results()
    with gpusim.thread_order(order):
        assert results() == expected


def test_a_label_out_of_range_costs_nan_and_spares_the_other_rows(cuda: Backend) -> None:
    logits, targets = batch(5, 4)
    targets[3] = 4
    loss = CrossEntropyLoss("sum")
    value = loss(cuda.asarray(logits), cuda.asarray(targets))
    dlogits = cuda.to_numpy(loss.backward())
    assert np.isnan(float(value))
    assert np.isnan(dlogits[3]).all()
    assert np.isfinite(np.delete(dlogits, 3, axis=0)).all()


@pytest.mark.parametrize("label", [-1, 10, 255, 2**40, -(2**63)])
@pytest.mark.parametrize("sample", [0, 44, 300])
def test_the_kernel_notes_the_fault_that_numpy_notes(
    cuda: Backend, label: int, sample: int
) -> None:
    logits, targets = batch(302, 10)
    targets[sample:] = 99  # later ones do not count; row 300 is taken by the thread of row 44
    targets[sample] = label
    expected, noted = np.zeros(3, np.int64), cuda.xp.zeros(3, np.int64)
    cross_entropy(np, logits, targets, 0.0, 1.0, expected, 8)
    cuda.primitive(cross_entropy, cuda.asarray(logits), cuda.asarray(targets), 0.0, 1.0, noted, 8)
    assert cuda.to_numpy(noted).tolist() == expected.tolist() == [8, sample, label]


def test_the_first_fault_since_the_last_check_is_the_one_that_is_named(cuda: Backend) -> None:
    loss, (logits, targets) = CrossEntropyLoss(), batch(6, 4)
    loss.check()
    for label in (targets[2], 9, 8, targets[2]):
        targets[2] = label
        loss(cuda.asarray(logits), cuda.asarray(targets))
    with pytest.raises(
        ValueError, match=r"label 9 of sample 2 in batch 2 of the 4 since .* lies outside 0\.\.3"
    ):
        loss.check()
    loss.check()  # reported once


def test_a_forward_takes_its_number_from_the_device_where_it_lies_there(cuda: Backend) -> None:
    loss, (logits, targets) = CrossEntropyLoss(), batch(6, 4)
    targets[2] = 9
    fault = loss.fault_on(cuda)
    loss.forward_there = cuda.asarray([0], np.int64)
    for _ in range(3):
        loss.forward_there[...] = loss.count_forward()
    loss(cuda.asarray(logits), cuda.asarray(targets))
    assert cuda.to_numpy(fault).tolist() == [3, 2, 9]
    with pytest.raises(ValueError, match=r"label 9 of sample 2 lies outside"):  # the last of three
        loss.check()
    assert loss.fault_on(cuda) is fault
    assert not cuda.to_numpy(fault).any()
    assert loss.count_forward() == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_may_be_of_any_integer_dtype(cuda: Backend, dtype: type) -> None:
    logits, targets = batch(33, 10)
    expected = CrossEntropyLoss()(logits, targets)
    value = CrossEntropyLoss()(cuda.asarray(logits), cuda.asarray(targets.astype(dtype)))
    assert float(value) == pytest.approx(float(expected), rel=1e-12)


def test_one_loss_serves_both_backends_in_turn(cuda: Backend) -> None:
    loss, (logits, targets) = CrossEntropyLoss(), batch(6, 4)
    first = float(loss(logits, targets))
    assert float(loss(cuda.asarray(logits), cuda.asarray(targets))) == pytest.approx(first)
    assert float(loss(logits, targets)) == first


@pytest.mark.usefixtures("simulated")
def test_loss_gradient_and_correct_are_one_launch(cuda: Backend) -> None:
    loss, (logits, targets) = CrossEntropyLoss(), map(cuda.asarray, batch(64, 10, np.float32))
    loss(logits, targets)
    with gpusim.counting() as count:
        loss(logits, targets)
        loss.backward()
    assert (count.launches, count.syncs, count.h2d, count.d2h, count.allocations) == (1, 0, 0, 0, 0)
