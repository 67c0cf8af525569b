"""Options and fixtures of the whole suite: on which backends a test runs.

A test that takes the fixture ``backend`` runs on NumPy and on CuPy, whose device is simulated (see
tests/gpusim) unless ``--backend cupy`` asks for a real one. A test of the CUDA path itself takes
the fixture ``cuda``. Where CuPy cannot be had such tests are skipped, with the reason; with the
environment variable NPLENET_REQUIRE_SIM=1 the run is refused instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet import BackendError, architecture, get_backend
from nplenet.backend import Backend
from nplenet.compiled.cpu import search, tuning_cache
from nplenet.files import user_cache

SIMULATED = "cupy-sim"
CHOICES = {
    "default": ("numpy", SIMULATED),
    "numpy": ("numpy",),
    "cupy": ("cupy",),
    SIMULATED: (SIMULATED,),
}
ROOT = Path(__file__).parents[1]
LONGEST_ID = 120  # characters: that of the standard augmentation has 113
WHY_NOT = pytest.StashKey[str]()  # why there is no simulated device; empty where there is one


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=tuple(CHOICES),
        default="default",
        help="where the layers compute: numpy, cupy (needs an NVIDIA GPU), cupy-sim (needs g++ and "
        "the extra 'sim'), or default, which is numpy and, where it can be had, cupy-sim",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have child processes import this checkout; put CuPy on the simulated device.

    The latter before a test module can import it.
    """
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    choice = config.getoption("--backend")
    required = os.environ.get("NPLENET_REQUIRE_SIM") == "1"
    config.stash[WHY_NOT] = f"not asked for: --backend {choice}"
    if SIMULATED not in CHOICES[choice]:
        return
    try:
        gpusim.install(force=required or choice == SIMULATED)
        config.stash[WHY_NOT] = ""
    except RuntimeError as error:
        config.stash[WHY_NOT] = str(error)
        if required or choice == SIMULATED:
            raise pytest.UsageError(f"no simulated CUDA device: {error}") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        names = CHOICES[metafunc.config.getoption("--backend")]
        metafunc.parametrize("backend", names, indirect=True, scope="session")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a parameter by its value; None leaves it to pytest, which numbers what it cannot name.

    Never by an address, which differs from process to process: pytest-xdist refuses such tests.
    """
    if val is None or isinstance(val, (bool, int, float, str)) or hasattr(val, "__name__"):
        return None
    if isinstance(val, np.ndarray):
        return f"{val.dtype} {pytest_make_parametrize_id(val.shape)}"
    if isinstance(val, bytes):
        return f"{len(val)} bytes"
    if isinstance(val, tuple) and val and all(isinstance(size, int) for size in val):
        return "x".join(map(str, val))
    text = re.sub(r"<function (\S+) at 0x\w+>", r"\1", repr(val))
    return None if " at 0x" in text or "\n" in text or len(text) > LONGEST_ID else text


def usable(name: str, config: pytest.Config) -> Backend:
    """Return a backend; the test is skipped, with the reason, where it cannot be used."""
    if name == SIMULATED and config.stash[WHY_NOT]:
        pytest.skip(f"no simulated CUDA device: {config.stash[WHY_NOT]}")
    try:
        return get_backend("numpy" if name == "numpy" else "cupy")
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True, scope="session")
def _tunables_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search tunables in few rounds, and keep them from the user's cache.

    No test asks which are the fastest, and where none are known a search takes a second or two of
    the processor per size of batch.
    """
    users, folder = tuning_cache.user_cache(), tmp_path_factory.mktemp("cache")

    def cache() -> Path | None:
        found = user_cache()
        return folder if found == users else found  # a test may choose another one, or none

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning_cache, "user_cache", cache)
        patch.setattr(search, "CALM_ROUNDS", 4)
        yield


@pytest.fixture(autouse=True)
def _registered_layers_are_forgotten() -> Iterator[None]:
    """Leave no layer registered that a test, or a chapter's cell, has registered."""
    before = dict(architecture.TYPES)
    yield
    architecture.TYPES.clear()
    architecture.TYPES.update(before)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the runs of a test that looks at other things the two seconds that a report takes.

    Child processes, which find no Matplotlib, print that they write none.
    """
    monkeypatch.setattr("nplenet.report.write_report", lambda folder, *_, **__: folder)
    paths = [str(ROOT / "tests" / "without_plots"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that --backend names: a test that takes it runs once on each."""
    return usable(request.param, request.config)


@pytest.fixture(scope="session")
def cuda(request: pytest.FixtureRequest) -> Backend:
    """The CuPy backend, on the simulated device or, with --backend cupy, on a real one."""
    choice = request.config.getoption("--backend")
    return usable("cupy" if choice == "cupy" else SIMULATED, request.config)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless; skips where there is none."""
    from browser import chromium

    with chromium() as found:
        yield found
