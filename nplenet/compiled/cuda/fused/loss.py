"""The loss at the end of the chain; see ``kernels/fused/loss.cu``."""

from __future__ import annotations

from ....losses import CrossEntropyLoss
from ...operation import LossOperation, Value
from ...passes import Part
from .operation import Writer


class FusedLoss(LossOperation):
    """The loss of a block's images, its gradient, and their correct predictions."""

    name = "CrossEntropyLoss"
    label = "loss"

    def __init__(self, loss: CrossEntropyLoss, logits: Value) -> None:
        self.loss, self.x = loss, logits
        self.dx = Value(logits.shape, logits.dtype)

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.dx]

    def write(self, part: Part, w: Writer) -> None:
        w.use("loss")
        (k,) = self.x.shape
        smoothing = self.loss.label_smoothing
        part_name = w.lasting("loss_part", "LossPart", 1, 16)
        each = w.lasting("loss_each", "LossPart", w.images, 16 * w.images)
        row = w.rows("loss_rows", "LossPart", 1, 16)
        w.before.append(f"if (threadIdx.x == 0) *{part_name} = {{0.0, 0, NO_FAULT}};")
        targets = f"T({1.0 - smoothing!r}), T({smoothing / k!r}), T(s.scale)"
        w.each.append(
            f"cross_entropy<THREADS, I, {k}>({w.at(self.x)}, s.labels + (long long){w.feed_row()}[0] "
            f"+ n0, {targets}, n0, {w.at(self.dx)}, {each}, {part_name}, count);"
        )
        w.after.append(f"if (threadIdx.x == 0) *{row} = *{part_name};")
