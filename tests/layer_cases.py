"""The gradient check of a layer, for the layer's own test file: a wrong backward fails there."""

from __future__ import annotations

from typing import Any

import pytest

from nplenet.cases import Case, select
from nplenet.gradcheck import check_case


def cases_of(*names: str) -> list[Any]:
    """Return the cases of layers, named, for ``pytest.mark.parametrize``."""
    return [pytest.param(case, id=case.name) for case in select(names)]


def assert_backward(case: Case) -> None:
    """Assert that each gradient of a case is the derivative of its forward."""
    report = check_case(case)
    assert report.ok, f"\n{report}"
