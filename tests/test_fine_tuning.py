"""Frozen layers and parameters, groups and clipping, in whole runs: textbook, compiled, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet import compile
from nplenet.augment import ToFloat
from nplenet.backend import Backend
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.compiled import Step, TextbookStep
from nplenet.data import DataLoader
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    ReLU,
    Sequential,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, AdamW, clip_gradients
from nplenet.parameter import Parameter
from nplenet.recognize import recognize
from nplenet.schedules import CosineLR, PlateauLR, WarmUpLR
from nplenet.train import evaluate, fit

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 1, 12, 12), dtype=np.uint8)
LABELS = np.arange(40) % 3
WAYS = ["compiled", "textbook"]


def network(seed: int = 1) -> Sequential:
    g = np.random.default_rng(seed)
    return Sequential(
        Conv2d(1, 3, 3, bias=False, rng=g),
        BatchNorm2d(3),
        ReLU(),
        AvgPool2d(2),
        Conv2d(3, 4, 2, rng=g),
        BatchNorm2d(4),
        ReLU(),
        Flatten(),
        Dense(64, 6, rng=g),
        BatchNorm1d(6),
        ReLU(),
        Dense(6, 3, rng=g),
    )


def step_of(way: str, model: Any, loss: Any, optimizer: Any, size: int = 20) -> Step:
    if way == "textbook":
        return TextbookStep(model, loss, optimizer, size, "")
    step = compile(model, loss, optimizer, size, tunables={})
    assert step.compiled
    return step


def groups_of(model: Any) -> list[dict[str, Any]]:
    """Weights with decay; biases and batch norms without, at a tenth of the rate."""
    matrices = [p for p in model.parameters() if p.data.ndim > 1]
    others = [p for p in model.parameters() if p.data.ndim == 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0, "lr": 0.005}]


def run(model: Any, backend: Backend, way: str, **options: Any) -> Any:
    model.to(backend)
    loss, optimizer = CrossEntropyLoss(), AdamW(groups_of(model), 0.05, weight_decay=0.1)
    loader = DataLoader(
        IMAGES, LABELS, 20, shuffle=True, rng=np.random.default_rng(2), transform=ToFloat()
    ).to(backend)
    schedule = WarmUpLR(optimizer, 2, after=CosineLR(optimizer, 10))
    step = step_of(way, model, loss, optimizer)
    settings: dict[str, Any] = {"epochs": 3, "schedule": schedule, "progress": False}
    return fit(model, loss, optimizer, loader, step=step, **{**settings, **options})


def frozen_network() -> Sequential:
    """The features are frozen and their statistics kept; in the head a bias is frozen."""
    model = network()
    for i in range(6):
        model[i].requires_grad_(False)
    model[1].eval()
    model[8].bias.requires_grad = False
    return model


# ------------------------------------------------------------------ modes


def frozen() -> LeNet5:
    model = LeNet5(seed=0).train()
    model.features[1].eval()
    return model


def modes(model: Any) -> list[bool]:
    return [layer.training for _, layer in model.modules()]


def test_whoever_switches_modes_restores_each_layers_own() -> None:
    images, labels = np.zeros((4, 1, 32, 32), np.uint8), np.arange(4)
    model = frozen()
    before = modes(model)
    assert sorted(set(before)) == [False, True]
    evaluate(model, images, labels)
    assert modes(model) == before
    recognize(model, images[0, 0])
    assert modes(model) == before
    with pytest.raises(TypeError):
        evaluate(model, images.astype(np.int64), labels)
    assert modes(model) == before
    with model.evaluating():
        assert not any(modes(model))
    assert modes(model) == before


@pytest.mark.parametrize("way", WAYS)
def test_fit_leaves_layers_in_eval_that_were_in_eval(backend: Backend, way: str) -> None:
    model = network()
    model[1].eval()
    before = model.state_dict()
    run(model, backend, way, validation=(IMAGES, LABELS))
    after = model.state_dict()
    assert [model[i].training for i in (1, 5, 9)] == [False, True, True]
    np.testing.assert_array_equal(after["1.running_var"], before["1.running_var"])
    assert (after["5.running_var"] != before["5.running_var"]).all()
    assert (after["1.weight"] != before["1.weight"]).any()


def test_fit_trains_a_model_that_is_in_eval_as_a_whole() -> None:
    model = network().eval()
    before = model.state_dict()

    def left_in_eval(epoch: Any) -> None:
        model.eval()

    from nplenet.backend import get_backend

    run(model, get_backend("numpy"), "compiled", on_epoch=left_in_eval)
    assert model.state_dict()["1.num_batches_tracked"] == before["1.num_batches_tracked"] + 6


# ------------------------------------------------------------------ frozen parameters


@pytest.mark.parametrize("way", WAYS)
def test_frozen_parameters_stay_and_the_others_train(backend: Backend, way: str) -> None:
    model = frozen_network()
    before = model.state_dict()
    run(model, backend, way)
    frozen_names = {p.name for p in model.parameters() if not p.requires_grad}
    assert len(frozen_names) == 8
    moved = {
        name
        for name, value in model.state_dict().items()
        if not np.array_equal(value, before[name])
    }
    trained = {p.name for p in model.parameters()} - frozen_names
    assert moved & {p.name for p in model.parameters()} == trained


def test_a_frozen_run_is_the_same_compiled_and_by_the_textbook(backend: Backend) -> None:
    found = []
    for way in WAYS:
        model = frozen_network().astype("f8")
        run(model, backend, way)
        found.append(model.state_dict())
    for name, value in found[0].items():
        # On a GPU the textbook step gets images of float32, the compiled one divides in float64.
        np.testing.assert_allclose(value, found[1][name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_compiled_step_does_no_backward_through_frozen_features() -> None:
    model = frozen_network()
    step: Any = compile(
        model, CrossEntropyLoss(), SGD(model.parameters()), 20, tunables={}, input_shape=(1, 12, 12)
    )
    text = step.describe()
    assert "Conv2d" in text
    assert "Conv2d backward" not in text
    assert "Dense backward" in text


def test_a_run_whose_parameters_are_all_frozen_is_refused() -> None:
    model = network().requires_grad_(False)
    loader = DataLoader(IMAGES, LABELS, 20, transform=ToFloat())
    with pytest.raises(ValueError, match="every parameter of the optimizer is frozen"):
        fit(model, CrossEntropyLoss(), SGD(model.parameters()), loader, epochs=1)


# ------------------------------------------------------------------ saved and continued


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("way", WAYS)
def test_a_fine_tuning_run_continues_bit_for_bit(
    backend: Backend, way: str, clip_norm: float | None, tmp_path: Path
) -> None:
    """Groups, frozen parameters, layers in eval and the schedule come back from the checkpoint."""
    whole = frozen_network()
    run(whole, backend, way, clip_norm=clip_norm)
    folder = CheckpointFolder(tmp_path)
    run(frozen_network(), backend, way, clip_norm=clip_norm, epochs=1, checkpoints=folder)
    saved = load(tmp_path / "checkpoint.safetensors")
    assert len(saved.record["frozen"]) == 8
    assert saved.record["eval"] == ["1."]
    again = network(seed=7)  # whose flags are not set: they are in the checkpoint
    run(again, backend, way, clip_norm=clip_norm, resume=saved)
    assert not again[1].training
    assert not again[0].weight.requires_grad
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value, err_msg=name)


def test_plateau_watches_the_validation_loss_of_a_run(tmp_path: Path) -> None:
    def plateau_run(epochs: int, **options: Any) -> Any:
        model = Sequential(Flatten(), Dense(144, 3, rng=1))
        optimizer = SGD(model.parameters(), lr=0.5)
        schedule = PlateauLR(optimizer, factor=0.5, patience=0)
        loader = DataLoader(IMAGES, LABELS, 20, transform=ToFloat())
        history = fit(
            model, CrossEntropyLoss(), optimizer, loader, epochs=epochs, schedule=schedule,
            validation=(IMAGES, LABELS), progress=False, **options,
        )  # fmt: skip
        return model.state_dict()["1.weight"], history

    weight, history = plateau_run(8)
    rate, best = 0.5, np.inf
    for epoch in history.epochs:
        assert epoch.lr == rate
        if not epoch.validation_loss < best * (1 - 1e-4):
            rate *= 0.5
        best = min(best, epoch.validation_loss)
    assert rate < 0.5
    plateau_run(4, checkpoints=CheckpointFolder(tmp_path))
    again, _ = plateau_run(8, resume=load(tmp_path / "checkpoint.safetensors"))
    np.testing.assert_array_equal(again, weight)


# ------------------------------------------------------------------ clipping


@pytest.mark.parametrize("way", WAYS)
def test_fit_clips_the_gradients_of_each_step(backend: Backend, way: str) -> None:
    """Equal to a loop by hand; a frozen parameter does not count for the norm."""
    found = []
    for by_hand in (False, True):
        model = frozen_network().to(backend)
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), lr=1.0)
        loader = DataLoader(IMAGES, LABELS, 20, transform=ToFloat()).to(backend)
        step = step_of(way, model, loss, optimizer)
        if not by_hand:
            fit(model, loss, optimizer, loader, epochs=1, step=step, clip_norm=0.05, progress=False)
        else:
            for x, y in loader:
                step.gradients(backend.asarray(x), backend.asarray(y))
                before = backend.to_numpy(model[11].weight.data).copy()
                own = [p for p in model.parameters() if p.requires_grad]
                norm = float(clip_gradients(own, 0.05))
                assert norm > 0.05
                optimizer.step()
                assert np.linalg.norm(backend.to_numpy(model[11].weight.data) - before) <= 0.0501
        found.append(model.state_dict())
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("way", WAYS)
def test_fit_clips_by_the_parameters_that_the_optimizer_has(backend: Backend, way: str) -> None:
    """An optimizer of the head alone: equal to a model whose other parameters are frozen.

    Nobody clears the gradients of the others, which the layers add up from step to step.
    """
    found = []
    for frozen in (False, True):
        model = network().to(backend)
        if frozen:
            model[:11].requires_grad_(False)
        loss, optimizer = CrossEntropyLoss(), SGD(model[11].parameters(), lr=1.0)
        loader = DataLoader(IMAGES, LABELS, 8, transform=ToFloat()).to(backend)
        step = step_of(way, model, loss, optimizer)
        fit(model, loss, optimizer, loader, epochs=2, step=step, clip_norm=0.3, progress=False)
        found.append(model.state_dict())
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, np.nan])
def test_a_norm_to_which_nothing_can_be_clipped_is_refused(clip_norm: float) -> None:
    model = network()
    loader = DataLoader(IMAGES, LABELS, 20, transform=ToFloat())
    with pytest.raises(ValueError, match="fit: clip_norm must be a number"):
        fit(
            model,
            CrossEntropyLoss(),
            SGD(model.parameters()),
            loader,
            epochs=1,
            clip_norm=clip_norm,
        )


# ------------------------------------------------------------------ class weights


def test_a_run_with_class_weights_and_an_ignored_label_is_that_of_its_formula(
    backend: Backend,
) -> None:
    """One step of a linear model from zero: dlogits = w * (softmax - t) / sum of w, p = 1/3."""
    weight, labels = np.array([0.5, 2.0, 1.0]), np.arange(40) % 4 - 1  # -1 does not count
    model = Sequential(Flatten(), Dense(144, 3, rng=0)).astype("f8").to(backend)
    model[1].weight.data[...] = 0
    model[1].bias.data[...] = 0
    loss = CrossEntropyLoss(weight=weight, ignore_index=-1)
    optimizer = SGD(model.parameters(), lr=1.0)
    loader = DataLoader(IMAGES, labels, 40, transform=ToFloat(np.float64)).to(backend)
    history = fit(model, loss, optimizer, loader, epochs=1, progress=False)
    assert history.epochs[0].loss == pytest.approx(np.log(3))
    counted = labels >= 0
    w = weight[labels[counted]][:, None]
    dlogits = w * (1 / 3 - np.eye(3)[labels[counted]]) / w.sum()
    np.testing.assert_allclose(backend.to_numpy(model[1].bias.data), -dlogits.sum(axis=0))
    x = (IMAGES[counted] / 255).reshape(counted.sum(), -1)
    np.testing.assert_allclose(
        backend.to_numpy(model[1].weight.data), -dlogits.T @ x, rtol=1e-9, atol=1e-12
    )


def test_a_plateau_ends_its_reductions_and_refuses_more_of_a_file() -> None:
    """Each rate is computed from all reductions: a file must not ask for 2^62."""
    schedule = PlateauLR(SGD([Parameter(np.zeros(1))], lr=1.0), factor=0.5, patience=0)
    for _ in range(40):
        schedule.end_epoch(1.0)
    assert schedule.reductions == 39
    assert schedule.last_lr == 2.0**-26  # the next one changes less than 1e-8
    state = schedule.state_dict() | {"reductions": 2**62}
    with pytest.raises(ValueError, match="reductions must be an int from 0 to 10000"):
        schedule.load_state_dict(state)
