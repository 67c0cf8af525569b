"""Models in and out: PyTorch's weights (``pytorch``), ONNX (``onnx``, which needs that extra)."""

from ..names import present
from . import onnx, pytorch

__all__ = ["onnx", "pytorch"]

present(__name__)
