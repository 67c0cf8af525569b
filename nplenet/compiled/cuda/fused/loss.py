"""The loss at the end of the chain; see ``kernels/fused/loss.cu``."""

from __future__ import annotations

from ....losses import CrossEntropyLoss
from ...operation import LossOperation, Value
from ...passes import Part
from ..feed import FIRST
from .operation import Writer, call

PART = 16  # bytes of a ``LossPart``


class FusedLoss(LossOperation):
    """The loss of the block's images, its gradient, and their correct predictions."""

    name = "CrossEntropyLoss"
    label = "loss"

    def __init__(self, loss: CrossEntropyLoss, logits: Value) -> None:
        self.loss, self.x = loss, logits
        self.dx = Value(logits.shape, logits.dtype)

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.dx]

    def write(self, part: Part, w: Writer) -> None:
        w.use("loss")
        (k,), smoothing = self.x.shape, float(self.loss.label_smoothing)
        total = w.lasting("loss_part", "LossPart", 1, PART)
        each = w.lasting("loss_each", "LossPart", w.images, PART)
        row = w.rows("loss_rows", "LossPart", 1, PART)
        w.before.append(f"if (threadIdx.x == 0) *{total} = {{0.0, 0, NO_FAULT}};")
        labels = f"s.labels + (long long){w.feed_row()}[{FIRST}] + n0"
        targets = (f"T({1.0 - smoothing!r})", f"T({smoothing / k!r})", "T(s.scale)")
        arguments = (w.at(self.x), labels, *targets, "n0", w.at(self.dx), each, total, "count")
        w.each.append(call("cross_entropy", *arguments, template=("I", k)))
        w.after.append(f"if (threadIdx.x == 0) *{row} = *{total};")
