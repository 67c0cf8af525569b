"""Answers to the exercises of cuda.md."""

from .chapter import Chapter

chapter = Chapter("cuda")

chapter.instead(1, "the other order", "place(2, (2, 3, 4, 5))", "reversed(shape)", "shape")

chapter.instead(
    2, "mean of means", "the mean", "(m1 * mean1 + m2 * mean2) / m", "(mean1 + mean2) / 2"
)
chapter.instead(
    2,
    "within only",
    "squared deviations",
    " + m1 * (mean1 - mean) ** 2 + m2 * (mean2 - mean) ** 2",
    "",
)

chapter.instead(3, "one element a thread", "y of 1 blocks", "i += gridDim.x * blockDim.x", "i += n")
