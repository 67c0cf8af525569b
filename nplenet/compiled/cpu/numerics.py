"""NumPy as a compiled step wants it: BLAS on one thread, short ufunc buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from threadpoolctl import ThreadpoolController


class Numerics:
    """NumPy's settings during a step; they are as before afterwards.

    The products are too small to share: two BLAS threads gave the same time on an idle machine, and
    2.4 times the time on a busy one.
    """

    def __init__(self, buffer_size: int) -> None:
        self._buffer_size = buffer_size
        self._blas = ThreadpoolController().select(user_api="blas").lib_controllers

    @contextmanager
    def applied(self) -> Iterator[None]:
        threads = [(library, library.num_threads) for library in self._blas]
        before = np.setbufsize(self._buffer_size)
        try:
            for library, number in threads:  # by hand: ``limit`` takes four times as long
                if number != 1:
                    library.set_num_threads(1)
            yield
        finally:
            np.setbufsize(before)
            for library, number in threads:
                if number != 1:
                    library.set_num_threads(number)
