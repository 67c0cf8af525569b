"""Answers to the exercises of learned.md."""

from .chapter import Chapter

chapter = Chapter("learned")

chapter.instead(
    1, "always the same", "the pair is", "return int(label), int(answer)", "return 1, 2"
)
chapter.instead(1, "the diagonal counts", "the pair is", "    np.fill_diagonal(wrong, 0)\n", "")
chapter.instead(1, "swapped", "the pair is", "int(label), int(answer)", "int(answer), int(label)")
chapter.instead(1, "in place", "must stay as it is", "np.array(confusion)", "np.asarray(confusion)")
chapter.right(
    1,
    "a loop",
    """
    def most_confused(confusion):
        pairs = [(i, j) for i in range(len(confusion)) for j in range(len(confusion)) if i != j]
        return max(pairs, key=lambda pair: confusion[pair[0]][pair[1]])
""",
)

chapter.instead(2, "downhill", "the loss of image", "x + step", "x - step")
chapter.instead(
    2,
    "not clipped",
    "outside 0 to 1",
    "np.clip(x + step * np.sign(dx), 0, 1)",
    "(x + step * np.sign(dx))",
)
chapter.instead(2, "no step", "the loss of image", "step * np.sign(dx)", "0 * np.sign(dx)")

chapter.instead(
    3,
    "the share alone",
    "overconfidence(p, ",
    "p.max(axis=1).mean() - right.mean()",
    "right.mean()",
)
chapter.instead(
    3,
    "sign",
    "overconfidence(p, ",
    "p.max(axis=1).mean() - right.mean()",
    "right.mean() - p.max(axis=1).mean()",
)
chapter.right(
    3,
    "counted",
    """
    def overconfidence(p, right):
        return float(np.mean([max(row) for row in p])) - np.count_nonzero(right) / len(p)
""",
)

chapter.instead(4, "grey", "outside 0 to 1", "(weight > 0).astype(float)", "weight")
chapter.instead(4, "everything", "the filter's answer", "(weight > 0)", "(weight > -9)")
