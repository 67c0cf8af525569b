"""Answers to the exercises of augmentation.md."""

from .chapter import Chapter

chapter = Chapter("augmentation")

chapter.instead(1, "the other way", "quarter_turns(images, -3) is wrong", "90 * n", "-90 * n")
chapter.right(
    1,
    "one turn at a time",
    """
    def quarter_turns(images, n):
        for _ in range(n % 4):
            images = rotate(images, 90)
        return images
""",
)

chapter.instead(2, "no rounding", "coefficients(10.0, 28, 32)", " + 0.5) for a", ") for a")
chapter.instead(2, "corners", "coefficients(", "0.5 - w / 2, 0.5 - h / 2", "-w / 2, -h / 2")

chapter.instead(3, "16 bits", "is wrong", "np.uint32", "np.uint16")
chapter.instead(3, "floats", "expected uint8", ".astype(np.uint8)", ".astype(float)")
chapter.right(
    3,
    "a product",
    """
    def luminance(colour):
        sums = np.tensordot([19595, 38470, 7471], colour.astype(int), 1)
        return ((sums + 32768) // 65536).astype(np.uint8)
""",
)
