"""Answers to the exercises of first-network.md."""

from .chapter import Chapter

chapter = Chapter("first-network")

chapter.instead(1, "transposed", "dw is wrong", "dy.T @ x", "abs(dy.T) @ x")
chapter.instead(1, "no bias", "dense(x, w, b) is wrong", "x @ w.T + b", "x @ w.T")
chapter.instead(1, "mean of the bias", "All of it is 0.2 times", "dy.sum", "dy.mean")
chapter.instead(1, "another order", "dx has shape (4, 3)", "dy @ w, dy.T @ x", "dy.T @ x, dy @ w")
chapter.instead(1, "no return", "must return three arrays", "return dy @ w", "0, dy @ w")
chapter.right(
    1,
    "einsum",
    """
    def dense(x, w, b):
        return np.einsum("ni,oi->no", x, w) + b[None]

    def dense_backward(dy, x, w):
        return [np.einsum("no,oi->ni", dy, w), np.tensordot(dy, x, (0, 0)), dy.sum(0)]
""",
)

chapter.instead(2, "and", "the output for (0, 1)", "[1.0, -2.0]", "[0.0, 1.0]")
chapter.instead(2, "a sum", "the output for (1, 1)", "[1.0, -2.0]", "[1.0, 0.0]")
chapter.right(
    2,
    "differences",
    """
    xor = ([[1, -1], [-1, 1]], [0, 0], [1, 1], 0)
""",
)

chapter.instead(3, "no mask", "dw1 is wrong", " * (z > 0)", "")
chapter.instead(3, "a sum for the mean", "24 times", " / y.size", "")
chapter.instead(3, "the mean over examples", "3 times", "y.size", "len(y)")
chapter.instead(3, "no factor 2", "0.5 times", "2 * (y - t)", "(y - t)")
chapter.instead(3, "uphill", "-1 times", "(y - t)", "(t - y)")
chapter.right(
    3,
    "an example at a time",
    """
    def gradients(network, x, t):
        w1, b1, w2, b2 = network
        sums = [np.zeros_like(a) for a in network]
        for row, goal in zip(x, t):
            z = w1 @ row + b1
            h = np.where(z > 0, z, 0)
            dy = 2 * (w2 @ h + b2 - goal) / t.size
            dz = np.where(z > 0, dy @ w2, 0)
            for s, g in zip(sums, (np.outer(dz, row), dz, np.outer(dy, h), dy)):
                s += g
        return sums
""",
)
