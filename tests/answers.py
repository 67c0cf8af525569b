"""Answers to the book's exercises that readers give: wrong ones, and right ones of another kind."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import chapters
from chapters import DOCS, Exercise


class Answer(NamedTuple):
    """An answer: where it belongs, what is odd about it, its code, and words of the check."""

    chapter: str
    number: int
    what: str
    code: str
    words: str = ""

    def place(self) -> tuple[Path, Exercise]:
        chapter = DOCS / f"{self.chapter}.md"
        return chapter, chapters.exercises(chapter)[self.number - 1]

    def __str__(self) -> str:
        return f"{self.chapter}-{self.number}-{self.what}"


WRONG: list[Answer] = []
RIGHT: list[Answer] = []


def wrong(chapter: str, number: int, what: str, words: str, code: str) -> None:
    WRONG.append(Answer(chapter, number, what, dedent(code), words))


def right(chapter: str, number: int, what: str, code: str) -> None:
    RIGHT.append(Answer(chapter, number, what, dedent(code)))


def instead(chapter: str, number: int, what: str, words: str, old: str, new: str) -> None:
    """Add the solution with one place changed as a wrong answer."""
    solution = chapters.exercises(DOCS / f"{chapter}.md")[number - 1].solution
    assert old in solution, (chapter, number, old)
    WRONG.append(Answer(chapter, number, what, solution.replace(old, new), words))


# ------------------------------------------------------------------ a network by hand

instead("first-network", 1, "transposed", "dw is wrong", "dy.T @ x", "abs(dy.T) @ x")
instead("first-network", 1, "no bias", "dense(x, w, b) is wrong", "x @ w.T + b", "x @ w.T")
instead("first-network", 1, "mean of the bias", "All of it is 0.2 times", "dy.sum", "dy.mean")
instead(
    "first-network",
    1,
    "another order",
    "dx has shape (4, 3)",
    "dy @ w, dy.T @ x",
    "dy.T @ x, dy @ w",
)
instead("first-network", 1, "no return", "must return three arrays", "return dy @ w", "0, dy @ w")
instead("first-network", 2, "and", "the output for (0, 1)", "[1.0, -2.0]", "[0.0, 1.0]")
instead("first-network", 2, "a sum", "the output for (1, 1)", "[1.0, -2.0]", "[1.0, 0.0]")
instead("first-network", 3, "no mask", "dw1 is wrong", " * (z > 0)", "")
instead("first-network", 3, "a sum for the mean", "24 times", " / y.size", "")
instead("first-network", 3, "the mean over examples", "3 times", "y.size", "len(y)")
instead("first-network", 3, "no factor 2", "0.5 times", "2 * (y - t)", "(y - t)")
instead("first-network", 3, "uphill", "-1 times", "(y - t)", "(t - y)")
right(
    "first-network",
    1,
    "einsum",
    """
    def dense(x, w, b):
        return np.einsum("ni,oi->no", x, w) + b[None]

    def dense_backward(dy, x, w):
        return [np.einsum("no,oi->ni", dy, w), np.tensordot(dy, x, (0, 0)), dy.sum(0)]
""",
)
right(
    "first-network",
    2,
    "differences",
    """
    xor = ([[1, -1], [-1, 1]], [0, 0], [1, 1], 0)
""",
)
right(
    "first-network",
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

# ------------------------------------------------------------------ arrays

instead("arrays", 1, "over the batch only", "standardise(x) is wrong", "(0, 2, 3)", "0")
instead("arrays", 1, "divided by the variance", "standardise(x) is wrong", "x.std", "x.var")
instead(
    "arrays",
    1,
    "in place",
    "which standardise must leave",
    "return (x - mean) / std",
    "x -= mean; x /= std; return x",
)
instead(
    "arrays", 2, "forward returns x", "forward's output is wrong", "remember(-x)", "remember(x)"
)
instead(
    "arrays",
    2,
    "sign",
    "dx, has relative error 2e+00; is its sign wrong?",
    "return -dy",
    "return dy",
)
right(
    "arrays",
    1,
    "two axes",
    """
    def standardise(x):
        rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
        shape = (1, -1, 1, 1)
        return (x - rows.mean(1).reshape(shape)) / rows.std(1).reshape(shape)
