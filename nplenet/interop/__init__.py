"""Models in and out: PyTorch's weights (``pytorch``), ONNX (``onnx``, which needs that extra)."""
