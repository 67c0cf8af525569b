"""A training step as one kernel per pass between two barriers; see ``compiled/passes.py``."""

from .choose import why_not_fused
from .program import Device
from .step import FusedKernel, FusedStep, device_of

__all__ = ["Device", "FusedKernel", "FusedStep", "device_of", "why_not_fused"]