""",
)

# ------------------------------------------------------------------ convolution

instead("convolution", 1, "ceiling", "expected", "room // stride + 1", "-(-room // stride) + 1")
instead("convolution", 1, "never None", "expected None", "None if room < 0 else ", "")
instead("convolution", 1, "padding once", "expected", "2 * padding", "padding")
right(
    "convolution",
    1,
    "counted",
    """
    def output_length(length, kernel, stride, padding):
        places, start = 0, 0
        while start + kernel <= length + 2 * padding:
            places, start = places + 1, start + stride
        return places or None
""",
)
wrong(
    "convolution",
    2,
    "im2col",
    "without im2col",
    """
    def columns(x, kh, kw):
        return im2col(np, x, Window((kh, kw), (1, 1)))
""",
)
instead("convolution", 2, "axes", "columns(x, 3, 2)", "0, 1, 4, 5, 2, 3", "0, 4, 5, 1, 2, 3")
instead("convolution", 3, "right", "to the right", "[0, 0, 1]", "[1, 0, 0]")
instead(
    "convolution",
    3,
    "up",
    "up",
    "[0, 0, 0], [0, 0, 1], [0, 0, 0]",
    "[0, 0, 0], [0, 0, 0], [0, 1, 0]",
)
instead("convolution", 3, "stays", "does not move", "[0, 0, 1]", "[0, 1, 0]")
instead(
    "convolution-backward",
    1,
    "convolved with itself",
    "is wrong",
    "dy, windows",
    "dy[..., ::-1], windows",
)
instead(
    "convolution-backward",
    1,
    "a mean",
    "0.5 times",
    'np.einsum("nfpq,ncpqij->fcij", dy, windows)',
    'np.einsum("nfpq,ncpqij->fcij", dy, windows) / len(x)',
)
right(
    "convolution-backward",
    1,
    "a loop over taps",
    """
    def weight_gradient(x, dy, kh, kw):
        oh, ow = dy.shape[2:]
        taps = [[np.tensordot(dy, x[:, :, i:i + oh, j:j + ow], ((0, 2, 3), (0, 2, 3)))
                 for j in range(kw)] for i in range(kh)]
        return np.array(taps).transpose(2, 3, 0, 1)
""",
)
instead("convolution-backward", 2, "not flipped", "not flipped", "[:, :, ::-1, ::-1]", "")
right(
    "convolution-backward",
    2,
    "scatter",
    """
    def input_gradient(dy, weight):
        n, f, oh, ow = dy.shape
        c, kh, kw = weight.shape[1:]
        dx = np.zeros((n, c, oh + kh - 1, ow + kw - 1))
        for p in range(oh):
            for q in range(ow):
                dx[:, :, p:p + kh, q:q + kw] += np.tensordot(dy[:, :, p, q], weight, 1)
        return dx
