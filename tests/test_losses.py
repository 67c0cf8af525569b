"""Softmax and cross entropy against their formulas, at extremes, and on senseless input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.losses import CrossEntropyLoss, log_softmax, softmax

LOGITS = np.random.default_rng(0).standard_normal((6, 4)) * 3
TARGETS = np.array([0, 3, 1, 1, 2, 0])


def by_formula(logits: np.ndarray, targets: np.ndarray, smoothing: float) -> list[float]:
    """Return -sum over k of t_k * log(exp(z_k) / sum over j of exp(z_j)) for each image."""
    losses = []
    for z, target in zip(logits.tolist(), targets.tolist(), strict=True):
        total = math.fsum(math.exp(v) for v in z)
        t = [(1 - smoothing) * (k == target) + smoothing / len(z) for k in range(len(z))]
        losses.append(-math.fsum(t[k] * math.log(math.exp(z[k]) / total) for k in range(len(z))))
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("reduction", "reduce"), [("mean", np.mean), ("sum", np.sum)])
def test_the_loss_equals_its_formula(
    reduction: str, reduce: Any, smoothing: float, backend: Backend
) -> None:
    loss = CrossEntropyLoss(reduction, label_smoothing=smoothing)
    value = loss(backend.asarray(LOGITS), backend.asarray(TARGETS))
    assert value.shape == ()
    assert float(value) == pytest.approx(reduce(by_formula(LOGITS, TARGETS, smoothing)), rel=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize(("reduction", "count"), [("mean", 6), ("sum", 1)])
def test_the_gradient_is_softmax_less_targets(
    reduction: str, count: int, smoothing: float, backend: Backend
) -> None:
    loss = CrossEntropyLoss(reduction, label_smoothing=smoothing)
    loss(backend.asarray(LOGITS), backend.asarray(TARGETS))
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    t = (1 - smoothing) * np.eye(4)[TARGETS] + smoothing / 4
    np.testing.assert_allclose(
        backend.to_numpy(loss.backward()), (p - t) / count, rtol=0, atol=1e-14, strict=True
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_reduction_each_image_has_its_loss_and_its_gradient(
    smoothing: float, dtype: type, backend: Backend
) -> None:
    loss = CrossEntropyLoss("none", label_smoothing=smoothing)
    logits, targets = backend.asarray(LOGITS, dtype), backend.asarray(TARGETS)
    losses = backend.to_numpy(loss(logits, targets))
    tolerance = {np.float32: 2e-6, np.float64: 1e-13}[dtype]
    assert (losses.shape, losses.dtype) == ((6,), dtype)
    np.testing.assert_allclose(losses, by_formula(LOGITS, TARGETS, smoothing), rtol=tolerance)
    assert int(loss.correct) == (LOGITS.argmax(axis=1) == TARGETS).sum()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    t = (1 - smoothing) * np.eye(4)[TARGETS] + smoothing / 4
    of_sum = backend.to_numpy(loss.backward())
    assert of_sum.dtype == dtype
    np.testing.assert_allclose(of_sum, p - t, rtol=0, atol=tolerance)
    weights = np.arange(6.0)
    loss(logits, targets)
    weighted = backend.to_numpy(loss.backward(backend.asarray(weights)))
    assert weighted.dtype == dtype
    np.testing.assert_allclose(weighted, (p - t) * weights[:, None], rtol=0, atol=6 * tolerance)


@pytest.mark.parametrize(
    ("reduction", "shape"), [("none", (5,)), ("none", (6, 1)), ("none", ()), ("mean", (6,))]
)
def test_a_gradient_of_the_losses_of_another_shape_is_refused(
    reduction: str, shape: tuple[int, ...]
) -> None:
    loss = CrossEntropyLoss(reduction)
    loss(LOGITS, TARGETS)
    with pytest.raises(ValueError, match=r"takes a gradient of shape \(N,\)"):
        loss.backward(np.ones(shape))
    assert loss.backward().shape == LOGITS.shape  # the forward still waits for it


def test_without_reduction_a_label_outside_is_an_error(backend: Backend) -> None:
    loss = CrossEntropyLoss("none")

    def forward_and_check() -> None:
        loss(backend.asarray(LOGITS), backend.asarray([0, 1, 9, 0, 0, 0]))
        loss.check()

    with pytest.raises(ValueError, match=r"label 9 of sample 2 lies outside 0\.\.3"):
        forward_and_check()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_labels_may_be_of_any_integer_dtype(dtype: type) -> None:
    expected = CrossEntropyLoss()(LOGITS, TARGETS)
    assert CrossEntropyLoss()(LOGITS, TARGETS.astype(dtype)) == expected


def test_more_classes_than_a_uint8_holds_are_allowed() -> None:
    loss = CrossEntropyLoss()(np.zeros((1, 300)), np.array([255], np.uint8))
    assert float(loss) == pytest.approx(math.log(300), rel=1e-14)


def test_float32_stays_float32(backend: Backend) -> None:
    loss = CrossEntropyLoss(label_smoothing=0.1)
    value = loss(backend.asarray(LOGITS, np.float32), backend.asarray(TARGETS))
    assert value.dtype == loss.backward().dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_give_a_finite_loss_and_gradient(
    dtype: type, smoothing: float, backend: Backend
) -> None:
    logits = backend.asarray([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype)
    loss = CrossEntropyLoss(label_smoothing=smoothing)
    value = loss(logits, backend.asarray([1, 0]))
    assert math.isfinite(float(value))
    assert np.isfinite(backend.to_numpy(loss.backward())).all()


def test_a_certain_but_wrong_answer_costs_the_distance_of_the_logits() -> None:
    loss = CrossEntropyLoss("sum")
    assert loss(np.array([[1e4, -1e4, 0.0]], np.float32), np.array([1])) == 2e4
    assert loss.backward().tolist() == [[1.0, -1.0, 0.0]]


def test_a_certain_and_right_answer_costs_nothing() -> None:
    loss = CrossEntropyLoss()
    assert loss(np.array([[1e4, 0.0]]), np.array([0])) == 0.0
    assert loss.backward().tolist() == [[0.0, 0.0]]


def test_softmax_sums_to_one_and_ignores_a_shift() -> None:
    p = softmax(LOGITS)
    np.testing.assert_allclose(p.sum(axis=1), np.ones(6), rtol=1e-14, strict=True)
    np.testing.assert_allclose(softmax(LOGITS + 1e4), p, rtol=0, atol=1e-11, strict=True)


def test_log_softmax_is_the_logarithm_of_softmax() -> None:
    np.testing.assert_allclose(
        log_softmax(LOGITS), np.log(softmax(LOGITS)), rtol=0, atol=1e-13, strict=True
    )


def test_log_softmax_stays_finite_where_softmax_underflows() -> None:
    assert log_softmax(np.array([[0.0, -1e4]])).tolist() == [[0.0, -1e4]]


# ------------------------------------------------------------------------------ refusals


def checked(loss: CrossEntropyLoss, logits: Any, targets: Any) -> float:
    """Return the loss, or raise the error of a label: NumPy does so at once, a GPU if asked."""
    value = float(loss(logits, targets))
    loss.check()
    return value


@pytest.mark.parametrize("label", [-1, 4, 255])
def test_a_label_out_of_range_is_refused_and_named(label: int, backend: Backend) -> None:
    targets = TARGETS.copy()
    targets[2] = label
    loss = CrossEntropyLoss()
    with pytest.raises(ValueError, match=rf"label {label} of sample 2 lies outside 0\.\.3"):
        checked(loss, backend.asarray(LOGITS), backend.asarray(targets))


def test_minus_one_as_an_unsigned_label_is_refused_in_the_same_words() -> None:
    targets = TARGETS.astype(np.uint64)
    targets[1] = np.iinfo(np.uint64).max
    with pytest.raises(ValueError, match=r"of sample 1 lies outside 0\.\.3"):
        checked(CrossEntropyLoss(), LOGITS, targets)


def test_numpy_refuses_a_label_out_of_range_at_once() -> None:
    loss = CrossEntropyLoss()
    with pytest.raises(ValueError, match="label 4 of sample 0"):
        loss(LOGITS, np.full(6, 4))
    with pytest.raises(ValueError, match="call forward once before each backward"):
        loss.backward()


def test_a_loss_goes_on_after_a_refused_label(backend: Backend) -> None:
    loss, logits = CrossEntropyLoss(), backend.asarray(LOGITS)
    with pytest.raises(ValueError, match="label -1 of sample 0"):
        checked(loss, logits, backend.asarray(np.full(6, -1)))
    value = checked(loss, logits, backend.asarray(TARGETS))
    assert value == pytest.approx(np.mean(by_formula(LOGITS, TARGETS, 0.0)), rel=1e-13)


def test_correct_counts_the_correct_predictions_of_the_last_batch(backend: Backend) -> None:
    loss = CrossEntropyLoss()
    for targets in (LOGITS.argmax(axis=1), TARGETS):
        loss(backend.asarray(LOGITS), backend.asarray(targets))
        assert loss.correct.shape == ()
        assert int(loss.correct) == int((LOGITS.argmax(axis=1) == targets).sum())


def test_the_old_name_of_correct_still_works_and_warns() -> None:
    loss = CrossEntropyLoss()
    loss(LOGITS, TARGETS)
    with pytest.warns(
        DeprecationWarning, match=r"CrossEntropyLoss\.hits is deprecated: use correct"
    ):
        assert loss.hits is loss.correct


@pytest.mark.parametrize("dtype", [np.float64, bool])
def test_labels_that_are_no_integers_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match="targets must be integers, got"):
        CrossEntropyLoss()(LOGITS, TARGETS.astype(dtype))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_logits_that_are_no_floats_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match="CrossEntropyLoss: logits must be"):
        CrossEntropyLoss()(np.ones((6, 4), dtype), TARGETS)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [((6, 4), (5,)), ((6,), (6,)), ((6, 4), (6, 4)), ((6, 4, 1), (6,)), ((6, 4), ())],
)
def test_shapes_that_do_not_fit_are_refused_and_named(
    logits: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="expected logits") as refusal:
        CrossEntropyLoss()(np.ones(logits), np.ones(targets, np.int64))
    assert f"got {logits} and {targets}" in str(refusal.value)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="CrossEntropyLoss: the batch is empty"):
        CrossEntropyLoss()(np.ones((0, 4)), np.ones((0,), np.int64))


def test_targets_of_another_kind_are_refused(backend: Backend) -> None:
    with pytest.raises(TypeError, match=f"logits are on the {backend.name} backend, .* list"):
        CrossEntropyLoss()(backend.asarray(LOGITS), TARGETS.tolist())


def test_logits_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got list"):
        CrossEntropyLoss()(LOGITS.tolist(), TARGETS)


def test_backward_before_forward_is_refused() -> None:
    with pytest.raises(
        ValueError, match="CrossEntropyLoss: backward called without a matching forward"
    ):
        CrossEntropyLoss().backward()


def test_a_second_backward_for_one_forward_is_refused() -> None:
    loss = CrossEntropyLoss()
    loss(LOGITS, TARGETS)
    loss.backward()
    with pytest.raises(ValueError, match="call forward once before each backward"):
        loss.backward()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "all"}, "reduction must be 'mean', 'sum' or 'none', got 'all'"),
        ({"label_smoothing": 1.5}, "label_smoothing must be a number in .*, got 1.5"),
        ({"label_smoothing": float("nan")}, "label_smoothing must be a number in .*, got nan"),
    ],
)
def test_senseless_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossEntropyLoss(**arguments)
    loss = CrossEntropyLoss("sum", 0.25)
    for name, value in arguments.items():
        with pytest.raises(ValueError, match=message):
            setattr(loss, name, value)
    assert (loss.reduction, loss.label_smoothing) == ("sum", 0.25)
