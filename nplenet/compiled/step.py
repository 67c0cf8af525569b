"""A training step as one call, and the textbook layers behind the same interface."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from ..backend import Array
from ..checks import unmasked
from ..group import ALONE
from ..layers import Layer, Parameter
from ..layers.hints import other_dtype
from ..losses import CrossEntropyLoss
from ..optim import Optimizer
from ..turns import Turns

IMAGE_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Step")


def in_turn(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let a method of a step wait until no other thread is in one; see ``nplenet.turns``."""

    @wraps(method)
    def waiting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.optimizer.turns.turn():
            return method(self, *args, **kwargs)

    return waiting


def trains(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Do what ``in_turn`` does, and refuse a second thread that trains with a RuntimeError."""

    @wraps(method)
    def refusing(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if isinstance(self.optimizer, NoOptimizer):
            raise ValueError(
                "this step was compiled without a loss and an optimizer, so it only predicts; to "
                "train: nplenet.compile(model, loss, optimizer, batch_size)"
            )
        with self.optimizer.turns.training_turn():
            return method(self, *args, **kwargs)

    return refusing


class NoOptimizer(Optimizer):
    """Stands in a step that only predicts; leaves the parameters where they are."""

    def __init__(self) -> None:
        self.flats, self.turns = [], Turns()


class Step(ABC):
    """One training step, forward to update, as a single call.

    Threads may share a step: ``predict`` computes for one after the other, also between the steps
    of a thread that trains; a second thread that trains gets a RuntimeError. Call whatever else
    changes the parameters, such as ``model.load_state_dict``, while no thread uses the step.

    Attributes
    ----------
    compiled : bool
    runs_epochs : bool
        Whether it runs the steps of an epoch without the host, through ``begin_epoch``.
    correct : integer
        Correct predictions of the last step.
    tunables : dict of str to int
        See ``Tunables``; empty where nothing was compiled.
    group : Group
        The ranks that share each batch; see ``nplenet.group.sharing``.
    """

    compiled: bool
    runs_epochs = False
    correct: Any = 0
    group = ALONE

    def __init__(
        self, model: Layer, loss: CrossEntropyLoss, optimizer: Optimizer, batch_size: int
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch_size = batch_size
        self.tunables: dict[str, int] = {}

    @property
    def hits(self) -> Any:
        """The old name of ``correct``."""
        warnings.warn("Step.hits is deprecated: use correct", DeprecationWarning, stacklevel=2)
        return self.correct

    @hits.setter
    def hits(self, value: Any) -> None:
        warnings.warn("Step.hits is deprecated: use correct", DeprecationWarning, stacklevel=2)
        self.correct = value

    @trains
    def __call__(self, x: Array, y: Array) -> Any:
        """Do one training step and return its loss.

        Parameters
        ----------
        x : float32, float64 or uint8 array (N, ...)
            At most ``batch_size`` images; uint8 is divided by 255.
        y : integer array (N,)
            Their labels.

        Returns
        -------
        scalar of the model's dtype
            The loss before the update; with ``reduction="none"`` the losses (N,), and the update is
            that of their sum.

        Raises
        ------
        RuntimeError
            When another thread is training the model.
        """
        value = self.gradients(x, y)
        self.optimizer.step()
        return value

    @abstractmethod
    def gradients(self, x: Array, y: Array) -> Any:
        """Do a step without its update: set the gradients, and return the loss.

        Every rank passes its part of the batch, which may be empty. The gradients become those of
        the whole batch; the loss and ``correct`` are this rank's part of a sum.
        """

    def begin_epoch(self, deal: Any, schedule: Any, done: int) -> Any:
        """Return the rest of an epoch, for a loop over several steps at a time.

        See ``nplenet.compiled.cuda.epoch.DeviceEpoch``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no begin_epoch")

    def prepare_epoch(self, schedule: Any, steps: int) -> None:
        """Do in advance what ``begin_epoch`` will do on the host, while the device is at work.

        Nothing is changed. If optimizer, schedule, dropout or their generators are changed by
        then, ``begin_epoch`` does it again.
        """
        raise NotImplementedError(f"{type(self).__name__} has no prepare_epoch")

    def _sum_over_ranks(self, loss: Any, images: int, count: float | None = None) -> Any:
        """Sum the gradients of all ranks, in one piece, and return this rank's part of the loss.

        On several ranks, loss and gradients are sums over images until here: a mean needs their
        number first; where images weigh differently ``count`` is the sum of this rank's weights.
        """
        if self.group.size == 1:
            return loss
        factor = 1.0
        if self.loss.reduction == "mean":
            weighted = self.loss.weight is not None or self.loss.ignore_index is not None
            counts = np.array([count or 0.0])
            total = float(self.group.sum(counts)[0]) if weighted else self.group.total(images)
            factor = 1.0 / total if total else float("nan")
        for flat in self.optimizer.flats:
            self.group.sum(flat.grad)
            flat.grad *= factor
        return loss * factor

    def floats(self, x: Array) -> Array:
        """Return bytes divided by 255, or float32 or float64, in the model's dtype.

        Images that are made on access (see ``data.lazy``) are also normalised.
        """
        parameters = self.model.parameters()
        dtype = parameters[0].data.dtype if parameters else np.dtype(np.float32)
        if x.dtype != np.uint8:
            return x.astype(dtype, copy=False) if x.dtype in IMAGE_DTYPES else x
        found = self.model.backend.xp.divide(x, dtype.type(255), dtype=dtype)
        normal = getattr(x, "normal", None)
        if normal is None:
            return found
        mean, std = normal[:, :, None, None]
        return (found - mean) / std

    @abstractmethod
    def predict(self, x: Array) -> Array:
        """Return the logits (N, K) as in ``eval`` mode, for any number of images."""

    @abstractmethod
    def describe(self) -> str:
        """Say what runs."""


class TextbookStep(Step):
    """The layers themselves; ``why`` says why they run."""

    compiled = False

    def __init__(
        self,
        model: Layer,
        loss: CrossEntropyLoss,
        optimizer: Optimizer,
        batch_size: int,
        why: str,
    ) -> None:
        super().__init__(model, loss, optimizer, batch_size)
        self.why = why

    @trains
    def gradients(self, x: Array, y: Array) -> Any:
        self.optimizer.zero_grad()
        before = self.model.input_gradient
        self.model.input_gradient = False
        self.group.begin(len(x))
        try:
            value, dlogits, count = self._loss(self.model(self.floats(x)), y)
            self.model.backward(dlogits)
        finally:
            self.model.input_gradient = before
        return self._sum_over_ranks(value, len(x), count)

    def _loss(self, logits: Array, y: Array) -> tuple[Any, Array, float | None]:
        """Return the loss and its gradient, on several ranks as sums; set ``correct``.

        Third, by what a mean over the ranks divides, unless that is the number of images.
        """
        loss = self.loss
        weighted = loss.weight is not None or loss.ignore_index is not None
        if self.group.size > 1 and len(y) == 0:
            xp = self.model.backend.xp
            self.correct = xp.zeros((), np.int64)
            none = logits[:, 0] if loss.reduction == "none" else xp.zeros((), logits.dtype)
            return none, logits, None
        if self.group.size > 1 and weighted and loss.reduction == "mean":
            loss.reduction = "sum"
            try:
                value, dlogits = loss(logits, y), loss.backward()
            finally:
                loss.reduction = "mean"
            self.correct = loss.correct
            return value, dlogits, float(loss.total)
        value, dlogits = loss(logits, y), loss.backward()
        self.correct = loss.correct
        if self.group.size == 1 or loss.reduction != "mean":
            return value, dlogits, None
        return value * len(y), dlogits * len(y), None

    @in_turn
    def predict(self, x: Array) -> Array:
        with self.model.evaluating():
            size, logits = self.batch_size, None
            for i in range(0, max(len(x), 1), size):
                part = self.model(self.floats(x[i : i + size]))
                if logits is None:  # not concatenated, which CuPy refuses in a graph
                    logits = self.model.backend.xp.empty((len(x), *part.shape[1:]), part.dtype)
                logits[i : i + size] = part
        return logits

    def describe(self) -> str:
        return f"the textbook layers run: {self.why}"


def why_loss_not_compiled(loss: CrossEntropyLoss) -> str:
    """Return why a loss cannot be compiled; an empty string if it can."""
    if type(loss) is not CrossEntropyLoss:
        return f"only CrossEntropyLoss is compiled, not {type(loss).__name__}"
    if loss.reduction == "none":
        return "the loss stays apart for each image (reduction='none'), a compiled step adds it up"
    if loss.weight is not None:
        return "the loss weighs the classes, a compiled step does not"
    if loss.ignore_index is not None:
        return "the loss ignores a label, a compiled step does not"
    return ""


def why_model_not_compiled(model: Layer) -> str:
    """Return why no model like this is compiled, on any device; an empty string if it may be."""
    held = [p for _, layer in model.modules() for p in layer._held(Parameter).values()]
    if len(held) > len(set(map(id, held))):
        return "layers share a parameter, and a compiled step writes each gradient once"
    dtypes = sorted({parameter.data.dtype.name for parameter in held})
    if len(dtypes) != 1:
        return f"the parameters' dtypes are {dtypes or 'none'}, not one"
    return ""


def check_count(images: int, largest: int, smallest: int = 1) -> None:
    """Raise a ValueError if a batch has too few or too many images."""
    if not smallest <= images <= largest:
        hint = "; compile it with a larger batch_size" if images > largest else ""
        raise ValueError(f"the compiled step takes 1 to {largest} images, got {images}{hint}")


def image_shape(x: Any) -> tuple[int, ...]:
    """Return the shape of one image of a batch on the host.

    The batch is a NumPy array, or an object with a shape, a dtype and two methods: ``len(x)`` and
    ``x[rows]``, which makes the images of a slice when a worker asks for them (see ``data.lazy``).

    Raises
    ------
    TypeError, ValueError
        For another dtype, an array on a device, or something that is not a batch.
    """
    found = getattr(x, "dtype", type(x).__name__)
    on_host = hasattr(x, "dtype") and not hasattr(x, "__cuda_array_interface__")
    if not on_host or found not in IMAGE_DTYPES:  # the type of a number is named float
        raise TypeError(
            f"the compiled step takes NumPy arrays of float32, float64 or uint8, got {found}; "
            + (other_dtype(x.dtype) if on_host else "convert it: x.astype('float32')")
        )
    unmasked(x, "the compiled step: the batch")
    shape: tuple[int, ...] = x.shape
    if len(shape) < 2:
        raise ValueError(
            "the compiled step takes a batch of images (N, C, H, W) or of features (N, F), "
            f"got an array of shape {shape}"
        )
    return shape[1:]
