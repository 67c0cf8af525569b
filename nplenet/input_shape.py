"""The shape of the input that a model takes: as its file says, or found from its layers."""

from __future__ import annotations

from collections.abc import Sequence

from .layers import Layer
from .layers.sequential import LAYER_ERRORS

SIDES = (32, 28)  # of the images of the data sets here: padded, and as MNIST's files hold them
CHANNELS = (1, 3)


def input_shape(model: Layer, known: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the shape of one input, with a batch axis of 1.

    Parameters
    ----------
    model : Layer
        From an input (N, ...) to logits (N, classes).
    known : sequence of int, optional
        The shape without the batch axis, as a file or the user says it. Without it, images of 32x32
        and 28x28 are tried, then the features of a dense layer.

    Raises
    ------
    ValueError
        When the model does not take the known shape, or none of those tried.
    """
    if known is not None:
        shape = (1, *known)
        try:
            model.output_shape(shape)
        except LAYER_ERRORS as error:
            raise ValueError(
                f"the model does not take inputs of shape {tuple(known)}, without the batch axis: "
                f"{error}"
            ) from None
        return shape
    for shape in _usual(model):
        if takes(model, shape[1:]):
            return shape
    raise ValueError(
        "the shape of the model's input is not known: say it with --input-shape, such as 1,28,28"
    )


def takes(model: Layer, shape: Sequence[int]) -> bool:
    """Say whether a model turns an input of this shape, without the batch axis, into logits."""
    try:
        return len(model.output_shape((1, *shape))) == 2
    except LAYER_ERRORS:
        return False


def _usual(model: Layer) -> list[tuple[int, ...]]:
    layers = [layer for _, layer in model.modules() if layer.channels is not None]
    of_images = [layer.channels for layer in layers if layer.ranks == (4,)]
    channels = of_images[:1] or CHANNELS
    shapes: list[tuple[int, ...]] = [(1, c or 1, side, side) for c in channels for side in SIDES]
    return shapes + [(1, layer.channels or 1) for layer in layers[:1]]
