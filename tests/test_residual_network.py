"""A residual network of 20 layers trains, resumes, is saved, exported and gradient-checked."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from nplenet import load_model, save_model
from nplenet.augment import ToFloat
from nplenet.backend import Backend
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.compiled import TextbookStep, compile
from nplenet.data import DataLoader
from nplenet.gradcheck import check_layer
from nplenet.interop.onnx import export
from nplenet.layers import Conv2d, Dense, Dropout, GlobalAvgPool2d, Layer, Residual, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import Adam
from nplenet.train import History, fit

ROOT = Path(__file__).parents[1]
EXAMPLE = runpy.run_path(str(ROOT / "examples" / "residual_network.py"))
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 3, 32, 32), np.uint8)
LABELS = np.arange(24) % 10


def network(width: int = 4, dropout: bool = True) -> Sequential:
    rng = np.random.default_rng(1)
    model: Sequential = EXAMPLE["residual_network"](width, groups=2, rng=rng)
    if dropout:  # something random that a resumed run must take up again
        *layers, pool, dense = model
        model = Sequential(*layers, pool, Dropout(0.2, rng=rng), dense)
    return model


def train(epochs: int, folder: Path, *, resume: bool = False) -> tuple[Layer, History]:
    model, rng = network(), np.random.default_rng(2)
    loader = DataLoader(IMAGES, LABELS, 8, shuffle=True, rng=rng, transform=ToFloat())
    checkpoints = CheckpointFolder(folder)
    history = fit(
        model,
        CrossEntropyLoss(),
        Adam(model.parameters(), lr=0.01),
        loader,
        epochs=epochs,
        checkpoints=checkpoints,
        resume=load(folder / "checkpoint.safetensors") if resume else None,
        progress=False,
    )
    return model, history


def test_it_has_twenty_layers_with_weights_in_a_chain_beside_its_shortcuts() -> None:
    model = network()
    weights = [layer for _, layer in model.modules() if isinstance(layer, (Conv2d, Dense))]
    shortcuts = [a.shortcut for _, a in model.modules() if isinstance(a, Residual) and a.shortcut]
    assert len(weights) - len(shortcuts) == 20
    assert len(shortcuts) == 2
    assert any(isinstance(layer, GlobalAvgPool2d) for layer in model)


def test_it_learns_and_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, history = train(4, tmp_path / "whole")
    assert history.epochs[-1].loss < 0.9 * history.epochs[0].loss
    train(2, tmp_path / "halves")
    resumed, _ = train(4, tmp_path / "halves", resume=True)
    expected = whole.state_dict()
    for name, array in resumed.state_dict().items():
        assert array.tobytes() == expected[name].tobytes(), name


def test_it_is_saved_and_loaded_with_its_architecture(tmp_path: Path) -> None:
    model = network()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(model)
    x = ToFloat()(IMAGES)
    assert loaded(x).tobytes() == model.eval()(x).tobytes()


def test_onnxruntime_computes_what_it_computes(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the package onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    model, x = network(), ToFloat()(IMAGES)
    export(model, tmp_path / "model.onnx", (1, 3, 32, 32))
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(["logits"], {"x": x})
    expected = model.eval()(x)
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()


def test_its_gradients_are_the_differences() -> None:
    x = np.random.default_rng(3).standard_normal((1, 3, 6, 6))
    report = check_layer(network(2, dropout=False), x)
    assert report.ok, report


def test_the_compiled_step_equals_the_textbook_and_says_what_runs() -> None:
    models = [network(dropout=False).astype(np.float64) for _ in range(2)]
    losses = [CrossEntropyLoss() for _ in models]
    optimizers = [Adam(model.parameters()) for model in models]
    step = compile(models[0], losses[0], optimizers[0], len(LABELS), tunables={"lanes": 8})
    textbook = TextbookStep(models[1], losses[1], optimizers[1], len(LABELS), "")
    x = IMAGES / 255
    for _ in range(2):
        assert step(x, LABELS) == pytest.approx(textbook(x, LABELS), rel=1e-9)
    assert "Residual (textbook)" in step.describe()
    np.testing.assert_allclose(step.predict(x), textbook.predict(x), rtol=0, atol=1e-9)


def test_it_computes_the_same_on_every_backend(backend: Backend) -> None:
    results = []
    for where in ("numpy", backend):
        model = network(dropout=False).astype(np.float64).to(where)
        step = compile(model, CrossEntropyLoss(), Adam(model.parameters()), 4)
        asarray = model.backend.asarray
        loss = step(asarray(IMAGES[:4] / 255), asarray(LABELS[:4]))
        if model.backend.name == "cupy":
            assert "layer 1 (GroupNorm(" in step.describe()
            assert "has no compiled form" in step.describe()
        results.append([float(loss), *(a for a in model.state_dict().values())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)  # Adam enlarges tiny gradients
