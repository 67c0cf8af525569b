"""Which models run in graphs: those whose steps are known not to need the host."""

from __future__ import annotations

from ...layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sigmoid,
    Tanh,
)
from ...layers.sequential import is_patched, leaves
from ...losses import CrossEntropyLoss
from ...optim import SGD, Adam, AdamW, Optimizer
from ..step import NoOptimizer, why_loss_not_compiled, why_model_not_compiled

LAYERS: tuple[type[Layer], ...] = (
    Conv2d,
    BatchNorm1d,
    BatchNorm2d,
    AvgPool2d,
    MaxPool2d,
    Dense,
    Dropout,
    Flatten,
    ReLU,
    LeakyReLU,
    Sigmoid,
    Tanh,
)
"""A layer of your own may draw random numbers or read from the device, which a graph can't."""

OPTIMIZERS = (SGD, Adam, AdamW)


def why_not_in_a_graph(model: Layer, loss: CrossEntropyLoss, optimizer: Optimizer) -> str:
    """Return why a model's steps cannot run without the host; an empty string if they can."""
    why = why_loss_not_compiled(loss)
    if why:
        return why
    if type(optimizer) not in (*OPTIMIZERS, NoOptimizer):
        names = ", ".join(kind.__name__ for kind in OPTIMIZERS)
        return f"of the optimizers only {names} are compiled, not {type(optimizer).__name__}"
    backends = {layer.backend.name for _, layer in model.modules()}
    if len(backends) != 1:
        return f"the layers are on several backends, {' and '.join(sorted(backends))}"
    for path, layer in leaves(model):
        if type(layer) not in LAYERS or is_patched(layer):
            return f"layer {path} ({layer._label}) has no compiled form"
    return why_model_not_compiled(model)
