# ruff: noqa: E501
"""Cross entropy: answers."""

from __future__ import annotations

SOFTMAX = "exponentials / exponentials.sum(axis=1, keepdims=True)"
WRONG = [
    (SOFTMAX, "exponentials / exponentials.sum(axis=0)", "softmax", "each row"),
    (SOFTMAX, "exponentials / exponentials.sum()", "softmax", "each row"),
    ("np.exp(logits - logits.max(axis=1, keepdims=True))", "np.exp(logits)", "softmax, large logits", "exp overflows"),
    ("np.exp(logits - logits.max(axis=1, keepdims=True))", "np.exp(logits - logits.max())", "softmax, large logits", "subtract each row's own maximum"),
    ("-(t * log_p).sum() / n", "-(t * log_p).sum()", "loss", "the factor 1/N"),
    ("-(t * log_p).sum() / n", "-(t * log_p).mean()", "loss", "is divided by N*K"),
    ("-(t * log_p).sum() / n", "(t * log_p).sum() / n", "loss", "wrong sign"),
    ("-(t * log_p).sum() / n", "(t * log_p).sum() / n", "loss, large logits", "wrong sign"),
    ("-(t * log_p).sum() / n", "-(t * log_p).sum()", "label smoothing", "4 times too large; 4 is N"),
    ("-(t * log_p).sum() / n", "-(t * np.log2(np.exp(log_p))).sum() / n", "loss", "to base 2"),
    ("-(t * log_p).sum() / n", "-(t * np.exp(log_p)).sum() / n", "loss", "log is missing"),
    ("-(t * log_p).sum() / n", "-(t * logits).sum() / n", "loss", "the softmax is missing"),
    ("-(t * log_p).sum() / n", "-(t * log_p).sum(axis=1)", "loss", "is a loss per image"),
    ("log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))", "log_p = np.log(softmax(logits))", "loss, large logits", "log(0)"),
    ("log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))", "log_p = np.log(softmax(logits) + 1e-12)", "loss, large logits", "a small probability is cut off"),
    ("shifted = logits - logits.max(axis=1, keepdims=True)", "shifted = logits", "loss, large logits", "exp overflows"),
    ("(self.p - self.t) / len(self.p)", "self.p - self.t", "backward", "the factor 1/N"),
    ("(self.p - self.t) / len(self.p)", "(self.t - self.p) / len(self.p)", "backward", "wrong sign"),
    ("(self.p - self.t) / len(self.p)", "self.p / len(self.p)", "backward", "the target is missing"),
    ("(self.p - self.t) / len(self.p)", "(self.p - self.t) / self.p.size", "backward", "is divided by N*K"),
    ("(self.p - self.t) / len(self.p)", "-self.t / self.p / len(self.p)", "backward", "with respect to the probabilities"),
    ("np.full((n, k), self.label_smoothing / k)", "np.zeros((n, k))", "label smoothing", "the term s / K is missing"),
    ("np.full((n, k), self.label_smoothing / k)", "np.full((n, k), self.label_smoothing)", "label smoothing", "is not divided by K"),
    ("targets] += 1.0 - self.label_smoothing", "targets] += 1.0", "label smoothing", "not multiplied by 1 - s"),
    ("targets] += 1.0 - self.label_smoothing", "targets] = 1.0 - self.label_smoothing", "label smoothing", "the target, too, gets s / K"),
]  # fmt: skip

RIGHT = {
    "softmax by rows": """
def softmax(logits):
    rows = []
    for row in logits:
        e = np.exp(row - max(row))
        rows.append(e / sum(e))
    return np.array(rows)
""",
    "softmax by exp of log softmax": """
def softmax(logits):
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
""",
    "softmax with logits transposed": """
def softmax(logits):
    z = logits.T - logits.max(1)
    return (np.exp(z) / np.exp(z).sum(0)).T
""",
    "loss image by image, a Python float": """
def forward(self, logits, targets):
    self.logits, self.targets = logits, targets
    s, k = self.label_smoothing, logits.shape[1]
    total = 0.0
    for z, target in zip(logits, targets):
        z = z - z.max()
        log_p = z - np.log(np.exp(z).sum())
        total -= (1 - s) * log_p[target] + s * log_p.mean()
    return float(total / len(logits))
def backward(self):
    p = softmax(self.logits)
    s, (n, k) = self.label_smoothing, p.shape
    for i in range(n):
        p[i] -= s / k
        p[i, self.targets[i]] -= 1 - s
    return p / n
CrossEntropyLoss.forward, CrossEntropyLoss.backward = forward, backward
""",
    "logaddexp and one-hot by comparison": """
def forward(self, logits, targets):
    log_p = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    k = logits.shape[1]
    one = np.arange(k) == targets[:, None]
    t = (1 - self.label_smoothing) * one + self.label_smoothing / k
    self.gradient = (np.exp(log_p) - t) / len(logits)
    return np.mean(np.sum(-t * log_p, axis=1))
def backward(self):
    return self.gradient
CrossEntropyLoss.forward, CrossEntropyLoss.backward = forward, backward
""",
    "gradient through the Jacobian": """
def backward(self):
    n = len(self.p)
    rows = []
    for p, t in zip(self.p, self.t):
        jacobian = np.diag(p) - np.outer(p, p)
        rows.append(jacobian @ (-t / p) / n)
    return np.array(rows)
CrossEntropyLoss.backward = backward
""",
}