""",
)
instead(
    "convolution-backward", 3, "one side", "unread(", "size**2 - len(rows) ** 2", "size - len(rows)"
)
instead(
    "convolution-backward",
    3,
    "rows times",
    "unread(",
    "size**2 - len(rows) ** 2",
    "(size - len(rows)) ** 2",
)

# ------------------------------------------------------------------ batch norm

instead("batch-norm", 1, "no eps", "naive_backward(dy, x, gamma, eps) is wrong", " + eps", "")
instead("batch-norm", 1, "no gamma", "is wrong", " * gamma", "")
wrong(
    "batch-norm",
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
instead(
    "batch-norm",
    2,
    "the first term",
    "only the first term",
    " - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)",
    "",
)
instead("batch-norm", 2, "no mean", "mean(g) is missing", " - g.mean(axis=0)", "")
instead("batch-norm", 2, "no xhat", "xhat is missing", " - xhat * (g * xhat).mean(axis=0)", "")
instead("batch-norm", 2, "sums for means", "is wrong", "(g * xhat).mean", "(g * xhat).sum")
instead("batch-norm", 2, "no gamma", "gamma is missing", "dy * gamma", "dy")
instead("batch-norm", 2, "no eps", "is wrong", " + eps", "")
right(
    "batch-norm",
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
instead("batch-norm", 3, "no mean", "x @ weight.T + bias is wrong", "beta - mean * scale", "beta")
instead("batch-norm", 3, "no eps", "x @ weight.T + bias is wrong", " + eps", "")
instead("batch-norm", 3, "columns", "is wrong", "w * scale[:, None]", "w * np.r_[scale, 1]")

# ------------------------------------------------------------------ pooling, dropout

instead("pooling", 1, "maxima", "average(x) is wrong", ".mean(", ".max(")
instead("pooling", 1, "sums", "4 times", ".mean(", ".sum(")
instead(
    "pooling",
    1,
    "halves",
    "average(x)",
    "h // 2, 2, w // 2, 2).mean(axis=(3, 5))",
    "2, h // 2, 2, w // 2).mean(axis=(2, 4))",
)
instead("pooling", 2, "ones", "4 times", "0.25", "1.0")
instead("pooling", 2, "two axes", "the shape of weight", "(1, 1, 2, 2)", "(2, 2)")
wrong(
    "pooling",
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
instead("pooling", 3, "maxima", "these are maxima", "-self.pool(-x)", "self.pool(x)")
instead(
    "pooling",
    3,
    "sign of backward",
    "not the derivative",
    "-self.pool.backward(-dy)",
    "self.pool.backward(-dy)",
)
right(
    "pooling",
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
instead(
    "dropout", 1, "the mask is ignored", "forward(x, mask) is wrong", "return x * mask", "return x"
)
instead(
    "dropout",
    1,
    "backward ignores the mask",
    "backward(dy, mask) is wrong",
    "return dy * mask",
    "return dy",
)
wrong(
    "dropout",
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
instead("dropout", 1, "no scale", "expected 0 and 1 / 0.7", " / (1 - p)", "")
instead("dropout", 1, "the other share", "is 0, expected 0.3", ">= p", "< p")
instead(
    "dropout",
    1,
    "one row",
    "all rows of the mask are alike",
    "rng.random(shape)",
    "np.broadcast_to(rng.random((1, shape[1])) , shape)",
)
instead(
    "dropout",
    1,
    "own randomness",
    "the same seed gave another mask",
    "rng.random",
    "np.random.default_rng().random",
)
instead(
    "dropout",
    2,
    "no scale",
    "the factor of a channel that is kept",
    "kept / (1 - self.p)",
    "kept * 1.0",
)
instead(
    "dropout",
    2,
    "one mask for all images",
    "every image has the same mask",
    "(*x.shape[:2], 1, 1)",
    "(1, x.shape[1], 1, 1)",
)
instead(
    "dropout",
    2,
    "single pixels",
    "the spread of the mask in a channel",
    "(*x.shape[:2], 1, 1)",
    "x.shape",
)
instead(
    "dropout", 2, "whole images", "share their fate", "(*x.shape[:2], 1, 1)", "(len(x), 1, 1, 1)"
)
instead("dropout", 2, "never off", "the output in eval", "not self.training", "False")
instead(
    "dropout", 2, "backward without the mask", "not the derivative", "return dy * mask", "return dy"
)
right(
    "dropout",
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

# ------------------------------------------------------------------ learning

wrong(
    "cross-entropy",
    1,
    "overflow",
    "not a finite number",
    """
    def log_sum_exp(z):
        return np.log(np.exp(z).sum(axis=1))
