"""Answers to the exercises of pooling.md."""

from .chapter import Chapter

chapter = Chapter("pooling")

chapter.instead(1, "maxima", "average(x) is wrong", ".mean(", ".max(")
chapter.instead(1, "sums", "4 times", ".mean(", ".sum(")
chapter.instead(
    1,
    "halves",
    "average(x)",
    "h // 2, 2, w // 2, 2).mean(axis=(3, 5))",
    "2, h // 2, 2, w // 2).mean(axis=(2, 4))",
)
chapter.right(
    1,
    "sums",
    """
    def average(x):
        rows = x[:, :, 0::2] + x[:, :, 1::2]
        return (rows[..., 0::2] + rows[..., 1::2]) / 4
""",
)

chapter.instead(2, "ones", "4 times", "0.25", "1.0")
chapter.instead(2, "two axes", "the shape of weight", "(1, 1, 2, 2)", "(2, 2)")

chapter.wrong(
    3,
    "one fixed tap",
    "the output of MinPool2d(2) is wrong",
    """
    from nplenet.layers import Layer


    class MinPool2d(Layer):
        def __init__(self, kernel_size):
            super().__init__()
            self.k = kernel_size
            first = np.random.default_rng(0).normal(size=(2, 3, 6, 6))[0, 0, :self.k, :self.k]
            self.i, self.j = np.unravel_index(first.argmin(), first.shape)

        def forward(self, x):
            self.check(x)
            return self.remember(x[:, :, self.i :: self.k, self.j :: self.k].copy(), x.shape)

        def backward(self, dy):
            (shape,) = self.recall(dy)
            dx = np.zeros(shape)
            dx[:, :, self.i :: self.k, self.j :: self.k] = dy
            return dx
""",
)
chapter.instead(3, "maxima", "these are maxima", "-self.pool(-x)", "self.pool(x)")
chapter.instead(
    3,
    "sign of backward",
    "not the derivative",
    "-self.pool.backward(-dy)",
    "self.pool.backward(-dy)",
)
chapter.right(
    3,
    "without MaxPool2d",
    """
    from nplenet.layers import Layer


    class MinPool2d(Layer):
        def __init__(self, kernel_size):
            super().__init__()
            self.k = kernel_size

        def forward(self, x):
            self.check(x)
            n, c, h, w = x.shape
            tiles = x.reshape(n, c, h // self.k, self.k, w // self.k, self.k)
            least = tiles.min(axis=(3, 5), keepdims=True)
            return self.remember(least[:, :, :, 0, :, 0], tiles == least, x.shape)

        def backward(self, dy):
            chosen, shape = self.recall(dy)
            return (chosen * dy[:, :, :, None, :, None]).reshape(shape)
""",
)

chapter.instead(4, "no jump", "receptive_field(", " * jump", "")
chapter.instead(4, "jump first", "receptive_field(", "    jump *= stride", "    jump = stride")
chapter.right(
    4,
    "backwards",
    """
    def receptive_field(stages):
        field = 1
        for kernel, stride in reversed(stages):
            field = (field - 1) * stride + kernel
        return field
""",
)
