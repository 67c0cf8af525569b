"""A residual block: two ways from x to y, whose outputs are added."""

from __future__ import annotations

from typing import Any

from ..backend import Array
from .base import Layer
from .sequential import located, outline


class Residual(Layer):
    r"""y = body(x) + shortcut(x), with x itself if ``shortcut`` is None (He et al., 2016).

                 .--> body -----.
            x ---|              +---> y
                 '--> shortcut -'

    A deep chain is hard to train because each layer must pass on what the layers after it need.
    Here the shortcut passes it on, and the body learns what to change.

    Backward. y is a sum, so both ways get dy as it is. x goes both ways, so their gradients add up:

        dx = body.backward(dy) + shortcut.backward(dy)        or + dy without a shortcut

    Parameters
    ----------
    body : Layer
        Usually a ``Sequential``.
    shortcut : Layer, optional
        Needed where the body changes the shape, which it must change alike: such as
        ``Conv2d(16, 32, 1, stride=2)`` beside a body from 16 to 32 channels with stride 2.

    Shapes
    ------
    x as body and shortcut take it; y as they make it.

    Raises
    ------
    ValueError
        In ``forward``, when body and shortcut make different shapes.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__()
        for name, layer in (("body", body), ("shortcut", shortcut)):
            if not isinstance(layer, Layer) and (name, layer) != ("shortcut", None):
                raise TypeError(f"Residual: {name} must be a Layer, got {type(layer).__name__}")
        self.body, self.shortcut = body, shortcut
        everything = [layer for _, layer in self.modules()]
        if len(set(map(id, everything))) != len(everything):
            raise ValueError("Residual: a layer may stand in body and shortcut only once")

    def forward(self, x: Array) -> Array:
        self.check(x)
        with located("body", self.body):
            changed = self.body(x)
        passed = x
        if self.shortcut is not None:
            with located("shortcut", self.shortcut):
                passed = self.shortcut(x)
        self._check_equal(changed.shape, passed.shape)
        return self.remember(changed + passed)

    def backward(self, dy: Array) -> Array:
        self.recall(dy)
        with located("body", self.body):
            dx = self.body.backward(dy)
        if self.shortcut is None:
            return dx + dy
        with located("shortcut", self.shortcut):
            return dx + self.shortcut.backward(dy)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        with located("body", self.body):
            changed = self.body.output_shape(input_shape)
        passed = input_shape
        if self.shortcut is not None:
            with located("shortcut", self.shortcut):
                passed = self.shortcut.output_shape(input_shape)
        self._check_equal(changed, passed)
        return changed

    def _check_equal(self, changed: tuple[int, ...], passed: tuple[int, ...]) -> None:
        if changed != passed:
            way = "its input has" if self.shortcut is None else "its shortcut makes"
            raise ValueError(
                f"{self._label}: its body makes the shape {changed}, but {way} {passed}; give it a "
                "shortcut that changes the shape as the body does"
            )

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return sum(layer.multiply_adds(input_shape) for layer in self.children().values())

    def arguments(self) -> dict[str, Any]:
        return {"body": self.body, "shortcut": self.shortcut}

    @property
    def _label(self) -> str:
        """The name of this layer in errors: its class; its layers would fill the screen."""
        return type(self).__name__

    def __repr__(self) -> str:
        return outline(self)
