"""Answers to the exercises of convolution.md."""

from .chapter import Chapter

chapter = Chapter("convolution")

chapter.instead(1, "ceiling", "expected", "room // stride + 1", "-(-room // stride) + 1")
chapter.instead(1, "never None", "expected None", "None if room < 0 else ", "")
chapter.instead(1, "padding once", "expected", "2 * padding", "padding")
chapter.right(
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

chapter.wrong(
    2,
    "im2col",
    "without im2col",
    """
    def columns(x, kh, kw):
        return im2col(np, x, Window((kh, kw), (1, 1)))
""",
)
chapter.instead(2, "axes", "columns(x, 3, 2)", "0, 1, 4, 5, 2, 3", "0, 4, 5, 1, 2, 3")

chapter.instead(3, "right", "to the right", "[0, 0, 1]", "[1, 0, 0]")
chapter.instead(3, "up", "up", "[0, 0, 0], [0, 0, 1], [0, 0, 0]", "[0, 0, 0], [0, 0, 0], [0, 1, 0]")
chapter.instead(3, "stays", "does not move", "[0, 0, 1]", "[0, 1, 0]")
