"""Check everything that a run needs: ``python -m nplenet doctor [--backend cupy]``.

Each problem comes with the command that solves it.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import distributions
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

from .backend import Backend, BackendError, get_backend
from .data import DataError, load_mnist
from .data.mnist import find_mnist
from .layers import Conv2d

FETCH = (
    'python -c "from nplenet.data import load_mnist; [load_mnist(split=s) for s in '
    "('train', 'test')]\""
)


class Finding(NamedTuple):
    """One line of the report.

    Attributes
    ----------
    name, value : str
        The thing checked, and its version or its problem.
    remedy : str
        The command that solves the problem; empty without a problem.
    fatal : bool
        Whether the problem makes the backend unusable.
    """

    name: str
    value: str
    remedy: str = ""
    fatal: bool = False

    def __str__(self) -> str:
        line = f"{self.name:<20}{self.value}"
        return f"{line}\n{'':<18}> {self.remedy}" if self.remedy else line


def examine(backend: str) -> Iterator[Finding]:
    """Yield the findings, each after the ones that it depends on.

    Parameters
    ----------
    backend : {"numpy", "cupy"}
        The backend to check; the check of CuPy ends at its first problem.
    """
    from .version import __version__

    yield Finding("nplenet", __version__)
    yield Finding("Python", f"{platform.python_version()} on {platform.platform()}")
    for name, value in get_backend("numpy").describe().items():
        yield Finding(name, value)
    yield _blas()
    yield _mnist()
    if backend == "cupy":
        yield from _cupy()


def _blas() -> Finding:
    libraries = [
        f"{library['internal_api']} {library['version']}, {library['num_threads']} threads "
        "(training uses 1)"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return Finding("BLAS", "; ".join(libraries) or "unknown to threadpoolctl")


def _mnist() -> Finding:
    folder = find_mnist()
    if folder is None:
        return Finding("MNIST", "not found; training uses the bundled digits", FETCH)
    try:
        for split in ("train", "test"):
            load_mnist(split=split, download=False)
    except DataError as error:
        return Finding("MNIST", f"{error}", f"remove the files named above, then: {FETCH}")
    return Finding("MNIST", str(folder))


def _cupy() -> Iterator[Finding]:
    packages = sorted(
        {name for d in distributions() if (name := d.metadata["Name"] or "").startswith("cupy")}
    )
    if len(packages) > 1:
        remedy = f"pip uninstall --yes {' '.join(packages)} && {_reinstall(packages)}"
        yield Finding(
            "CuPy",
            f"several packages, of which only one may be installed: {', '.join(packages)}",
            remedy,
            fatal=True,
        )
        return
    try:
        cupy = get_backend("cupy")
    except BackendError as error:
        problem, _, remedy = str(error).partition("; ")
        yield Finding("CuPy", problem, remedy, fatal=True)
        return
    for name, value in cupy.describe().items():
        yield Finding(name, value)
    failure = _try_convolution(cupy)
    if failure:
        yield Finding("kernels", failure, _reinstall(packages), fatal=True)
    else:
        yield Finding("kernels", "compiled and run; a convolution gives NumPy's result")


def _reinstall(packages: list[str]) -> str:
    """Return the command that installs CuPy with everything except the driver."""
    extra = "cuda13" if "cupy-cuda13x" in packages else "cuda12"
    return f"pip install --force-reinstall 'nplenet[{extra}]'"


def _try_convolution(cupy: Backend) -> str:
    """Run a kernel and a matrix product; return how they fail, or an empty string."""
    layer = Conv2d(1, 2, 3, rng=np.random.default_rng(0))
    x = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8) / 64
    expected = layer(x)
    try:
        y = cupy.to_numpy(layer.to(cupy)(cupy.asarray(x)))
    except Exception as error:  # any failure is the answer to the check
        return f"fail: {type(error).__name__}: {error}"
    difference = float(np.abs(y - expected).max())
    if difference <= 1e-5:  # float32, sums of 9 products of about 1; NaN is not below
        return ""
    return f"compiled and run, but a convolution differs from NumPy's result by {difference:.3g}"
