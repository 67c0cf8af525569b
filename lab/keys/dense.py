"""The dense layer: every output sees every input.

Shapes: x, dx (N, I)    weight (O, I)    bias (O,)    y, dy (N, O)
"""

import numpy as np

from nplenet.layers import Layer, Parameter


class Dense(Layer):
    ranks = (2,)

    def __init__(self, in_features, out_features, bias=True, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        scale = np.sqrt(2.0 / in_features)
        weight = scale * rng.standard_normal((out_features, in_features))
        self.weight = Parameter(weight.astype(np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x):
        """Return y = x @ weight^T + bias, and keep x for backward."""
        # Your code: compute y from x, self.weight.data and self.bias.data; a layer without a bias
        #   has self.bias = None; end with: return self.remember(y, x)
        y = x @ self.weight.data.T
        if self.bias is not None:
            y = y + self.bias.data
        return self.remember(y, x)
        # End of your code

    def backward(self, dy):
        """Add to self.weight.grad and self.bias.grad; return dx."""
        (x,) = self.recall(dy)
        # Your code: add the gradients with +=, because they accumulate; return dx, (N, I)
        self.weight.grad += dy.T @ x
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=0)
        return dy @ self.weight.data
        # End of your code
