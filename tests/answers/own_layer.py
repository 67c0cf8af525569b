"""Answers to the exercises of own-layer.md."""

from .chapter import Chapter

chapter = Chapter("own-layer")

chapter.instead(
    1,
    "linear",
    "forward's output is wrong",
    "xp.where(x > 0, x, self.weight.data * x)",
    "self.weight.data * x",
)
chapter.instead(1, "assigned", "has", "self.weight.grad += ", "self.weight.grad = ")
chapter.instead(1, "negative part kept", "weight has", "xp.where(x > 0, 0, dy * x)", "(dy * x)")
chapter.instead(1, "begins at 0", "weight at first", "0.25", "0.0")
chapter.right(
    1,
    "minimum",
    """
    class PReLU(Layer):
        def __init__(self, features):
            super().__init__()
            self.weight = Parameter(np.full(features, 0.25, np.float32))

        def forward(self, x):
            self.check(x)
            return self.remember(np.maximum(x, 0) + self.weight.data * np.minimum(x, 0), x)

        def backward(self, dy):
            (x,) = self.recall(dy)
            self.weight.grad += np.einsum("nf,nf->f", dy, np.minimum(x, 0))
            return dy * np.where(x > 0, 1, self.weight.data)
""",
)

chapter.instead(
    2, "forward without x", "x + is missing", "return x + self.inner(x)", "return self.inner(x)"
)
chapter.instead(2, "backward without dy", "gradient of the input", "return dy + ", "return ")
chapter.wrong(
    2,
    "hidden",
    "it has 0 parameters",
    """
    class Residual(Layer):
        def __init__(self, inner):
            super().__init__()
            self.get = lambda: inner

        def forward(self, x):
            return x + self.get()(x)

        def backward(self, dy):
            return dy + self.get().backward(dy)
""",
)
