"""Answers to the exercises of optimizers.md."""

from .chapter import Chapter

chapter = Chapter("optimizers")

chapter.instead(1, "no momentum", "without momentum", "momentum * m + ", "")
chapter.instead(1, "an average", "is wrong", "+ CURVATURE * p", "+ (1 - momentum) * CURVATURE * p")
chapter.instead(1, "the last only", "has shape (2,)", "return np.array(points)", "return p")
chapter.right(
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

chapter.instead(2, "no correction", "is wrong", "(m / (1 - 0.9**k))", "m")
chapter.instead(2, "no root", "is wrong", "np.sqrt(v / (1 - 0.999**k))", "(v / (1 - 0.999**k))")
chapter.right(
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

chapter.instead(
    3, "a constant", "decayed(-1.0", "p * (1 - lr * decay) ** k", "2.0 * (1 - 0.01 * 0.1) ** 50"
)
chapter.instead(3, "linear", "decayed(", "(1 - lr * decay) ** k", "(1 - k * lr * decay)")
chapter.right(
    3,
    "a loop",
    """
    def decayed(p, lr, decay, k):
        for _ in range(k):
            p -= lr * decay * p
        return p
""",
)

chapter.instead(4, "plain", "this is plain momentum", "(g + momentum * m)", "m")
chapter.instead(4, "old m", "is wrong", "(g + momentum * m)", "(g + m)")
chapter.right(
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
