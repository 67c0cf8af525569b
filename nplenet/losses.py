"""Softmax and cross entropy: from logits to a number that says how wrong they are.

Legend: N images, K classes; ``logits`` (N, K) floats, ``targets`` (N,) integer labels 0..K-1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .attributes import Attributes
from .backend import Array, Backend, backend_of
from .backend.base import A
from .checks import Checks, count, fraction, unmasked
from .loss_hints import one_hot_hint, warn_of_probabilities
from .names import answer_wrong_names

__all__ = [
    "CrossEntropyLoss",
    "cross_entropies",
    "cross_entropy",
    "log_softmax",
    "one_hot_hint",
    "softmax",
]
answer_wrong_names(__name__)


def log_softmax(logits: Array) -> Array:
    """Return log(exp(z_k) / sum over j of exp(z_j)) along the last axis.

    The row's maximum is taken off first, which changes nothing but keeps exp from overflowing.
    """
    xp = _xp_of("log_softmax", logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: Array) -> Array:
    """Return the probabilities exp(z_k) / sum over j of exp(z_j) along the last axis."""
    xp = _xp_of("softmax", logits)
    exponentials = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _xp_of(owner: str, logits: Array) -> Any:
    """Return the array library of logits (..., K); refuse what are not numbers."""
    xp = backend_of(logits).xp
    if logits.dtype.kind not in "fi" or logits.ndim == 0:
        raise TypeError(f"{owner}: takes floats (..., K), got {logits.dtype} {logits.shape}")
    return xp


def cross_entropies(
    xp: Any,
    logits: Array,
    targets: Array,
    smoothing: float,
    fault: Array,
    forward: int | Array,
    weight: Array | None = None,
    ignore_index: int | None = None,
) -> tuple[Array, Array, Array]:
    """Return the loss of each image, their gradients and the number of correct predictions.

    The formulas stand in ``CrossEntropyLoss``. A sample whose label lies outside 0..K-1 gets NaN
    for its loss and gradient, and ``fault`` records the first such sample: a GPU can't raise an
    error, and reading its result at each step would wait for it.

    Parameters
    ----------
    logits : float array (N, K)
    targets : integer array (N,)
    smoothing : float
        Fraction of the uniform distribution in the targets.
    fault : int64 array (3,)
        Zeros, or an earlier fault, which is kept; becomes ``forward``, sample, label.
    forward : int or int64 array (1,)
        Number of this call, at least 1; or the array of the backend in which it lies.
    weight : array (K,), optional
        Of each class.
    ignore_index : int, optional
        Images with this label have neither loss nor gradient, and are never correct.

    Returns
    -------
    losses : array (N,) of the dtype of ``logits``
    dlogits : array (N, K)
    correct : integer array ()
    """
    k, dtype = logits.shape[1], logits.dtype.type
    right = xp.arange(k) == targets[:, None]  # (N, K), one-hot
    t = right * dtype(1.0 - smoothing) + dtype(smoothing / k)
    if weight is not None:
        t *= weight
    known, correct = right.any(axis=1), logits.argmax(axis=1) == targets
    if ignore_index is not None:
        ignored = targets == ignore_index
        t[ignored] = 0
        known, correct = known | ignored, correct & ~ignored
    log_p = log_softmax(logits)
    losses = -(t * xp.where(t == 0, dtype(0), log_p)).sum(axis=1)  # 0 * -inf is 0 here
    p = xp.exp(log_p)
    if weight is not None or ignore_index is not None:  # else the sum of t is 1
        p *= t.sum(axis=1, keepdims=True)
    dlogits = p - t
    if not known.all():
        losses[~known], dlogits[~known] = np.nan, np.nan
        if fault[0] == 0:
            fault[:1], fault[1] = forward, known.argmin()
            fault[2] = min(int(targets[fault[1]]), 2**63 - 1)  # -1 as uint64 is above int64
    return losses, dlogits, correct.sum()


def cross_entropy(
    xp: Any,
    logits: Array,
    targets: Array,
    smoothing: float,
    scale: float,
    fault: Array,
    forward: int | Array,
) -> tuple[Array, Array, Array]:
    """Return the loss of the batch (), its gradient (N, K) and the number of correct predictions.

    It is the sum of ``cross_entropies``, which has the other parameters, times ``scale``.
    """
    losses, dlogits, correct = cross_entropies(xp, logits, targets, smoothing, fault, forward)
    loss = (losses.sum(dtype=np.float64) * scale).astype(logits.dtype)
    return loss, dlogits * logits.dtype.type(scale), correct


def _reduction(value: Any, name: str) -> str:
    if value not in ("mean", "sum", "none"):
        raise ValueError(f"{name} must be 'mean', 'sum' or 'none', got {value!r}")
    return str(value)


def _ignore_index(value: Any, name: str) -> int | None:
    return None if value is None else count(value, name, -(2**63))


def _class_weights(values: npt.ArrayLike | None, name: str) -> npt.NDArray[np.float64] | None:
    """Return the weights of the classes, (K,)."""
    if values is None:
        return None
    try:
        weight = np.array(values, np.float64)
    except (TypeError, ValueError):
        weight = np.zeros(0)
    if weight.ndim != 1 or weight.size == 0 or not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(f"{name} must be a number >= 0 for each class, got {values!r}")
    return weight


class CrossEntropyLoss(Attributes):
    r"""Negative log-likelihood of the right class under softmax.

        loss_n = -sum over k of t_k * log_softmax(z)_k        t = one-hot target

    With label smoothing s, t = (1 - s) * one-hot + s / K (Szegedy et al., 2016, section 7). Where
    t_k = 0 the logit of class k may be -infinity: 0 * -inf counts as 0.

    Backward: d log_softmax_k / d z_j = [k = j] - softmax_j and sum of t = 1, so

        dlogits = softmax(z) - t        (divided by N for the mean)

    With weights w of the classes, w_k * t_k stands for t_k, so dlogits is (sum of w * t) *
    softmax(z) - w * t, and the mean divides by the sum of the labels' weights instead of N.

    The loss is a plain number without a graph behind it: write ``model.backward(loss.backward())``,
    where ``loss`` is this object, not its value.

    Without reduction the losses (N,) stay apart, and ``backward`` takes the gradient of whatever is
    made of them.

    A label outside 0..K-1 is an error. On NumPy ``forward`` raises it. On a GPU the loss becomes
    NaN, and the next ``check`` raises the error: the training loop calls it when it waits for the
    device anyway.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        0 <= s <= 1.
    weight : sequence of float, optional
        Of each class, (K,), each >= 0: larger for rare classes, say.
    ignore_index : int, optional
        A label whose images do not count, such as -100. By default every label counts. (In PyTorch
        -100 is ignored unasked.)

    Attributes
    ----------
    correct : integer array ()
        Number of correct predictions in the last forward, on the backend of the logits.
    total : float64 array ()
        With ``weight`` or ``ignore_index``: the sum of the weights of the last forward's labels.
    forward_there : int64 array (1,), optional
        Where forward finds its number instead of counting. A CUDA graph keeps the numbers with
        which it was captured: its caller counts with ``count_forward`` and writes to the array.
    """

    settings: ClassVar[Checks] = {
        "reduction": _reduction,
        "label_smoothing": fraction,
        "weight": _class_weights,
        "ignore_index": _ignore_index,
    }
    reduction: str
    label_smoothing: float
    weight: npt.NDArray[np.float64] | None
    ignore_index: int | None
    correct: Array
    total: Array
    forward_there: Array | None = None

    def __init__(
        self,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        weight: npt.ArrayLike | None = None,
        ignore_index: int | None = None,
    ) -> None:
        self.reduction, self.label_smoothing = reduction, label_smoothing
        self.weight = weight  # type: ignore[assignment]  # the check makes the array
        self.ignore_index = ignore_index
        self._dlogits: Array | None = None
        self._backend: Backend | None = None
        self._fault: Array = None
        self._forwards = self._classes = 0
        self._probabilities_checked = False  # once, at the first logits

    def __call__(self, logits: A, targets: Any) -> A:
        return self.forward(logits, targets)

    def forward(self, logits: Array, targets: Array) -> Array:
        """Return the loss, a scalar of the backend (0-d array), and keep its gradient.

        With ``reduction="none"`` the loss of each image, (N,).

        Raises
        ------
        TypeError
            When ``targets`` is not an integer array on the backend of ``logits``.
        ValueError
            When shapes do not fit or a label lies outside 0..K-1.
        """
        backend = self._checked_backend(logits, targets)
        fault = self.fault_on(backend)
        number = self.count_forward() if self.forward_there is None else self.forward_there
        arguments = (logits, targets, self.label_smoothing)
        if self.weight is not None or self.ignore_index is not None:
            found = self._weighted(backend, logits, targets, fault, number)
        elif self.reduction == "none":
            found = backend.primitive(cross_entropies, *arguments, fault, number)
        else:
            scale = 1.0 / len(logits) if self.reduction == "mean" else 1.0
            found = backend.primitive(cross_entropy, *arguments, scale, fault, number)
        loss, self._dlogits, self.correct = found
        self._classes = logits.shape[1]
        if backend.reading_interval == 0.0 and self.forward_there is None:  # NumPy does not wait
            self.check()
        return loss

    def _weighted(
        self, backend: Backend, logits: Array, targets: Array, fault: Array, number: int | Array
    ) -> tuple[Array, Array, Array]:
        """Return loss, dlogits and ``correct`` where not every image counts as one."""
        xp, weight = backend.xp, None
        counts = xp.ones(len(logits))
        if self.weight is not None:
            if len(self.weight) != logits.shape[1]:
                raise ValueError(
                    f"CrossEntropyLoss: weight is of {len(self.weight)} classes, the logits of "
                    f"{logits.shape[1]}"
                )
            weight = backend.asarray(np.asarray(self.weight, logits.dtype))
            inside = xp.clip(targets, 0, len(weight) - 1)  # others: ignored, or a fault
            counts = weight[inside].astype(np.float64)
        if self.ignore_index is not None:
            counts[targets == self.ignore_index] = 0
        losses, dlogits, correct = backend.primitive(
            cross_entropies,
            *(logits, targets, self.label_smoothing, fault, number, weight, self.ignore_index),
        )
        self.total = counts.sum()
        if self.reduction == "none":
            return losses, dlogits, correct
        loss = losses.sum(dtype=np.float64)
        if self.reduction == "mean":
            with np.errstate(divide="ignore", invalid="ignore"):  # no image counts: NaN
                loss, dlogits = loss / self.total, dlogits / self.total.astype(dlogits.dtype)
        return loss.astype(logits.dtype), dlogits, correct

    def count_forward(self) -> int:
        """Return the number of the coming forward, counted since the last check."""
        self._forwards += 1
        return self._forwards

    def fault_on(self, backend: Backend, classes: int | None = None) -> Array:
        """Return the int64 array (3,) in which ``cross_entropy`` notes a fault on this backend.

        Made at first use; a loss that changes its backend forgets the other one's. ``classes`` is
        for a caller who does without ``forward``; errors name it.
        """
        self._classes = self._classes if classes is None else classes
        if backend is not self._backend:
            self._backend, self._fault = backend, backend.xp.zeros(3, np.int64)
        return self._fault

    def backward(self, dlosses: Array | None = None) -> Array:
        """Return dlogits (N, K) of the last forward; once per forward.

        Parameters
        ----------
        dlosses : array (N,), optional
            Only with ``reduction="none"``: the gradient of each loss, such as the weights of a
            weighted mean; by default 1, which gives the gradient of their sum.
        """
        if self._dlogits is None:
            raise ValueError(
                "CrossEntropyLoss: backward called without a matching forward: call forward once "
                "before each backward"
            )
        shape = None if dlosses is None else backend_of(dlosses) and dlosses.shape
        if shape is not None and (self.reduction != "none" or shape != self._dlogits.shape[:1]):
            raise ValueError(
                "CrossEntropyLoss: backward takes a gradient of shape (N,) with reduction='none', "
                f"got one of shape {shape} with reduction={self.reduction!r}"
            )
        dlogits, self._dlogits = self._dlogits, None
        return dlogits if dlosses is None else dlogits * dlosses[:, None].astype(dlogits.dtype)

    @property
    def hits(self) -> Array:
        """The old name of ``correct``."""
        warnings.warn(
            "CrossEntropyLoss.hits is deprecated: use correct", DeprecationWarning, stacklevel=2
        )
        return self.correct

    def check(self, in_epoch: bool = False, agree: Callable[[list[int]], list[int]] = list) -> None:
        """Raise an error for the first label out of range since the last check; waits for a GPU.

        ``in_epoch`` says that the forwards were numbered from the beginning of the epoch; ``agree``
        turns forward, sample, label of the fault here (zeros: none) to those of the first one on
        any rank.

        Raises
        ------
        ValueError
            The message names the label, its sample and, if it was not the last one, its batch.
        """
        if self._backend is None:
            return
        forward, sample, label = agree(self._backend.to_numpy(self._fault).tolist())
        last, self._forwards = self._forwards, 0
        if forward == 0:
            return
        self._fault[:], self._dlogits = 0, None
        when = "" if forward == last else f" in batch {forward} of the {last} since the last check"
        if in_epoch:
            when = f" in step {forward} of the epoch"
        raise ValueError(
            f"CrossEntropyLoss: label {label} of sample {sample}{when} lies outside "
            f"0..{self._classes - 1}"
        )

    def _checked_backend(self, logits: Array, targets: Array) -> Backend:
        backend = backend_of(logits)
        if not backend.owns(unmasked(targets, "CrossEntropyLoss: targets")):
            raise TypeError(
                f"CrossEntropyLoss: logits are on the {backend.name} backend, targets are "
                f"{type(targets).__name__}; pass get_backend({backend.name!r}).asarray(targets)"
            )
        if logits.dtype.kind != "f":
            swapped = "; pass loss(logits, targets)" if logits.ndim == 1 else ""
            raise TypeError(f"CrossEntropyLoss: logits must be floats, got {logits.dtype}{swapped}")
        if logits.ndim != 2 or targets.shape != logits.shape[:1]:
            raise ValueError(
                "CrossEntropyLoss: expected logits (N, K) and targets (N,), got "
                f"{logits.shape} and {targets.shape}{one_hot_hint(targets, logits.shape)}"
            )
        if targets.dtype.kind not in "iu":
            raise TypeError(
                f"CrossEntropyLoss: targets must be integers, got {targets.dtype}; convert them: "
                "targets.astype('int64')"
            )
        if len(logits) == 0:
            raise ValueError("CrossEntropyLoss: the batch is empty")
        if not self._probabilities_checked and backend.reading_interval == 0.0:  # a GPU would wait
            self._probabilities_checked = True
            warn_of_probabilities(logits)
        return backend
