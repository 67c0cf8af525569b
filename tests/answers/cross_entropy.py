"""Answers to the exercises of cross-entropy.md."""

from .chapter import Chapter

chapter = Chapter("cross-entropy")

chapter.wrong(
    1,
    "overflow",
    "not a finite number",
    """
    def log_sum_exp(z):
        return np.log(np.exp(z).sum(axis=1))
""",
)
chapter.instead(1, "the maximum of all", "not a finite", "z.max(axis=1)", "np.full(len(z), 0.0)")
chapter.instead(1, "not added again", "log_sum_exp(z) is wrong", "return largest + np", "return np")
chapter.wrong(
    1,
    "one maximum for all rows",
    "not a finite number",
    """
    def log_sum_exp(z):
        return z.max() + np.log(np.exp(z - z.max()).sum(axis=1))
""",
)
chapter.right(
    1,
    "logaddexp",
    """
    def log_sum_exp(z):
        return np.logaddexp.reduce(z, axis=1)
""",
)

chapter.instead(2, "no mean", "3 times", " / n", "")
chapter.instead(2, "sign", "-1 times", "softmax(logits) - t", "t - softmax(logits)")
chapter.instead(2, "not smoothed", "gradient(z, t, 0.2)", "smoothing / k", "0 / k")
chapter.right(
    2,
    "in place",
    """
    def gradient(logits, targets, smoothing):
        p = softmax(logits).copy()
        p -= smoothing / p.shape[1]
        p[np.arange(len(p)), targets] -= 1 - smoothing
        return p / len(p)
""",
)

chapter.instead(
    3,
    "s log K",
    "least_loss(10, 0.1) is wrong",
    "-(t * np.log(t)).sum()",
    "smoothing * np.log(classes)",
)
chapter.instead(
    3, "one class", "least_loss(10, 0.1) is wrong", "-(t * np.log(t)).sum()", "-np.log(t[0])"
)
chapter.right(
    3,
    "two kinds of terms",
    """
    def least_loss(classes, smoothing):
        low = smoothing / classes
        high = 1 - smoothing + low
        return -high * np.log(high) - (classes - 1) * low * np.log(low)
""",
)
