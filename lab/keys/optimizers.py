"""Update rules: from gradient descent to Adam.

A parameter p is an object with two arrays of one shape: p.data, which step changes in place, and
p.grad, the gradient g, which step leaves as it is.
"""

import numpy as np


class SGD:
    """m = momentum * m + g (m = 0 before the first step); p = p - lr * m.

    With weight_decay, g + weight_decay * p stands for g.
    """

    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0):
        self.params = list(params)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.moments = [np.zeros_like(p.data) for p in self.params]

    def step(self):
        # Your code: change each p.data in place (-=, or p.data[...] = )
        for p, m in zip(self.params, self.moments, strict=True):
            g = p.grad + self.weight_decay * p.data
            m *= self.momentum
            m += g
            p.data -= self.lr * m
        # End of your code


class Adam:
    """Running means of g and of g^2, both corrected for their start at 0 (k counts steps from 1).

    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g^2
    p = p - lr * (m / (1 - beta1^k)) / (sqrt(v / (1 - beta2^k)) + eps)
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.params = list(params)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.m = [np.zeros_like(p.data) for p in self.params]
        self.v = [np.zeros_like(p.data) for p in self.params]
        self.k = 0

    def step(self):
        # Your code:
        self.k += 1
        beta1, beta2 = self.betas
        for p, m, v in zip(self.params, self.m, self.v, strict=True):
            m += (1 - beta1) * (p.grad - m)
            v += (1 - beta2) * (p.grad**2 - v)
            corrected_m = m / (1 - beta1**self.k)
            corrected_v = v / (1 - beta2**self.k)
            p.data -= self.lr * corrected_m / (np.sqrt(corrected_v) + self.eps)
        # End of your code


class AdamW(Adam):
    """First p = p * (1 - lr * weight_decay), then Adam's step on the plain gradient."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps)
        self.weight_decay = weight_decay

    def step(self):
        # Your code: super().step() is Adam's step
        for p in self.params:
            p.data *= 1 - self.lr * self.weight_decay
        super().step()
        # End of your code
