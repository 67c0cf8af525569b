"""Answers to the exercises of autograd.md."""

from .chapter import Chapter

chapter = Chapter("autograd")

chapter.instead(1, "no derivative", "x.grad", "(dy * (1 - y**2),)", "(dy,)")
chapter.instead(1, "no parent", "x.grad", "(tensor,)", "()")
chapter.right(
    1,
    "of the input",
    """
    def tanh(tensor):
        x = tensor.data
        return Tensor(np.tanh(x), [tensor], lambda dy: [dy / np.cosh(x) ** 2])
""",
)

chapter.instead(2, "a mean", "sum_rows(x).data", ".sum(", ".mean(")
chapter.instead(
    2, "divided", "x.grad", "(np.broadcast_to(dy, shape),)", "(dy / 3 + 0 * tensor.data,)"
)
chapter.right(
    2,
    "a product with ones",
    """
    def sum_rows(tensor):
        return tensor @ Tensor(np.ones((tensor.data.shape[1], 1)))
""",
)

chapter.instead(
    3, "twice", "the slope along", "np.ascontiguousarray(dy)", "2 * np.ascontiguousarray(dy)"
)
