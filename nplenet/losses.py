"""Softmax and cross entropy: from logits to a number that says how wrong they are.

Legend: N images, K classes; ``logits`` (N, K) floats, ``targets`` (N,) integer labels 0..K-1.
"""

from __future__ import annotations

import numpy as np

from .backend import Array, backend_of


def log_softmax(logits: Array) -> Array:
    """Return log(exp(z_k) / sum over j of exp(z_j)) along the last axis.

    The row's maximum is taken off first, which changes nothing but keeps exp from overflowing.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    xp = backend_of(logits).xp
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: Array) -> Array:
    """Return the probabilities exp(z_k) / sum over j of exp(z_j) along the last axis."""
    exponentials = backend_of(logits).xp.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


class CrossEntropyLoss:
    r"""Negative log-likelihood of the right class under softmax.

        loss_n = -sum over k of t_k * log_softmax(z)_k        t = one-hot target

    With label smoothing s, t = (1 - s) * one-hot + s / K (Szegedy et al., 2016, section 7).

    Backward: d log_softmax_k / d z_j = [k = j] - softmax_j and sum of t = 1, so

        dlogits = softmax(z) - t        (divided by N for the mean)

    Parameters
    ----------
    reduction : {"mean", "sum"}
    label_smoothing : float
        0 <= s <= 1.
    """

    def __init__(self, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(
                f"CrossEntropyLoss: reduction must be 'mean' or 'sum', got {reduction!r}"
            )
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                "CrossEntropyLoss: label_smoothing must lie between 0 and 1, "
                f"got {label_smoothing!r}"
            )
        self.reduction, self.label_smoothing = reduction, label_smoothing
        self._dlogits: Array | None = None

    def __call__(self, logits: Array, targets: Array) -> Array:
        return self.forward(logits, targets)

    def forward(self, logits: Array, targets: Array) -> Array:
        """Return the loss, a scalar of the backend (0-d array), and keep its gradient.

        Raises
        ------
        TypeError
            When ``targets`` is not an integer array on the backend of ``logits``.
        ValueError
            When shapes do not fit or a label lies outside 0..K-1.
        """
        self._check(logits, targets)
        n, k = logits.shape
        xp = backend_of(logits).xp
        right = xp.arange(k) == targets[:, None]  # (N, K), one-hot
        share = self.label_smoothing / k
        t = right * logits.dtype.type(1.0 - self.label_smoothing) + logits.dtype.type(share)
        log_p = log_softmax(logits)
        count = n if self.reduction == "mean" else 1
        self._dlogits = (xp.exp(log_p) - t) / count
        return -(t * log_p).sum() / count

    def backward(self) -> Array:
        """Return dlogits (N, K) of the last forward; once for each forward."""
        if self._dlogits is None:
            raise ValueError("CrossEntropyLoss: backward needs a forward before it, one for each")
        dlogits, self._dlogits = self._dlogits, None
        return dlogits

    def _check(self, logits: Array, targets: Array) -> None:
        backend = backend_of(logits)
        if not backend.owns(targets):
            raise TypeError(
                f"CrossEntropyLoss: logits are on the {backend.name} backend, targets are "
                f"{type(targets).__name__}; convert them with get_backend({backend.name!r}).asarray"
            )
        if logits.dtype.kind != "f":
            raise TypeError(f"CrossEntropyLoss: logits must be floats, got {logits.dtype}")
        if logits.ndim != 2 or targets.shape != logits.shape[:1]:
            raise ValueError(
                "CrossEntropyLoss: expected logits (N, K) and targets (N,), got "
                f"{logits.shape} and {targets.shape}"
            )
        if targets.dtype.kind not in "iu":
            raise TypeError(f"CrossEntropyLoss: targets must be integers, got {targets.dtype}")
        n, k = logits.shape
        if n == 0:
            raise ValueError("CrossEntropyLoss: the batch is empty")
        outside = (targets < 0) | (targets >= k)
        if bool(outside.any()):
            at = int(np.argmax(backend.to_numpy(outside)))
            raise ValueError(
                f"CrossEntropyLoss: label {int(targets[at])} of sample {at} lies outside 0..{k - 1}"
            )
