# ruff: noqa: E501
"""Batch normalisation: answers."""

from __future__ import annotations

WRONG = [
    ("np.sqrt(var + self.eps)", "np.sqrt(var)", "forward, normalise", "eps is missing"),
    ("1.0 / np.sqrt(var + self.eps)", "1.0 / (np.sqrt(var) + self.eps)", "forward, normalise", "eps is added to the root"),
    ("1.0 / np.sqrt(var + self.eps)", "1.0 / (var + self.eps)", "forward, normalise", "the square root is missing"),
    ("x.var(axis=(0, 2, 3))", "x.var(axis=(0, 2, 3), ddof=1)", "forward, normalise", "divided by M - 1"),
    ("mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))", "mean, var = x.mean(), x.var()", "forward, normalise", "mix the channels"),
    ("(x - column(mean))", "x", "forward, normalise", "the mean is not subtracted"),
    ("y = column(self.weight.data) * xhat + column(self.bias.data)", "y = column(self.weight.data) * xhat", "forward, weight and bias", "the bias is missing"),
    ("y = column(self.weight.data) * xhat + column(self.bias.data)", "y = xhat", "forward, weight and bias", "weight and bias are not used"),
    ("y = column(self.weight.data) * xhat + column(self.bias.data)", "y = column(self.weight.data) * (xhat + column(self.bias.data))", "forward, weight and bias", "the bias is multiplied by weight"),
    ("new_var = var * m / (m - 1)", "new_var = var", "running statistics", "M - 1, not by M"),
    ("new_var = var * m / (m - 1)", "new_var = var * len(x) / (len(x) - 1)", "running statistics", "M is N*H*W"),
    ("self.running_mean += self.momentum * (mean - self.running_mean)", "self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean", "running statistics", "momentum is the weight of the new value"),
    ("            self.running_var += self.momentum * (new_var - self.running_var)\n", "", "running statistics", "running_var: is not updated"),
    ("            self.running_mean += self.momentum * (mean - self.running_mean)\n", "            self.running_mean = mean\n", "running statistics", "batch's mean alone"),
    ("        if self.training:\n", "        if True:\n", "forward in evaluation", "statistics of the batch are used"),
    ("self.weight.grad += (dy * xhat).sum(axis=axes)", "self.weight.grad += (dy * xhat).mean(axis=axes)", "backward, dweight and dbias", "divided by M"),
    ("self.weight.grad += (dy * xhat).sum(axis=axes)", "self.weight.grad += (dy * xhat / column(inverse_std)).sum(axis=axes)", "backward, dweight and dbias", "not xhat: divide by sqrt"),
    ("self.bias.grad += dy.sum(axis=axes)", "self.bias.grad += dy.mean(axis=axes)", "backward, dweight and dbias", "divided by M"),
    ("self.bias.grad += dy.sum(axis=axes)", "self.bias.grad = dy.sum(axis=axes)", "backward, dweight and dbias", "add it with +="),
    ("        if training:\n            mean_g", "        if False:\n            mean_g", "backward, dx", "taken as constants"),
    ("g - column(mean_g) - xhat * column(mean_gx)", "g - xhat * column(mean_gx)", "backward, dx", "the term mean(g) is missing"),
    ("mean_g, mean_gx = g.mean(axis=axes), (g * xhat).mean(axis=axes)", "mean_g, mean_gx = g.mean(), (g * xhat).mean()", "backward, dx", "the means mix the channels"),
    ("g - column(mean_g)", "g - mean_g", "backward, dx", "is an axis of length 1 missing"),
    ("g - column(mean_g) - xhat * column(mean_gx)", "g - column(mean_g)", "backward, dx", "the term xhat * mean(g * xhat) is missing"),
    ("g - column(mean_g) - xhat * column(mean_gx)", "g - column(mean_g) + xhat * column(mean_gx)", "backward, dx", "wrong sign"),
    ("mean_g, mean_gx = g.mean(axis=axes), (g * xhat).mean(axis=axes)", "mean_g, mean_gx = g.sum(axis=axes), (g * xhat).sum(axis=axes)", "backward, dx", "the factor 1/M is missing in both terms"),
    ("g = dy * column(self.weight.data)", "g = dy", "backward, dx", "weight is missing"),
    ("return g * column(inverse_std)", "return g", "backward, dx", "the factor 1 / sqrt(var + eps) is missing"),
    ("        if training:\n            mean_g", "        if True:\n            mean_g", "backward in evaluation, dx", "terms of training"),
]  # fmt: skip

