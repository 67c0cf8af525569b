"""Activations: element-wise functions, each with its derivative.

Shapes: x, y, dy, dx are arrays of one shape, any shape. Each backward is dx = dy * f'(x).
"""

import numpy as np

from nplenet.layers import Layer


class ReLU(Layer):
    def forward(self, x):
        """Return max(x, 0), and keep what backward needs: self.remember(y, ...)."""
        # Your code:
        return self.remember(np.maximum(x, 0), x)
        # End of your code

    def backward(self, dy):
        """Return dx; at the kink x = 0 it is 0."""
        # Your code: take back what forward kept with self.recall(dy), a tuple
        (x,) = self.recall(dy)
        return dy * (x > 0)
        # End of your code


class LeakyReLU(Layer):
    def __init__(self, negative_slope=0.01):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x):
        """Return x where x > 0, negative_slope * x elsewhere."""
        # Your code:
        return self.remember(np.where(x > 0, x, self.negative_slope * x), x)
        # End of your code

    def backward(self, dy):
        """Return dx; at the kink x = 0 the slope is negative_slope."""
        # Your code:
        (x,) = self.recall(dy)
        return np.where(x > 0, dy, self.negative_slope * dy)
        # End of your code


class Sigmoid(Layer):
    def forward(self, x):
        """Return 1 / (1 + exp(-x)). No overflow: x may be 1000 or -1000."""
        # Your code: exp of a large positive number overflows; find a form that never takes one
        small = np.exp(-np.abs(x))
        y = np.where(x >= 0, 1.0, small) / (1.0 + small)
        return self.remember(y, y)
        # End of your code

    def backward(self, dy):
        """Return dx. The derivative is short if it is written with y."""
        # Your code:
        (y,) = self.recall(dy)
        return dy * y * (1.0 - y)
        # End of your code


class Tanh(Layer):
    def forward(self, x):
        """Return tanh(x)."""
        # Your code:
        y = np.tanh(x)
        return self.remember(y, y)
        # End of your code

    def backward(self, dy):
        """Return dx. The derivative is short if it is written with y."""
        # Your code:
        (y,) = self.recall(dy)
        return dy * (1.0 - y * y)
        # End of your code
