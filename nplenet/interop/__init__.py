"""Models in and out: PyTorch's weights (``pytorch``), ONNX (``onnx``, which needs that extra)."""

from ..names import answer_wrong_names
from . import onnx, pytorch

__all__ = ["onnx", "pytorch"]

answer_wrong_names(__name__)
