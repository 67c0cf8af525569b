"""The layers in lanes, one file per layer as in ``nplenet/layers``."""
