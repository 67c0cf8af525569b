"""A row of the table names the rungs that are there; a layer without one is not a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet import architecture, compile
from nplenet.__main__ import main
from nplenet.backend import Array, Backend
from nplenet.backend.cupy_backend import CupyBackend
from nplenet.cases import ROWS, RUNGS, WITHOUT, Row, _row
from nplenet.checkpoint import save_model
from nplenet.compiled import CompiledStep
from nplenet.compiled.cpu.choose import has_lanes
from nplenet.compiled.cuda.fused.choose import LAYERS
from nplenet.interop.onnx import EXPORTERS, export
from nplenet.layers import Dense, Flatten, Layer, ReLU, Residual, Sequential
from nplenet.layers.sequential import is_chain, leaves
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.page import computed_layers, write_page

ROOT = Path(__file__).parents[1]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


# ------------------------------------------------------------------------------ the rows


def parts(row: Row) -> list[type]:
    """Return the classes that do the work of a row: itself, or all layers of a network."""
    made = [layer for layer in (case.build() for case in row.cases) if isinstance(layer, Layer)]
    inner = [part for m in made for _, part in m.modules() if not is_chain(part)]
    return [type(part) for part in inner] or [row.kind]


def is_compiled(row: Row) -> bool:
    made = row.cases[0].build(dtype=np.float32)
    layer, loss = (made, CrossEntropyLoss()) if isinstance(made, Layer) else (Flatten(), made)
    model = Sequential(layer, Dense(1, 2))
    step = compile(model, loss, SGD(model.parameters()), 1, tunables={})
    return isinstance(step, CompiledStep) and all(has_lanes(part) for _, part in leaves(layer))


def is_golden(row: Row) -> bool:
    with np.load(ROOT / "tests/golden/layers.npz") as file:
        layers = {name for name, _ in json.loads(str(file["cases"]))}
    others = [path.stem for path in (ROOT / "tests/golden").glob("*.npz")]
    return (
        row.kind.__name__ in layers
        or row.kind.__module__.split(".")[-1] in others
        or (row.name in others)
    )


def is_in_the_reference(row: Row) -> bool:
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs/api").glob("*.md"))
    names = (
        f"autoclass:: nplenet.layers.{row.kind.__name__}\n",
        f"automodule:: {row.kind.__module__}\n",
    )
    return any(name in text for name in names)


FOUND: dict[str, Callable[[Row], bool]] = {
    "textbook": lambda row: "forward" in dir(row.kind) and row.kind.backward is not Layer.backward,
    "cpu": is_compiled,
    "cuda": lambda row: {*parts(row)} <= {*LAYERS, CrossEntropyLoss},
    "onnx": lambda row: all(kind in (*EXPORTERS, Residual) for kind in parts(row)),
    "page": lambda row: all(kind.__name__ in computed_layers() for kind in parts(row)),
    "golden": is_golden,
    "docs": is_in_the_reference,
}


@every_row
def test_a_row_names_the_rungs_that_are_there(row: Row) -> None:
    assert row.rungs - {"kernel"} == {rung for rung, is_there in FOUND.items() if is_there(row)}


@every_row
def test_a_row_says_whether_kernels_run(
    row: Row, cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = []
    launch = CupyBackend.launch

    def noted(self: CupyBackend, file: str, kernel: str, *arguments: Any, **options: Any) -> None:
        launched.append(kernel)
        launch(self, file, kernel, *arguments, **options)

    monkeypatch.setattr(CupyBackend, "launch", noted)
    case = row.cases[0]
    made, x = case.build(dtype=np.float32, backend="cupy"), case.input(0, np.float32, "cupy")
    if isinstance(made, Layer):
        made.backward(cuda.xp.ones_like(made(x)))
    else:
        made(x, case.targets(backend="cupy"))
        made.backward()
    assert ("kernel" in row.rungs) == bool(launched)


def test_every_rung_is_of_the_table() -> None:
    assert FOUND.keys() | {"kernel"} == RUNGS.keys()
    assert WITHOUT.keys() <= RUNGS.keys()
    with pytest.raises(ValueError, match=r"relu: unknown rungs \['gpu'\]"):
        _row(ReLU, (2, 3), {"plain": lambda rng: ReLU()}, "cpu gpu")


def test_the_old_names_of_the_table_work_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match=r"use nplenet\.cases\.ROWS"):
        from nplenet.operations import OPERATIONS
    with pytest.warns(DeprecationWarning, match=r"use nplenet\.cases\.Row"):
        from nplenet.operations import Operation
    assert OPERATIONS is ROWS
    assert Operation is Row


# ------------------------------------------------------------------------------ the command


def test_layers_prints_the_rungs_of_each_row_and_what_a_missing_one_means(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head, *table = [line.split() for line in lines[: len(ROWS) + 1]]
    assert head == ["layer", *RUNGS]
    for row, (name, *marks) in zip(ROWS, table, strict=True):
        assert name == row.name
        assert {"yes": set(row.rungs), "-": RUNGS.keys() - row.rungs} == {
            mark: {rung for rung, found in zip(RUNGS, marks, strict=True) if found == mark}
            for mark in ("yes", "-")
        }
    for rung in {rung for row in ROWS for rung in RUNGS.keys() - row.rungs}:
        assert f"without {rung}: {WITHOUT[rung]}" in lines


def test_layers_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layers"]["flatten"]["kernel"] is False
    assert found["layers"]["flatten"]["cpu"] is True
    assert found["without"] == WITHOUT


# ------------------------------------------------------------------------------ without a rung


class Softsign(Layer):
    """y = x / (1 + |x|), in the library for a test: its row would have no rungs."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        size = 1 + self.backend.xp.abs(x)
        return self.remember(x / size, size)

    def backward(self, dy: Array) -> Array:
        (size,) = self.recall(dy)
        return dy / size**2


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Sequential:
    monkeypatch.setitem(architecture.TYPES, "Softsign", Softsign)
    return Sequential(features=Sequential(Flatten(), Softsign()), end=Dense(1024, 10))


def test_the_compiled_step_runs_its_textbook_form_and_says_so(model: Sequential) -> None:
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters()), 2, tunables={})
    assert isinstance(step, CompiledStep)
    assert np.isfinite(step(np.ones((2, 1, 32, 32), np.float32), np.array([1, 2])))
    assert "Softsign (textbook)" in step.describe()


def test_the_export_to_onnx_refuses_it_and_writes_nothing(
    model: Sequential, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="needs the package onnx")
    with pytest.raises(TypeError, match=r"layer features\.1 is a Softsign, .*nplenet layers"):
        export(model, tmp_path / "model.onnx", (1, 1, 32, 32))
    assert not list(tmp_path.iterdir())


def test_the_page_refuses_it_and_writes_nothing(model: Sequential, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"layer features\.1 is a Softsign, .*nplenet layers"):
        write_page(model, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["draw", "--no-open"], ["export", "--to", "onnx"]])
def test_a_command_refuses_it_in_one_line(
    model: Sequential, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "onnx" in command:
        pytest.importorskip("onnx", reason="needs the package onnx")
    save_model(model, tmp_path / "model.safetensors")
    output = tmp_path / ("model.onnx" if "onnx" in command else "page.html")
    name, *options = command
    assert main([name, str(tmp_path / "model.safetensors"), *options, "--output", str(output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nplenet {name}: layer features.1 is a Softsign, ")
    assert not output.exists()
