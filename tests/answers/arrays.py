"""Answers to the exercises of arrays.md."""

from .chapter import Chapter

chapter = Chapter("arrays")

chapter.instead(1, "over the batch only", "standardise(x) is wrong", "(0, 2, 3)", "0")
chapter.instead(1, "divided by the variance", "standardise(x) is wrong", "x.std", "x.var")
chapter.instead(
    1,
    "in place",
    "which standardise must leave",
    "return (x - mean) / std",
    "x -= mean; x /= std; return x",
)
chapter.right(
    1,
    "two axes",
    """
    def standardise(x):
        rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
        shape = (1, -1, 1, 1)
        return (x - rows.mean(1).reshape(shape)) / rows.std(1).reshape(shape)
""",
)

chapter.instead(2, "forward returns x", "forward's output is wrong", "remember(-x)", "remember(x)")
chapter.instead(
    2, "sign", "dx, has relative error 2e+00; is its sign wrong?", "return -dy", "return dy"
)

chapter.instead(
    3, "no product rule", "gradient of the input", "t + x * (1 - t**2)", "x * (1 - t**2)"
)
chapter.instead(3, "tanh alone", "forward's output is wrong", "remember(x * t, x", "remember(t, x")
