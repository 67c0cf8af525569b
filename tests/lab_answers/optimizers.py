# ruff: noqa: E501
"""From SGD to Adam: answers."""

from __future__ import annotations

WRONG = [
    ("p.data -= self.lr * m\n", "p.data += self.lr * m\n", "SGD", "uphill"),
    ("p.data -= self.lr * m\n", "p.data -= m\n", "SGD", "the learning rate is missing"),
    ("p.data -= self.lr * m\n", "p.data = p.data - self.lr * m\n", "SGD", "change it in place"),
    ("p.data -= self.lr * m\n", "pass\n", "SGD", "the parameter has not changed"),
    ("            m += g\n", "            m += (1 - self.momentum) * g\n", "SGD, momentum", "multiplied by 1 - momentum"),
    ("            m *= self.momentum\n", "            m *= 0\n", "SGD, momentum", "momentum is not used"),
    ("            m *= self.momentum\n", "", "SGD, momentum", "momentum is 1"),
    ("p.data -= self.lr * m\n", "p.data -= self.lr * (g + self.momentum * m)\n", "SGD, momentum", "Nesterov"),
    ("g = p.grad + self.weight_decay * p.data", "g = p.grad", "SGD, weight decay", "weight_decay is not used"),
    ("g = p.grad + self.weight_decay * p.data", "g = p.grad - self.weight_decay * p.data", "SGD, weight decay", "wrong sign"),
    ("g = p.grad + self.weight_decay * p.data", "g = p.grad; g += self.weight_decay * p.data", "SGD, weight decay", "changes the gradient"),
    ("m / (1 - beta1**self.k)", "m", "Adam, first step", "the bias correction of m is missing"),
    ("v / (1 - beta2**self.k)", "v", "Adam, first step", "the bias correction of v is missing"),
    ("        self.k += 1\n", "        self.k = 1\n", "Adam, five steps", "the step k does not grow"),
    ("        self.k += 1\n", "", "Adam, first step", "the step k begins with 0"),
    ("p.grad**2 - v", "p.grad - v", "Adam, five steps", "v is a mean of g, not of g^2"),
    ("p.grad**2 - v", "abs(p.grad) - v", "Adam, first step", "not of g^2"),
    ("np.sqrt(corrected_v) + self.eps", "corrected_v + self.eps", "Adam, first step", "the square root of v is missing"),
    ("np.sqrt(corrected_v) + self.eps", "np.sqrt(corrected_v + self.eps)", "Adam, eps", "eps stands under the root"),
    ("np.sqrt(corrected_v) + self.eps", "np.sqrt(corrected_v)", "Adam, eps", "eps is missing"),
    ("            p.data -= self.lr * corrected_m", "            m[...], v[...] = corrected_m, corrected_v\n            p.data -= self.lr * corrected_m", "Adam, five steps", "stored in m and v: correct copies"),
    ("            p.data *= 1 - self.lr * self.weight_decay\n        super().step()\n", "            pass\n        super().step()\n        for p in self.params:\n            p.data *= 1 - self.lr * self.weight_decay\n", "AdamW", "shrink them before it"),
    ("beta1, beta2 = self.betas", "beta2, beta1 = self.betas", "Adam, five steps", "beta1 and beta2 are exchanged"),
    ("        for p, m, v in zip(self.params, self.m, self.v, strict=True):\n", "        self.k -= 1\n        for p, m, v in zip(self.params, self.m, self.v, strict=True):\n            self.k += 1\n", "Adam, first step", "not once per parameter"),
    ("            p.data *= 1 - self.lr * self.weight_decay\n", "            pass\n", "AdamW", "weight_decay is not used"),
    ("            p.data *= 1 - self.lr * self.weight_decay\n", "            p.data *= 1 - self.weight_decay\n", "AdamW", "not multiplied by lr"),
    ("            p.data *= 1 - self.lr * self.weight_decay\n", "            p.grad = p.grad + self.weight_decay * p.data\n", "AdamW", "changes the gradient"),
]  # fmt: skip

RIGHT = {
    "loops over elements": """
def step(self):
    for p, m in zip(self.params, self.moments):
        for i in np.ndindex(p.data.shape):
            m[i] = self.momentum * m[i] + p.grad[i] + self.weight_decay * p.data[i]
            p.data[i] = p.data[i] - self.lr * m[i]
SGD.step = step
""",
    "moments made at the first step": """
def step(self):
    if not hasattr(self, "velocity"):
        self.velocity = {}
    for i, p in enumerate(self.params):
        g = p.grad + self.weight_decay * p.data
        self.velocity[i] = g + self.momentum * self.velocity.get(i, 0)
        p.data[...] = p.data - self.lr * self.velocity[i]
SGD.step = step
""",
    "a step kept as a negative velocity": """
def step(self):
    for p, v in zip(self.params, self.moments):
        v[...] = self.momentum * v - (p.grad + self.weight_decay * p.data)
        p.data += self.lr * v
SGD.step = step
""",
    "the corrections as scalars, as in the library": """
def step(self):
    self.k += 1
    b1, b2 = self.betas
    c1, c2 = 1 - b1**self.k, np.sqrt(1 - b2**self.k)
    for i, p in enumerate(self.params):
        self.m[i] = b1 * self.m[i] + (1 - b1) * p.grad
        self.v[i] = b2 * self.v[i] + (1 - b2) * p.grad * p.grad
        p.data -= self.lr * c2 / c1 * self.m[i] / (np.sqrt(self.v[i]) + self.eps * c2)
Adam.step = step
""",
    "weighted sums over all gradients": """
def step(self):
    self.history = [*getattr(self, "history", []), [p.grad.copy() for p in self.params]]
    b1, b2 = self.betas
    k = len(self.history)
    for i, p in enumerate(self.params):
        w1 = [(1 - b1) * b1 ** (k - 1 - j) / (1 - b1**k) for j in range(k)]
        w2 = [(1 - b2) * b2 ** (k - 1 - j) / (1 - b2**k) for j in range(k)]
        m = sum(w * g[i] for w, g in zip(w1, self.history))
        v = sum(w * g[i] ** 2 for w, g in zip(w2, self.history))
        p.data -= self.lr * m / (v**0.5 + self.eps)
Adam.step = step
""",
    "AdamW with the decay in one expression": """
def step(self):
    old = [p.data.copy() for p in self.params]
    Adam.step(self)
    for p, before in zip(self.params, old):
        p.data -= self.lr * self.weight_decay * before
AdamW.step = step
""",
}
