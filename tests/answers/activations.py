"""Answers to the exercises of activations.md."""

from .chapter import Chapter

chapter = Chapter("activations")

chapter.wrong(
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
chapter.instead(1, "of x", "sigmoid_backward(dy, y) is wrong", "y * (1 - y)", "(1 - y)")
chapter.instead(1, "tanh", "tanh_backward(dy, y) is wrong", "(1 - y**2)", "(1 - y) ** 2")

chapter.instead(2, "one", "0.50 times 2 / fan_in", "2 / fan_in", "1 / fan_in")
chapter.instead(2, "channels only", "he((64, 16, 5, 5), rng)", "shape[1:]", "shape[1]")
chapter.instead(2, "outputs", "he((300, 200), rng)", "shape[1:]", "shape[0]")
chapter.right(
    2,
    "uniform",
    """
    def he(shape, rng):
        bound = (6 / (np.size(np.empty(shape)) / shape[0])) ** 0.5
        return rng.uniform(-bound, bound, size=shape)
""",
)

chapter.instead(3, "for ReLU", "leaky_variance(100, 1.0)", "(1 + a**2) * ", "")
chapter.instead(3, "a for its square", "leaky_variance(50, 0.5)", "a**2", "a")
