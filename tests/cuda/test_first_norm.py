"""The first batch norm by the moments of the windows: on images of bytes, without a barrier."""

from __future__ import annotations

import pytest
from fused_twins import Twins

from nplenet.backend import Backend
from nplenet.models import LeNet5


@pytest.mark.parametrize("sizes", [(1,), (7, 7, 3), (64, 37), (300,)], ids=str)
def test_lenet5_on_bytes_equals_the_textbook(cuda: Backend, sizes: tuple[int, ...]) -> None:
    twins = Twins(cuda, lambda: LeNet5(seed=1, dropout=0.5), (1, 32, 32), sizes, classes=10)
    twins.take_bytes()
    twins.run()
    assert [k.name for k in twins.step.kernels()] == [
        *("moments", "join_moments", "pass1", "pass2", "pass3", "finish")
    ]
