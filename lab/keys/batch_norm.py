"""Batch normalisation of images: each channel gets mean 0 and variance 1 over the batch.

Shapes: x, y, dy, dx (N, C, H, W)    weight, bias, running_mean, running_var (C,)
M = N*H*W values per channel; xhat = (x - mean) / sqrt(var + eps); y = weight * xhat + bias.
"""

import numpy as np

from nplenet.layers import Layer, Parameter


def column(values):
    """Return (C,) as (1, C, 1, 1), which broadcasts against images."""
    return np.reshape(values, (1, -1, 1, 1))


class BatchNorm2d(Layer):
    ranks = (4,)
    buffers = ("running_mean", "running_var")  # arrays that are saved, but not trained

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)

    def forward(self, x):
        """Return y, and keep what backward needs: self.remember(y, ...).

        In training (self.training) mean and var are those of the batch, var divided by M, and
        both running statistics become (1 - momentum) * running + momentum * new, where new is the
        mean, or the variance divided by M - 1. Otherwise the running statistics are used.
        """
        # Your code: in evaluation change no running statistics; xhat is made of those used
        if self.training:
            mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            m = x.size // x.shape[1]
            new_var = var * m / (m - 1)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (new_var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        inverse_std = 1.0 / np.sqrt(var + self.eps)
        xhat = (x - column(mean)) * column(inverse_std)
        y = column(self.weight.data) * xhat + column(self.bias.data)
        return self.remember(y, xhat, inverse_std, self.training)
        # End of your code

    def backward(self, dy):
        """Add to self.weight.grad and self.bias.grad; return dx.

        With g = dy * weight, in training:
        dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps)
        and in evaluation, where mean and var are constants: dx = g / sqrt(var + eps).
        """
        # Your code: the means are per channel, over N, H and W
        xhat, inverse_std, training = self.recall(dy)
        axes = (0, 2, 3)
        self.bias.grad += dy.sum(axis=axes)
        self.weight.grad += (dy * xhat).sum(axis=axes)
        g = dy * column(self.weight.data)
        if training:
            mean_g, mean_gx = g.mean(axis=axes), (g * xhat).mean(axis=axes)
            g = g - column(mean_g) - xhat * column(mean_gx)
        return g * column(inverse_std)
        # End of your code