""",
)
instead(
    "cross-entropy",
    1,
    "the maximum of all",
    "not a finite",
    "z.max(axis=1)",
    "np.full(len(z), 0.0)",
)
instead(
    "cross-entropy",
    1,
    "not added again",
    "log_sum_exp(z) is wrong",
    "return largest + np",
    "return np",
)
instead("cross-entropy", 2, "no mean", "3 times", " / n", "")
instead("cross-entropy", 2, "sign", "-1 times", "softmax(logits) - t", "t - softmax(logits)")
instead("cross-entropy", 2, "not smoothed", "gradient(z, t, 0.2)", "smoothing / k", "0 / k")
instead(
    "cross-entropy",
    3,
    "s log K",
    "least_loss(10, 0.1) is wrong",
    "-(t * np.log(t)).sum()",
    "smoothing * np.log(classes)",
)
instead(
    "cross-entropy",
    3,
    "one class",
    "least_loss(10, 0.1) is wrong",
    "-(t * np.log(t)).sum()",
    "-np.log(t[0])",
)
instead("optimizers", 1, "no momentum", "without momentum", "momentum * m + ", "")
instead(
    "optimizers", 1, "an average", "is wrong", "+ CURVATURE * p", "+ (1 - momentum) * CURVATURE * p"
)
instead("optimizers", 1, "the last only", "has shape (2,)", "return np.array(points)", "return p")
instead("optimizers", 2, "no correction", "is wrong", "(m / (1 - 0.9**k))", "m")
instead(
    "optimizers", 2, "no root", "is wrong", "np.sqrt(v / (1 - 0.999**k))", "(v / (1 - 0.999**k))"
)
instead(
    "optimizers",
    3,
    "a constant",
    "decayed(-1.0",
    "p * (1 - lr * decay) ** k",
    "2.0 * (1 - 0.01 * 0.1) ** 50",
)
instead("optimizers", 3, "linear", "decayed(", "(1 - lr * decay) ** k", "(1 - k * lr * decay)")
right(
    "optimizers",
    3,
    "a loop",
    """
    def decayed(p, lr, decay, k):
        for _ in range(k):
            p -= lr * decay * p
        return p