RIGHT = {
    "channel by channel": """
def forward(self, x):
    y = np.empty_like(x)
    self.saved = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if self.training:
            mean, var = values.mean(), ((values - values.mean()) ** 2).mean()
            m = values.size
            self.running_mean[c] = (1 - self.momentum) * self.running_mean[c] + self.momentum * mean
            self.running_var[c] = (1 - self.momentum) * self.running_var[c] + self.momentum * var * m / (m - 1)
        else:
            mean, var = self.running_mean[c], self.running_var[c]
        std = np.sqrt(var + self.eps)
        xhat = (values - mean) / std
        y[:, c] = self.weight.data[c] * xhat + self.bias.data[c]
        self.saved.append((xhat, std))
    self.was_training = self.training
    return y
def backward(self, dy):
    dx = np.empty_like(dy)
    for c, (xhat, std) in enumerate(self.saved):
        d = dy[:, c]
        self.bias.grad[c] += d.sum()
        self.weight.grad[c] += (d * xhat).sum()
        g = d * self.weight.data[c]
        if self.was_training:
            g = g - g.mean() - xhat * (g * xhat).mean()
        dx[:, c] = g / std
    return dx
BatchNorm2d.forward, BatchNorm2d.backward = forward, backward
""",
    "mean of squares less square of mean": """
def forward(self, x):
    if self.training:
        mean = x.mean((0, 2, 3))
        var = (x * x).mean((0, 2, 3)) - mean**2
        m = x[:, 0].size
        self.running_mean = self.running_mean * (1 - self.momentum) + self.momentum * mean
        self.running_var = self.running_var * (1 - self.momentum) + self.momentum * var * m / (m - 1)
    else:
        mean, var = self.running_mean, self.running_var
    inverse = 1 / np.sqrt(var + self.eps)
    scale = self.weight.data * inverse
    y = x * column(scale) + column(self.bias.data - mean * scale)
    return self.remember(y, (x - column(mean)) * column(inverse), inverse, self.training)
BatchNorm2d.forward = forward
""",
    "two dimensions": """
def forward(self, x):
    n, c, h, w = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, c)
    if self.training:
        mean, var = rows.mean(0), rows.var(0)
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (rows.var(0, ddof=1) - self.running_var)
    else:
        mean, var = self.running_mean, self.running_var
    inverse_std = (var + self.eps) ** -0.5
    xhat = (rows - mean) * inverse_std
    back = lambda a: a.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    y = back(xhat * self.weight.data + self.bias.data)
    return self.remember(y, back(xhat), inverse_std, self.training)
BatchNorm2d.forward = forward
""",
    "backward through mean and variance": """
def backward(self, dy):
    xhat, inverse_std, training = self.recall(dy)
    axes = (0, 2, 3)
    m = dy.size / dy.shape[1]
    self.bias.grad += dy.sum(axes)
    self.weight.grad += np.einsum("nchw,nchw->c", dy, xhat)
    dxhat = dy * column(self.weight.data)
    if not training:
        return dxhat * column(inverse_std)
    centered = xhat / column(inverse_std)
    dvar = (dxhat * centered).sum(axes) * -0.5 * inverse_std**3
    dmean = -(dxhat.sum(axes)) * inverse_std + dvar * (-2 * centered).sum(axes) / m
    return dxhat * column(inverse_std) + column(dvar) * 2 * centered / m + column(dmean) / m
BatchNorm2d.backward = backward
""",
    "the formula of the paper's followers": """
def backward(self, dy):
    xhat, inverse_std, training = self.recall(dy)
    m = dy.size // dy.shape[1]
    db, dw = dy.sum((0, 2, 3)), (dy * xhat).sum((0, 2, 3))
    self.bias.grad = self.bias.grad + db
    self.weight.grad = self.weight.grad + dw
    scale = column(self.weight.data * inverse_std)
    if training:
        return scale / m * (m * dy - column(db) - xhat * column(dw))
    return scale * dy
BatchNorm2d.backward = backward
""",
}
