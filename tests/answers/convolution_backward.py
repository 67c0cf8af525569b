"""Answers to the exercises of convolution-backward.md."""

from .chapter import Chapter

chapter = Chapter("convolution-backward")

chapter.instead(1, "convolved with itself", "is wrong", "dy, windows", "dy[..., ::-1], windows")
chapter.instead(
    1,
    "a mean",
    "0.5 times",
    'np.einsum("nfpq,ncpqij->fcij", dy, windows)',
    'np.einsum("nfpq,ncpqij->fcij", dy, windows) / len(x)',
)
chapter.right(
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

chapter.instead(2, "not flipped", "not flipped", "[:, :, ::-1, ::-1]", "")
chapter.right(
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

chapter.instead(3, "one side", "unread(", "size**2 - len(rows) ** 2", "size - len(rows)")
chapter.instead(3, "rows times", "unread(", "size**2 - len(rows) ** 2", "(size - len(rows)) ** 2")
