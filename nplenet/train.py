"""The training loop: epochs, metrics, the progress bar, and what to do when a run goes wrong."""

from __future__ import annotations

import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .augment import ToFloat
from .backend import Array, backend_of
from .data import DataLoader
from .layers import Layer, Sequential
from .losses import CrossEntropyLoss
from .optim import Optimizer
from .schedules import Schedule


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number; the message names epoch, step and layer."""


@dataclass(frozen=True)
class Evaluation:
    """The result of a model on labelled images.

    Attributes
    ----------
    loss : float
        Mean cross entropy.
    accuracy : float
        Share of right answers, 0 to 1.
    confusion : list of lists of int
        ``confusion[label][answer]`` counts images.
    """

    loss: float
    accuracy: float
    confusion: list[list[int]]


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached; the training figures are means over its steps, dropout on."""

    epoch: int
    lr: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_second: float

    def __str__(self) -> str:
        line = f"epoch {self.epoch:3d}  loss {self.loss:.4f}  accuracy {self.accuracy:7.2%}"
        if self.validation_accuracy is not None:
            line += (
                f"  validation loss {self.validation_loss:.4f}"
                f"  accuracy {self.validation_accuracy:7.2%}"
            )
        return f"{line}  {self.seconds:.1f} s  {self.images_per_second:,.0f} images/s"


@dataclass
class History:
    """The epochs of a run, and whether it was interrupted."""

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, ready for JSON."""
        return asdict(self)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep matrix products on one thread.

    They are small here, and threads that wait for each other on a busy machine have been seen to
    make a step ten times as slow.
    """
    with threadpool_limits(1, user_api="blas"):
        yield


@_one_blas_thread()
def evaluate(
    model: Layer,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int = 10,
    batch_size: int = 256,
) -> Evaluation:
    """Run ``model`` in eval mode over images converted to floats, and nothing else.

    Parameters
    ----------
    model : Layer
        Maps floats (N, C, H, W) to logits (N, classes). Its mode is restored afterwards.
    images : uint8 (N, C, H, W)
    labels : int (N,)
    """
    was_training = model.training
    model.eval()
    loss_function, loss_sum = CrossEntropyLoss(reduction="sum"), 0.0
    confusion = np.zeros((classes, classes), np.int64)
    for x, y in DataLoader(images, labels, batch_size, transform=ToFloat()):
        logits = model(model.backend.asarray(x))
        loss_sum += float(loss_function(logits, model.backend.asarray(y)))
        np.add.at(confusion, (y, model.backend.to_numpy(logits.argmax(axis=1))), 1)
    model.train(was_training)
    return Evaluation(loss_sum / len(labels), np.trace(confusion) / len(labels), confusion.tolist())


