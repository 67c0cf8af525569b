"""Answers to the exercises of compiled.md."""

from .chapter import Chapter

chapter = Chapter("compiled")

chapter.instead(
    1,
    "a view",
    "not contiguous",
    "np.ascontiguousarray(x.transpose(1, 2, 3, 0))",
    "x.transpose(1, 2, 3, 0)",
)
chapter.instead(
    1, "reshaped", "to_lanes(x)", "x.transpose(1, 2, 3, 0)", "x.reshape(*x.shape[1:], len(x))"
)

chapter.instead(
    2,
    "mean of means",
    "the mean",
    "(counts * means).sum(axis=0) / counts.sum()",
    "means.mean(axis=0)",
)
chapter.instead(
    2, "within only", "the variance", "squares + counts * (means - mean) ** 2", "squares"
)
chapter.right(
    2,
    "one after the other",
    """
    def join(chunks):
        n, mean, q = 0, 0.0, 0.0
        for chunk in chunks:
            m, center = chunk.shape[1], chunk.mean(axis=1)
            apart = center - mean
            q = q + ((chunk - center[:, None]) ** 2).sum(axis=1) + apart**2 * n * m / (n + m)
            mean = mean + apart * m / (n + m)
            n += m
        return [mean, q / n]
""",
)

chapter.instead(
    3,
    "a > 0 only",
    "fused(x, -1.5, 0.4)",
    "np.maximum(x, t) if a > 0 else np.minimum(x, t)",
    "np.maximum(x, t)",
)
