"""The training loop: epochs, metrics, the progress bar, and what to do when a run goes wrong.

One loop for all backends. A GPU works on its own while the host runs ahead, until the host asks for
a number; so the losses and hits of the steps stay on the backend, and are read now and then.
"""

from __future__ import annotations

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
from .backend import Array, Backend, backend_of
from .data import DataLoader, DeviceLoader
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
    return _evaluate(model, _test_loader(model, images, labels, batch_size), classes)


def _test_loader(
    model: Layer, images: np.ndarray, labels: np.ndarray, batch_size: int = 256
) -> DataLoader | DeviceLoader:
    """Return a loader of images as they are, in their order, on the backend of ``model``."""
    return DataLoader(images, labels, batch_size, transform=ToFloat()).to(model.backend)


def _evaluate(model: Layer, loader: DataLoader | DeviceLoader, classes: int = 10) -> Evaluation:
    backend, labels = model.backend, loader.labels
    loss_function = CrossEntropyLoss(reduction="sum")
    losses = backend.xp.zeros(len(loader))
    answers = backend.xp.zeros(len(labels), np.int64)
    was_training = model.training
    model.eval()
    try:
        with _naming_batch_size(loader, "evaluation"):
            for i, (images, targets) in enumerate(loader):
                logits = model(backend.asarray(images))
                losses[i] = loss_function(logits, backend.asarray(targets))
                start = i * loader.batch_size
                answers[start : start + len(targets)] = logits.argmax(axis=1)
        loss_function.check()
    finally:
        model.train(was_training)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, backend.to_numpy(answers)), 1)
    return Evaluation(
        loss=float(backend.to_numpy(losses).sum()) / len(labels),
        accuracy=float(np.trace(confusion)) / len(labels),
        confusion=confusion.tolist(),
    )


@_one_blas_thread()
def fit(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    loader: DataLoader | DeviceLoader,
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
    loader : DataLoader or DeviceLoader
        ``loader.to(model.backend)`` spares the upload of each batch.
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
        Naming the epoch, the step and the first layer whose output is not finite. A GPU has gone
        on by then, and the layer is that of a later step, which the message names;
        ``model.backend.reading_interval = 0`` has each step looked at, and waited for.
    MemoryError
        Naming the batch size, when the memory of the backend is used up.
    """
    history, begin = History(), time.perf_counter()
    test_loader = None if validation is None else _test_loader(model, *validation)
    with _stop_on_ctrl_c() as stop, _without_input_gradient(model):
        for number in range(1, epochs + 1):
            model.train()
            record = _train_epoch(model, loss, optimizer, loader, number, schedule, progress, stop)
            if stop.is_set():
                history.interrupted = True
                break
            if test_loader is not None:
                result = _evaluate(model, test_loader)
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
    loader: DataLoader | DeviceLoader,
    number: int,
    schedule: Schedule | None,
    progress: bool,
    stop: threading.Event,
) -> dict[str, Any]:
    backend, begin = model.backend, time.perf_counter()
    tally = _Tally(backend, len(loader))
    bar = tqdm(
        total=min(len(loader) * loader.batch_size, len(loader.images)),
        desc=f"epoch {number}",
        unit="img",
        unit_scale=True,
        leave=False,
        disable=None if progress else True,
    )
    with bar, _naming_batch_size(loader, f"epoch {number}"):
        for images, labels in loader:
            x, y = backend.asarray(images), backend.asarray(labels)
            logits = model(x)
            tally.add(loss(logits, y), loss.hits, len(y))
            if tally.due():
                _read(tally, number, model, loss, x)
                bar.update(tally.seen - bar.n)
                bar.set_postfix(
                    loss=f"{tally.loss:.4f}", accuracy=f"{tally.accuracy:.2%}", refresh=False
                )
            optimizer.zero_grad()
            model.backward(loss.backward())
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if stop.is_set():
                break
        _read(tally, number, model, loss, x)
    seconds = time.perf_counter() - begin
    return {
        "epoch": number,
        "lr": optimizer.lr,
        "loss": tally.loss,
        "accuracy": tally.accuracy,
        "validation_loss": None,
        "validation_accuracy": None,
        "seconds": seconds,
        "images_per_second": tally.seen / seconds,
    }


class _Tally:
    """Loss and hits of the steps of one epoch, kept on the backend until they are read.

    Attributes
    ----------
    sizes : list of int
        Images in the batch of each step added.
    seen : int
        Images in the steps that have been read; ``loss`` and ``accuracy`` are means over these.
    not_finite : (step, loss) or None
        The first step whose loss was not finite; steps count from 1.
    """

    def __init__(self, backend: Backend, steps: int) -> None:
        self.backend = backend
        self.losses = backend.xp.zeros(steps)  # float64, so that nothing is rounded
        self.hits = backend.xp.zeros(steps, np.int64)
        self.sizes: list[int] = []
        self.not_finite: tuple[int, float] | None = None
        self.seen, self._steps_read, self._loss_sum, self._hit_sum = 0, 0, 0.0, 0
        self._next_reading = time.perf_counter() + backend.reading_interval

    def add(self, loss: Array, hits: Array, size: int) -> None:
        """Take in a step: its mean loss, and how many of ``size`` answers were right."""
        step = len(self.sizes)
        self.losses[step], self.hits[step] = loss, hits
        self.sizes.append(size)

    def due(self) -> bool:
        """Say whether the last reading is long enough ago for the next to be worth the wait."""
        return time.perf_counter() >= self._next_reading

    def read(self) -> None:
        """Fetch the steps added since the last reading: a GPU ends all work given to it first."""
        new = slice(self._steps_read, len(self.sizes))
        losses = self.backend.to_numpy(self.losses[new])
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size and self.not_finite is None:
            self.not_finite = self._steps_read + int(bad[0]) + 1, float(losses[bad[0]])
        self.seen += sum(self.sizes[new])
        self._loss_sum += float(losses @ np.array(self.sizes[new], float))
        self._hit_sum += int(self.backend.to_numpy(self.hits[new]).sum())
        self._steps_read = len(self.sizes)
        self._next_reading = time.perf_counter() + self.backend.reading_interval

    @property
    def loss(self) -> float:
        return self._loss_sum / max(self.seen, 1)

    @property
    def accuracy(self) -> float:
        return self._hit_sum / max(self.seen, 1)


def _read(tally: _Tally, epoch: int, model: Layer, loss: CrossEntropyLoss, x: Array) -> None:
    """Read ``tally``; refuse a label out of range and a loss that is not finite.

    ``x`` is the input of the last step added.
    """
    loss.check()
    tally.read()
    if tally.not_finite is None:
        return
    (step, value), last = tally.not_finite, len(tally.sizes)
    noticed = f" (noticed at step {last}, with the weights of then)" if last > step else ""
    raise NonFiniteLoss(
        f"the loss is {value} in epoch {epoch}, step {step}{noticed}: "
        f"{first_layer_not_finite(model, x)}; a smaller learning rate may help"
    )


@contextmanager
def _naming_batch_size(loader: DataLoader | DeviceLoader, where: str) -> Iterator[None]:
    """Add to a MemoryError, NumPy's or CuPy's, what can be done about it."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(
            f"no memory left for batches of {loader.batch_size} images in {where} ({error}); "
            "a smaller batch size needs less"
        ) from error


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
