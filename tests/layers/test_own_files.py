"""The test file of each layer catches the layer's own backward: broken, one gradient at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nplenet.cases import ROWS, Case
from nplenet.layers import Layer, Sequential

FILES = {
    path.stem.removeprefix("test_"): path
    for path in Path(__file__).parent.glob("test_*.py")
    if path != Path(__file__)
}
CHECK = "test_backward_is_the_derivative_of_forward"
LAYERS = [row for row in ROWS if issubclass(row.kind, Layer) and row.name != "lenet5"]


@cache
def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@cache
def checks() -> dict[str, tuple[str, Callable[[Case], None]]]:
    """Return for each case the test file that checks its gradients, and the check."""
    found = {}
    for name, path in FILES.items():
        check = getattr(module(path), CHECK, None)
        for mark in getattr(check, "pytestmark", ()):
            for parameters in mark.args[1]:
                (case,) = parameters.values
                found[case.name] = (name, check)
    return found


def breakages() -> list[Any]:
    """Return (layer, what is broken): all of backward, dx, and each parameter's gradient."""
    made = []
    for row in LAYERS:
        layer = row.cases[0].build()
        assert isinstance(layer, Layer)
        own = [p.name for p in layer.parameters() if "." not in p.name]
        for what in ("backward", "dx", *own):
            made.append(pytest.param(row.kind, row.cases, what, id=f"{row.name} {what}"))
    return made


def broken(kind: type[Layer], what: str) -> Callable[[Any, Any], Any]:
    """Return a backward of a layer that leaves out one gradient, or all of it."""
    right = kind.backward

    def backward(self: Any, dy: Any) -> Any:
        if what == "backward":
            raise NotImplementedError
        if what == "dx":
            dx = right(self, dy)
            return None if dx is None else np.zeros_like(dx)
        parameter = getattr(self, what)
        before = None if parameter is None else parameter.grad.copy()
        dx = right(self, dy)
        if parameter is not None:
            parameter.grad[...] = before
        return dx

    return backward


def test_each_layer_is_checked_in_the_file_that_is_named_after_its_module() -> None:
    for row in LAYERS:
        home = row.kind.__module__.rpartition(".")[2]
        file = {"flatten": "dense", "softmax": "gelu"}.get(home, home)
        assert {checks()[case.name][0] for case in row.cases} == {file}


@pytest.mark.parametrize(("kind", "cases", "what"), breakages())
def test_a_broken_backward_fails_the_layers_own_file(
    kind: type[Layer], cases: tuple[Case, ...], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "backward", broken(kind, what))
    failed = 0
    for case in cases:
        try:
            checks()[case.name][1](case)
        except (AssertionError, NotImplementedError, TypeError):
            failed += 1
    assert failed > 0
    if what in ("backward", "dx") and kind is not Sequential:
        assert failed >= len(cases) - 1  # the dx of dropout with p = 1 is zero


def test_the_whole_backward_is_what_is_broken() -> None:
    """Without a breakage every check passes, so what fails above fails because of it."""
    for row in LAYERS:
        for case in row.cases:
            checks()[case.name][1](case)
