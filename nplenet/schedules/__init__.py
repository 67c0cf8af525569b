"""Schedules: how the learning rate changes over a run. Names and values are PyTorch's.

A schedule sets its optimizer's ``lr`` when it is made and at each ``step()``. Call ``step()`` once
per batch or once per epoch, in the unit of the schedule's arguments; ``fit`` does so per batch. The
rate is a function of the number of steps only: a change of ``optimizer.lr`` from elsewhere lasts
until the next step. Each group of parameters follows the schedule from its own rate.
"""

from ..names import answer_wrong_names
from .base import Schedule
from .decay import CosineLR, ExponentialLR, StepLR, WarmUpLR
from .one_cycle import OneCycleLR
from .plateau import PlateauLR

__all__ = [
    "CosineLR",
    "ExponentialLR",
    "OneCycleLR",
    "PlateauLR",
    "Schedule",
    "StepLR",
    "WarmUpLR",
]

answer_wrong_names(__name__)
