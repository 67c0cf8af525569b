"""Answers to the exercises of batch-norm.md."""

from .chapter import Chapter

chapter = Chapter("batch-norm")

chapter.instead(1, "no eps", "naive_backward(dy, x, gamma, eps) is wrong", " + eps", "")
chapter.instead(1, "no gamma", "is wrong", " * gamma", "")
chapter.wrong(
    1,
    "the full one",
    "which forgets nothing",
    """
    def naive_backward(dy, x, gamma, eps):
        s = 1 / np.sqrt(x.var(axis=0) + eps)
        xhat, g = (x - x.mean(axis=0)) * s, dy * gamma
        return s * (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0))
""",
)

chapter.instead(
    2,
    "the first term",
    "only the first term",
    " - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)",
    "",
)
chapter.instead(2, "no mean", "mean(g) is missing", " - g.mean(axis=0)", "")
chapter.instead(2, "no xhat", "xhat is missing", " - xhat * (g * xhat).mean(axis=0)", "")
chapter.instead(2, "sums for means", "is wrong", "(g * xhat).mean", "(g * xhat).sum")
chapter.instead(2, "no gamma", "gamma is missing", "dy * gamma", "dy")
chapter.instead(2, "no eps", "is wrong", " + eps", "")
chapter.right(
    2,
    "sums",
    """
    def backward(dy, x, gamma, eps):
        m = len(x)
        centred = x - x.sum(0) / m
        variance = (centred ** 2).sum(0) / m + eps
        g = dy * gamma
        dvar = (g * centred).sum(0) * -0.5 * variance ** -1.5
        dmean = -g.sum(0) / np.sqrt(variance)
        return g / np.sqrt(variance) + 2 * centred * dvar / m + dmean / m
""",
)

chapter.instead(3, "no mean", "x @ weight.T + bias is wrong", "beta - mean * scale", "beta")
chapter.instead(3, "no eps", "x @ weight.T + bias is wrong", " + eps", "")
chapter.instead(3, "columns", "is wrong", "w * scale[:, None]", "w * np.r_[scale, 1]")
