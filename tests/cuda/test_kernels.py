"""Which kernel replaces which function: found by name, and nothing bound to nothing."""

from __future__ import annotations

import inspect
from pkgutil import resolve_name

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.backend.binding import replaces
from nplenet.backend.cupy_backend import KERNELS, kernel_for
from nplenet.layers.conv import im2col


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_a_kernel_replaces_a_function_that_exists(name: str) -> None:
    function = resolve_name(name)
    assert kernel_for(function) is KERNELS[name]
    assert next(iter(inspect.signature(function).parameters)) == "xp"


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_a_kernel_takes_what_its_function_takes(name: str) -> None:
    function, kernel = (
        list(inspect.signature(f).parameters)[1:] for f in (resolve_name(name), KERNELS[name])
    )
    assert kernel == function


def test_a_second_kernel_for_a_function_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nplenet\.layers\.conv\.im2col has two kernels"):
        replaces("nplenet.layers.conv.im2col")(lambda gpu: None)
    assert kernel_for(im2col) is not None


def test_a_function_of_the_same_name_elsewhere_is_not_replaced(cuda: Backend) -> None:
    def im2col(xp: object, x: object) -> object:
        return x

    assert cuda.primitive(im2col, 7) == 7


def test_the_old_name_of_primitive_still_works_and_warns(backend: Backend) -> None:
    def double(xp: object, x: np.ndarray) -> np.ndarray:
        return 2 * x

    with pytest.warns(DeprecationWarning, match=r"Backend\.run is deprecated: use primitive"):
        assert backend.run(double, 4) == 8
