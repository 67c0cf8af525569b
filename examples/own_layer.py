"""Write your own layer: forward, backward, and a gradient check.

python examples/own_layer.py
"""

import numpy as np

from nplenet.data import DataLoader, load_digits, pad_images
from nplenet.gradcheck import check_layer
from nplenet.layers import Dense, Flatten, Layer, Parameter, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import Adam
from nplenet.train import fit


class Swish(Layer):
    """Let a value through as far as it is large: y = x * s, s = 1 / (1 + exp(-beta * x)).

    By the product rule, with ds/dx = beta * s * (1 - s) and ds/dbeta = x * s * (1 - s):

        dx = dy * (s + x * beta * s * (1 - s))        dbeta = sum of dy * x * x * s * (1 - s)
    """

    def __init__(self, dtype=np.float32):
        super().__init__()
        self.beta = Parameter(np.ones((), dtype))  # learned with the weights

    def forward(self, x):
        self.check(x)
        s = 1 / (1 + self.backend.xp.exp(-self.beta.data * x))
        return self.remember(x * s, x, s)  # the output; and what backward will need

    def backward(self, dy):
        x, s = self.recall(dy)
        slope = s * (1 - s)
        self.beta.grad += (dy * x * x * slope).sum()
        return dy * (s + x * self.beta.data * slope)


if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((4, 5))
    print(check_layer(Swish(np.float64), x))

    images, labels = load_digits("train")
    rng = np.random.default_rng(0)
    loader = DataLoader(
        pad_images(images),
        labels,
        batch_size=32,
        shuffle=True,
        rng=rng,
        transform=lambda batch, _: batch.astype(np.float32) / 255,
    )
    model = Sequential(Flatten(), Dense(1024, 32, rng=rng), Swish(), Dense(32, 10, rng=rng))
    optimizer = Adam(model.parameters(), lr=3e-3)
    fit(model, CrossEntropyLoss(), optimizer, loader, epochs=5, on_epoch=print)
    print(f"beta has become {float(model[2].beta.data):.3f}")
