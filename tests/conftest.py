"""Options and fixtures of the whole suite: on which backend the layers are tried."""

from __future__ import annotations

import pytest

from nplenet import BackendError, get_backend
from nplenet.backend import Backend


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("numpy", "cupy"),
        default="numpy",
        help="where the layers compute; cupy needs an NVIDIA GPU (default: %(default)s)",
    )


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend named by --backend; the test is skipped, with the reason, where there is none."""
    try:
        return get_backend(request.config.getoption("--backend"))
    except BackendError as error:
        pytest.skip(str(error))
