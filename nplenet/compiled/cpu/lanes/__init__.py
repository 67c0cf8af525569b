"""The layers in lanes, one file per layer; ``fused`` and ``fold`` are several layers in one."""
