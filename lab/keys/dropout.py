"""Dropout: in training, zeros at random places; the rest is scaled, so that the mean stays.

Shapes: x, y, dy, dx are arrays of one shape, any shape.
"""

import numpy as np

from nplenet.layers import Layer


class Dropout(Layer):
    def __init__(self, p=0.5, rng=None):
        super().__init__()
        self.p = p  # probability that a value is dropped, 0 <= p < 1
        self.rng = np.random.default_rng(rng)

    def forward(self, x):
        """In training drop each value with probability p and multiply the rest by 1 / (1 - p).

        Each value has its own random number, and each forward new ones, drawn from self.rng. In
        evaluation (self.training is False) return x unchanged.
        """
        # Your code: keep for backward what was dropped: self.remember(y, ...)
        if not self.training:
            return self.remember(x, np.ones_like(x))
        mask = (self.rng.random(x.shape) >= self.p) / (1.0 - self.p)
        return self.remember(x * mask, mask)
        # End of your code

    def backward(self, dy):
        """Return dx."""
        # Your code: the mask is the mask of the forward before
        (mask,) = self.recall(dy)
        return dy * mask
        # End of your code