""",
)
instead(
    "augmentation", 1, "the other way", "quarter_turns(images, -3) is wrong", "90 * n", "-90 * n"
)
instead("augmentation", 2, "no rounding", "coefficients(10.0, 28, 32)", " + 0.5) for a", ") for a")
instead("augmentation", 2, "corners", "coefficients(", "0.5 - w / 2, 0.5 - h / 2", "-w / 2, -h / 2")
instead("augmentation", 3, "16 bits", "is wrong", "np.uint32", "np.uint16")
instead("augmentation", 3, "floats", "expected uint8", ".astype(np.uint8)", ".astype(float)")

# ------------------------------------------------------------------ being sure

instead(
    "gradient-checking",
    1,
    "both forward",
    "central_error(0.01)",
    "np.tanh(0.5 - h)) / (2 * h)",
    "np.tanh(0.5)) / h",
)
instead(
    "gradient-checking",
    1,
    "both central",
    "forward_error(0.01)",
    "np.tanh(0.5)) / h",
    "np.tanh(0.5 - h)) / (2 * h)",
)
wrong(
    "gradient-checking",
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
wrong(
    "gradient-checking", 2, "another layer", "weight of C passes", 'culprit, tensor = "C", "weight"'
)
wrong("gradient-checking", 2, "another tensor", "bias of B passes", 'culprit, tensor = "B", "bias"')
wrong("gradient-checking", 3, "constant", "not the derivative", "calm = np.ones((1, 1, 4, 4))")
wrong(
    "gradient-checking",
    3,
    "fractions",
    "integers",
    "calm = np.arange(16.0).reshape(1, 1, 4, 4) / 3",
)
wrong(
    "gradient-checking", 3, "two axes", "the shape of calm", "calm = np.arange(16.0).reshape(4, 4)"
)
right(
    "gradient-checking",
    3,
    "permuted",
    "calm = np.random.default_rng(5).permutation(16).reshape(1, 1, 4, 4)",
)
instead(
    "own-layer",
    1,
    "linear",
    "forward's output is wrong",
    "xp.where(x > 0, x, self.weight.data * x)",
    "self.weight.data * x",
)
instead("own-layer", 1, "assigned", "has", "self.weight.grad += ", "self.weight.grad = ")
instead(
    "own-layer", 1, "negative part kept", "weight has", "xp.where(x > 0, 0, dy * x)", "(dy * x)"
)
instead("own-layer", 1, "begins at 0", "weight at first", "0.25", "0.0")
instead(
    "own-layer",
    2,
    "forward without x",
    "x + is missing",
    "return x + self.inner(x)",
    "return self.inner(x)",
)
instead("own-layer", 2, "backward without dy", "gradient of the input", "return dy + ", "return ")
right(
    "own-layer",
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

wrong(
    "own-layer",
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

# ------------------------------------------------------------------ being fast, looking inside

instead(
    "compiled",
    1,
    "a view",
    "not contiguous",
    "np.ascontiguousarray(x.transpose(1, 2, 3, 0))",
    "x.transpose(1, 2, 3, 0)",
)
instead(
    "compiled",
    1,
    "reshaped",
    "to_lanes(x)",
    "x.transpose(1, 2, 3, 0)",
    "x.reshape(*x.shape[1:], len(x))",
)
instead(
    "compiled",
    2,
    "mean of means",
    "the mean",
    "(counts * means).sum(axis=0) / counts.sum()",
    "means.mean(axis=0)",
)
instead(
    "compiled",
    2,
    "within only",
    "the variance",
    "squares + counts * (means - mean) ** 2",
    "squares",
)
instead(
    "compiled",
    3,
    "a > 0 only",
    "fused(x, -1.5, 0.4)",
    "np.maximum(x, t) if a > 0 else np.minimum(x, t)",
    "np.maximum(x, t)",
)
instead("cuda", 1, "the other order", "place(2, (2, 3, 4, 5))", "reversed(shape)", "shape")
instead(
    "cuda", 2, "mean of means", "the mean", "(m1 * mean1 + m2 * mean2) / m", "(mean1 + mean2) / 2"
)
instead(
    "cuda",
    2,
    "within only",
    "squared deviations",
    " + m1 * (mean1 - mean) ** 2 + m2 * (mean2 - mean) ** 2",
    "",
)
instead("cuda", 3, "one element a thread", "y of 1 blocks", "i += gridDim.x * blockDim.x", "i += n")
instead(
    "graphs",
    1,
    "schedule not wound back",
    "stands at step 11",
    "    schedule.load_state_dict(state)\n",
    "",
)
instead("graphs", 2, "one pixel", "loads(1, 1)", "pt - 1 + 5", "pt - 1")
instead("graphs", 2, "the most loads", "fewer loads", "min(tiles", "max(tiles")
instead("graphs", 3, "a float too few", "out of 1 blocks", "block = 0;", "block = 1;")
instead(
    "learned", 1, "always the same", "the pair is", "return int(label), int(answer)", "return 1, 2"
)
instead("learned", 1, "the diagonal counts", "the pair is", "    np.fill_diagonal(wrong, 0)\n", "")
instead(
    "learned", 1, "swapped", "the pair is", "int(label), int(answer)", "int(answer), int(label)"
)
instead(
    "learned", 1, "in place", "must stay as it is", "np.array(confusion)", "np.asarray(confusion)"
)
instead("learned", 2, "downhill", "the loss of image", "x + step", "x - step")
instead(
    "learned",
    2,
    "not clipped",
    "outside 0 to 1",
    "np.clip(x + step * np.sign(dx), 0, 1)",
    "(x + step * np.sign(dx))",
)
instead("learned", 2, "no step", "the loss of image", "step * np.sign(dx)", "0 * np.sign(dx)")
instead(
    "learned",
    3,
    "the share alone",
    "overconfidence(p, ",
    "p.max(axis=1).mean() - right.mean()",
    "right.mean()",
)
instead(
    "learned",
    3,
    "sign",
    "overconfidence(p, ",
    "p.max(axis=1).mean() - right.mean()",
    "right.mean() - p.max(axis=1).mean()",
)

# ------------------------------------------------------------------ activations, judging, autograd

wrong(
    "activations",
    1,
    "overflow",
    "sigmoid of -1000 and 1000: overflow",
    """
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def sigmoid_backward(dy, y):
        return dy * y * (1 - y)

    def tanh_backward(dy, y):
        return dy * (1 - y**2)