@_one_blas_thread()
def fit(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    loader: DataLoader,
    *,
    epochs: int,
    schedule: Schedule | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train ``model`` for ``epochs`` passes over ``loader``.

    The first Ctrl-C stops after the step at hand and returns what was reached; the second one
    interrupts at once.

    Parameters
    ----------
    schedule : Schedule, optional
        Stepped after each training step.
    validation : (images, labels), optional
        Evaluated after each epoch.
    progress : bool
        Show a progress bar where the error stream is a terminal.
    on_epoch : callable, optional
        Called with each finished ``Epoch``.

    Raises
    ------
    NonFiniteLoss
        Naming the epoch, the step and the first layer whose output was not finite.
    """
    history, begin = History(), time.perf_counter()
    with _stop_on_ctrl_c() as stop, _without_input_gradient(model):
        for number in range(1, epochs + 1):
            model.train()
            record = _train_epoch(model, loss, optimizer, loader, number, schedule, progress, stop)
            if stop.is_set():
                history.interrupted = True
                break
            if validation is not None:
                result = evaluate(model, *validation)
                record |= {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
            epoch = Epoch(**record)
            history.epochs.append(epoch)
            if on_epoch is not None:
                on_epoch(epoch)
    history.seconds = time.perf_counter() - begin
    return history


def _train_epoch(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    loader: DataLoader,
    number: int,
    schedule: Schedule | None,
    progress: bool,
    stop: threading.Event,
) -> dict[str, Any]:
    backend, begin = model.backend, time.perf_counter()
    loss_sum, hits, seen = 0.0, 0, 0
    bar = tqdm(
        total=min(len(loader) * loader.batch_size, len(loader.images)),
        desc=f"epoch {number}",
        unit="img",
        unit_scale=True,
        leave=False,
        disable=None if progress else True,
    )
    with bar:
        for step, (images, labels) in enumerate(loader, start=1):
            x, y = backend.asarray(images), backend.asarray(labels)
            logits = model(x)
            value = float(loss(logits, y))
            if not math.isfinite(value):
                where = first_layer_not_finite(model, x)
                raise NonFiniteLoss(
                    f"the loss is {value} in epoch {number}, step {step}: {where}; "
                    "a smaller learning rate may help"
                )
            optimizer.zero_grad()
            model.backward(loss.backward())
            optimizer.step()
            if schedule is not None:
                schedule.step()
            seen += len(labels)
            loss_sum += value * len(labels)
            hits += int((logits.argmax(axis=1) == y).sum())
            bar.update(len(labels))
            bar.set_postfix(
                loss=f"{loss_sum / seen:.4f}", accuracy=f"{hits / seen:.2%}", refresh=False
            )
            if stop.is_set():
                break
    seconds = time.perf_counter() - begin
    return {
        "epoch": number,
        "lr": optimizer.lr,
        "loss": loss_sum / max(seen, 1),
        "accuracy": hits / max(seen, 1),
        "validation_loss": None,
        "validation_accuracy": None,
        "seconds": seconds,
        "images_per_second": seen / seconds,
    }


def first_layer_not_finite(model: Layer, x: Array) -> str:
    """Run ``model`` layer by layer and say where the first value that is not finite appears."""
    xp = backend_of(x).xp
    if not bool(xp.isfinite(x).all()):
        return "the input of the model is not finite"
    for path, layer in _leaves(model):
        x = layer(x)
        if not bool(xp.isfinite(x).all()):
            return f"the first output that is not finite is that of layer {path} ({layer!r})"
    return "every layer's output is finite"


def _leaves(model: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) in the order in which a nest of Sequentials runs them."""
    if not isinstance(model, Sequential):
        yield path or type(model).__name__, model
        return
    for name, child in model.children().items():
        yield from _leaves(child, f"{path}.{name}" if path else name)


@contextmanager
def _without_input_gradient(model: Layer) -> Iterator[None]:
    """Spare the first layer the gradient of the images, which nobody asks for."""
    before = model.input_gradient
    model.input_gradient = False
    try:
        yield
    finally:
        model.input_gradient = before


@contextmanager
def _stop_on_ctrl_c() -> Iterator[threading.Event]:
    """Turn the first SIGINT into an event, so that no update is left half done."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return

    def request_stop(signum: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def confusion_table(confusion: list[list[int]]) -> str:
    """Return a confusion matrix as text: a row a label, a column an answer, dots for zeros."""
    classes = range(len(confusion))
    width = max(len(str(count)) for row in confusion for count in row) + 1
    head = "label".ljust(7) + "".join(f"{k:>{width}}" for k in classes) + "   recall"
    rows = [head]
    for k, row in enumerate(confusion):
        cells = "".join(f"{count or '.':>{width}}" for count in row)
        recall = f"{row[k] / sum(row):8.2%}" if sum(row) else "       -"
        rows.append(f"{k:<7}{cells} {recall}")
    return "\n".join(rows)


def environment() -> dict[str, str]:
    """Return the versions that decide the bits of a run: Python, NumPy, nplenet, the machine."""
    from . import __version__

    return {
        "nplenet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }
