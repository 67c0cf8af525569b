"""Answers to the exercises of judging.md."""

from .chapter import Chapter

chapter = Chapter("judging")

chapter.instead(1, "in order", "is it random?", "rng.permutation(n)", "np.arange(n)")
chapter.instead(1, "drawn", "in two parts", "rng.permutation(n)", "rng.integers(0, n, n)")
chapter.instead(1, "starts", "a part of 100 has", "ends[:-1]", "ends[1:]")
chapter.right(
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

chapter.instead(2, "late", "expected (4, 2)", "== patience", "> patience")
chapter.instead(2, "equal counts", "expected (3, 0)", "loss < losses[best]", "loss <= losses[best]")
chapter.instead(2, "stopped only", "expected a tuple", "return epoch, best", "return epoch")
chapter.right(
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

chapter.instead(3, "one deviation", "not enough", "4 * p", "p")
chapter.instead(3, "too many", "images do", "4 * p", "9 * p")