""",
)
instead("activations", 1, "of x", "sigmoid_backward(dy, y) is wrong", "y * (1 - y)", "(1 - y)")
instead("activations", 1, "tanh", "tanh_backward(dy, y) is wrong", "(1 - y**2)", "(1 - y) ** 2")
instead("activations", 2, "one", "0.50 times 2 / fan_in", "2 / fan_in", "1 / fan_in")
instead("activations", 2, "channels only", "he((64, 16, 5, 5), rng)", "shape[1:]", "shape[1]")
instead("activations", 2, "outputs", "he((300, 200), rng)", "shape[1:]", "shape[0]")
right(
    "activations",
    2,
    "uniform",
    """
    def he(shape, rng):
        bound = (6 / (np.size(np.empty(shape)) / shape[0])) ** 0.5
        return rng.uniform(-bound, bound, size=shape)
""",
)
instead("activations", 3, "for ReLU", "leaky_variance(100, 1.0)", "(1 + a**2) * ", "")
instead("activations", 3, "a for its square", "leaky_variance(50, 0.5)", "a**2", "a")
instead("judging", 1, "in order", "is it random?", "rng.permutation(n)", "np.arange(n)")
instead("judging", 1, "drawn", "in two parts", "rng.permutation(n)", "rng.integers(0, n, n)")
instead("judging", 1, "starts", "a part of 100 has", "ends[:-1]", "ends[1:]")
instead("judging", 2, "late", "expected (4, 2)", "== patience", "> patience")
instead(
    "judging", 2, "equal counts", "expected (3, 0)", "loss < losses[best]", "loss <= losses[best]"
)
instead("judging", 2, "stopped only", "expected a tuple", "return epoch, best", "return epoch")
instead("judging", 3, "one deviation", "not enough", "4 * p", "p")
instead("judging", 3, "too many", "images do", "4 * p", "9 * p")
instead("autograd", 1, "no derivative", "x.grad", "(dy * (1 - y**2),)", "(dy,)")
instead("autograd", 1, "no parent", "x.grad", "(tensor,)", "()")
instead("autograd", 2, "a mean", "sum_rows(x).data", ".sum(", ".mean(")
instead(
    "autograd",
    2,
    "divided",
    "x.grad",
    "(np.broadcast_to(dy, shape),)",
    "(dy / 3 + 0 * tensor.data,)",
)
instead(
    "autograd",
    3,
    "twice",
    "the slope along",
    "np.ascontiguousarray(dy)",
    "2 * np.ascontiguousarray(dy)",
)
instead(
    "arrays", 3, "no product rule", "gradient of the input", "t + x * (1 - t**2)", "x * (1 - t**2)"
)
instead(
    "arrays", 3, "tanh alone", "forward's output is wrong", "remember(x * t, x", "remember(t, x"
)
instead("dropout", 3, "from counter 0", "is wrong", "1 + i // 8", "i // 8")
instead("dropout", 3, "upper half first", "is wrong", "if i % 2 else", "if i % 2 == 0 else")
instead("optimizers", 4, "plain", "this is plain momentum", "(g + momentum * m)", "m")
instead("optimizers", 4, "old m", "is wrong", "(g + momentum * m)", "(g + m)")
right(
    "optimizers",
    4,
    "the other form",
    """
    def nesterov_path(lr, momentum, steps):
        q, m = np.array([10.0, 1.0]), np.zeros(2)
        points = [q.copy()]
        for _ in range(steps):
            m = momentum * m + CURVATURE * (q - lr * momentum * m)
            q = q - lr * m
            points.append(q - lr * momentum * m)
        return np.array(points)
""",
)
instead("pooling", 4, "no jump", "receptive_field(", " * jump", "")
instead("pooling", 4, "jump first", "receptive_field(", "    jump *= stride", "    jump = stride")
instead("learned", 4, "grey", "outside 0 to 1", "(weight > 0).astype(float)", "weight")
instead("learned", 4, "everything", "the filter's answer", "(weight > 0)", "(weight > -9)")
wrong(
    "cross-entropy",
    1,
    "one maximum for all rows",
    "not a finite number",
    """
    def log_sum_exp(z):
        return z.max() + np.log(np.exp(z - z.max()).sum(axis=1))
