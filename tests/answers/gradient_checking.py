"""Answers to the exercises of gradient-checking.md."""

from .chapter import Chapter

chapter = Chapter("gradient-checking")

chapter.instead(
    1, "both forward", "central_error(0.01)", "np.tanh(0.5 - h)) / (2 * h)", "np.tanh(0.5)) / h"
)
chapter.instead(
    1, "both central", "forward_error(0.01)", "np.tanh(0.5)) / h", "np.tanh(0.5 - h)) / (2 * h)"
)
chapter.wrong(
    1,
    "made up",
    "forward_error(0.01)",
    """
    def forward_error(h):
        return h

    def central_error(h):
        return h**2
""",
)

chapter.wrong(2, "another layer", "weight of C passes", 'culprit, tensor = "C", "weight"')
chapter.wrong(2, "another tensor", "bias of B passes", 'culprit, tensor = "B", "bias"')

chapter.wrong(3, "constant", "not the derivative", "calm = np.ones((1, 1, 4, 4))")
chapter.wrong(3, "fractions", "integers", "calm = np.arange(16.0).reshape(1, 1, 4, 4) / 3")
chapter.wrong(3, "two axes", "the shape of calm", "calm = np.arange(16.0).reshape(4, 4)")
chapter.right(
    3,
    "permuted",
    "calm = np.random.default_rng(5).permutation(16).reshape(1, 1, 4, 4)",
)
