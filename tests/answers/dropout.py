"""Answers to the exercises of dropout.md."""

from .chapter import Chapter

chapter = Chapter("dropout")

chapter.instead(
    1, "the mask is ignored", "forward(x, mask) is wrong", "return x * mask", "return x"
)
chapter.instead(
    1, "backward ignores the mask", "backward(dy, mask) is wrong", "return dy * mask", "return dy"
)
chapter.wrong(
    1,
    "zeros",
    "All of it is zero",
    """
    def make_mask(rng, shape, p):
        return (rng.random(shape) >= p) / (1 - p)

    def forward(x, mask):
        return 0 * x

    def backward(dy, mask):
        return 0 * dy
""",
)
chapter.instead(1, "no scale", "expected 0 and 1 / 0.7", " / (1 - p)", "")
chapter.instead(1, "the other share", "is 0, expected 0.3", ">= p", "< p")
chapter.instead(
    1,
    "one row",
    "all rows of the mask are alike",
    "rng.random(shape)",
    "np.broadcast_to(rng.random((1, shape[1])) , shape)",
)
chapter.instead(
    1,
    "own randomness",
    "the same seed gave another mask",
    "rng.random",
    "np.random.default_rng().random",
)

chapter.instead(
    2, "no scale", "the factor of a channel that is kept", "kept / (1 - self.p)", "kept * 1.0"
)
chapter.instead(
    2,
    "one mask for all images",
    "every image has the same mask",
    "(*x.shape[:2], 1, 1)",
    "(1, x.shape[1], 1, 1)",
)
chapter.instead(
    2, "single pixels", "the spread of the mask in a channel", "(*x.shape[:2], 1, 1)", "x.shape"
)
chapter.instead(2, "whole images", "share their fate", "(*x.shape[:2], 1, 1)", "(len(x), 1, 1, 1)")
chapter.instead(2, "never off", "the output in eval", "not self.training", "False")
chapter.instead(
    2, "backward without the mask", "not the derivative", "return dy * mask", "return dy"
)
chapter.right(
    2,
    "choices",
    """
    from nplenet.layers import Layer


    class ChannelDropout(Layer):
        def __init__(self, p, rng):
            super().__init__()
            self.p, self.generator = p, rng

        def forward(self, x):
            self.check(x)
            mask = np.ones((x.shape[0], x.shape[1]))
            if self.training:
                values, chances = [0, 1 / (1 - self.p)], [self.p, 1 - self.p]
                mask = self.generator.choice(values, mask.shape, p=chances)
            return self.remember(np.einsum("nchw,nc->nchw", x, mask), mask)

        def backward(self, dy):
            (mask,) = self.recall(dy)
            return dy * mask[:, :, None, None]
""",
)

chapter.instead(3, "from counter 0", "is wrong", "1 + i // 8", "i // 8")
chapter.instead(3, "upper half first", "is wrong", "if i % 2 else", "if i % 2 == 0 else")