""",
)

# ------------------------------------------------------------------ right, in other ways

right(
    "pooling",
    1,
    "sums",
    """
    def average(x):
        rows = x[:, :, 0::2] + x[:, :, 1::2]
        return (rows[..., 0::2] + rows[..., 1::2]) / 4
""",
)
right(
    "pooling",
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
right(
    "cross-entropy",
    1,
    "logaddexp",
    """
    def log_sum_exp(z):
        return np.logaddexp.reduce(z, axis=1)
""",
)
right(
    "cross-entropy",
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
right(
    "cross-entropy",
    3,
    "two kinds of terms",
    """
    def least_loss(classes, smoothing):
        low = smoothing / classes
        high = 1 - smoothing + low
        return -high * np.log(high) - (classes - 1) * low * np.log(low)
""",
)
right(
    "optimizers",
    1,
    "velocity",
    """
    def momentum_path(lr, momentum, steps):
        points, velocity = [np.array([10.0, 1.0])], 0
        for _ in range(steps):
            velocity = momentum * velocity - lr * CURVATURE * points[-1]
            points.append(points[-1] + velocity)
        return points
""",
)
right(
    "optimizers",
    2,
    "two numbers",
    """
    def adam_path(lr, steps):
        points, m, v = [np.array([10.0, 1.0])], 0, 0
        for k in range(1, steps + 1):
            g = CURVATURE * points[-1]
            m, v = m + 0.1 * (g - m), v + 0.001 * (g * g - v)
            c = (1 - 0.999**k) ** 0.5
            points.append(points[-1] - lr * c / (1 - 0.9**k) * m / (v**0.5 + 1e-8 * c))
        return np.array(points)
""",
)
right(
    "augmentation",
    1,
    "one turn at a time",
    """
    def quarter_turns(images, n):
        for _ in range(n % 4):
            images = rotate(images, 90)
        return images
""",
)
right(
    "augmentation",
    3,
    "a product",
    """
    def luminance(colour):
        sums = np.tensordot([19595, 38470, 7471], colour.astype(int), 1)
        return ((sums + 32768) // 65536).astype(np.uint8)
""",
)
right(
    "compiled",
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
right(
    "judging",
    1,
    "slices",
    """
    def split(n, shares, rng):
        order, parts, begin = list(range(n)), [], 0
        rng.shuffle(order)
        for share in shares[:-1]:
            parts.append(np.array(order[begin : begin + round(share * n)]))
            begin += round(share * n)
        return (*parts, np.array(order[begin:]))
""",
)
right(
    "judging",
    2,
    "a counter",
    """
    def stop_early(losses, patience):
        best, waited, least = 0, 0, float("inf")
        for epoch in range(len(losses)):
            if losses[epoch] < least:
                best, waited, least = epoch, 0, losses[epoch]
            else:
                waited += 1
            if waited >= patience:
                break
        return epoch, best
""",
)
right(
    "learned",
    1,
    "a loop",
    """
    def most_confused(confusion):
        pairs = [(i, j) for i in range(len(confusion)) for j in range(len(confusion)) if i != j]
        return max(pairs, key=lambda pair: confusion[pair[0]][pair[1]])
""",
)
right(
    "learned",
    3,
    "counted",
    """
    def overconfidence(p, right):
        return float(np.mean([max(row) for row in p])) - np.count_nonzero(right) / len(p)
""",
)
right(
    "autograd",
    1,
    "of the input",
    """
    def tanh(tensor):
        x = tensor.data
        return Tensor(np.tanh(x), [tensor], lambda dy: [dy / np.cosh(x) ** 2])
""",
)
right(
    "autograd",
    2,
    "a product with ones",
    """
    def sum_rows(tensor):
        return tensor @ Tensor(np.ones((tensor.data.shape[1], 1)))
""",
)
