"""An attribute that is assigned is a setting that counts, and is checked, or it is refused."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from nplenet import augment, layers, optim, schedules
from nplenet.augment import Compose, RandomInvert, ToFloat, fuse
from nplenet.backend import get_backend
from nplenet.data import DataLoader, DeviceLoader
from nplenet.layers import Parameter
from nplenet.losses import CrossEntropyLoss

X = np.arange(6 * 16, dtype=np.uint8).reshape(6, 1, 4, 4)
Y = np.arange(6) % 3


def sgd(**more: Any) -> optim.SGD:
    return optim.SGD([Parameter(np.ones(2), "w")], lr=0.5, **more)


def on_device() -> DeviceLoader:
    transform = Compose([RandomInvert(), ToFloat()])
    pipeline = fuse(transform)
    assert pipeline is not None
    loader = DataLoader(X, Y, 2, transform=transform, transform_rng=0)
    return DeviceLoader(loader, pipeline, get_backend("numpy"))


def adam() -> optim.Adam:
    return optim.Adam([Parameter(np.ones(2))])


OBJECTS: dict[str, Any] = {
    "SGD": sgd,
    "Adam": adam,
    "AdamW": lambda: optim.AdamW([Parameter(np.ones(2))]),
    "RMSprop": lambda: optim.RMSprop([Parameter(np.ones(2))]),
    "StepLR": lambda: schedules.StepLR(sgd(), 2),
    "CosineLR": lambda: schedules.CosineLR(sgd(), 2),
    "ExponentialLR": lambda: schedules.ExponentialLR(sgd(), 0.5),
    "WarmUpLR": lambda: schedules.WarmUpLR(sgd(), 2),
    "OneCycleLR": lambda: schedules.OneCycleLR(sgd(), 0.4, 10),
    "PlateauLR": lambda: schedules.PlateauLR(sgd()),
    "CrossEntropyLoss": CrossEntropyLoss,
    "DataLoader": lambda: DataLoader(X, Y, 2),
    "DeviceLoader": on_device,
    "RandomRotation": lambda: augment.RandomRotation(15, fill=3),
    "RandomAffine": lambda: augment.RandomAffine(15, (0.1, 0), (0.9, 1.1), (-3, 3)),
    "RandomInvert": RandomInvert,
    "RandomGrayscale": augment.RandomGrayscale,
    "ToFloat": ToFloat,
    "Normalize": lambda: augment.Normalize((0.1, 0.2), 0.3),
    "Compose": lambda: Compose([RandomInvert(), ToFloat()]),
}


def test_each_class_of_the_library_with_settings_is_in_the_table() -> None:
    names = {*optim.__all__, *schedules.__all__} - {"Optimizer", "Schedule"}
    kinds = {name for name in names if name.endswith("LR") or name[0] in "SAR"}
    transforms = {name for name in augment.__all__ if isinstance(getattr(augment, name), type)}
    transforms -= {"AffineMaps", "Draws", "FusedPipeline", "UnknownPreprocessing"}
    transforms -= {"Transform"}  # a type of functions, which Python 3.10 takes for a class
    others = {"CrossEntropyLoss", "DataLoader", "DeviceLoader"}
    assert OBJECTS.keys() == kinds | transforms | others


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_name_that_nothing_reads_is_refused(kind: str) -> None:
    thing = OBJECTS[kind]()
    before = dict(vars(thing))
    with pytest.raises(AttributeError, match=f"{kind} has no attribute 'speed'"):
        thing.speed = 1.0
    assert vars(thing) == before
    thing._note = "mine"


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("Adam", "momentum", "'momentum'; write betas, of which the first is the momentum"),
        ("AdamW", "nesterov", "AdamW has no attribute 'nesterov'"),
        ("SGD", "betas", "SGD has no attribute 'betas'"),
        ("SGD", "learning_rate", "'learning_rate'; write lr"),
        ("StepLR", "lr", "'lr'; write last_lr to read, base_lr to change it"),
        ("StepLR", "T_max", "StepLR has no attribute 'T_max'"),
        ("WarmUpLR", "after", "WarmUpLR has no attribute 'after'"),
        ("CrossEntropyLoss", "smoothing", "CrossEntropyLoss has no attribute 'smoothing'"),
        ("DataLoader", "num_workers", "'num_workers'; write prefetch"),
        ("DeviceLoader", "prefetch", "DeviceLoader has no attribute 'prefetch'"),
        ("DeviceLoader", "images", "DeviceLoader: images is read once"),
        ("DeviceLoader", "transform", "DeviceLoader: transform is read once"),
    ],
)
def test_a_setting_of_another_class_is_refused(kind: str, name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=words):
        setattr(OBJECTS[kind](), name, 0.5)


@pytest.mark.parametrize("kind", OBJECTS)
def test_each_setting_takes_its_own_value_and_refuses_another_type(kind: str) -> None:
    thing = OBJECTS[kind]()
    settings = getattr(type(thing), "hyper_parameters", type(thing).settings)
    assert settings
    for name in settings:
        if name in thing.read_once:
            continue
        setattr(thing, name, getattr(thing, name))
        before = getattr(thing, name)
        with pytest.raises((TypeError, ValueError), match=f"{kind}: {name}"):
            setattr(thing, name, "no")
        assert getattr(thing, name) is before


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("SGD", "nesterov", "False"),
        ("OneCycleLR", "cycle_momentum", "no"),
        ("OneCycleLR", "three_phase", 2),
        ("StepLR", "gamma", -1.0),
        ("PlateauLR", "patience", 1.5),
        ("StepLR", "base_lr", "0.1"),
        ("CrossEntropyLoss", "reduction", "average"),
        ("DataLoader", "batch_size", 0),
        ("DataLoader", "batch_size", 2.5),
        ("DataLoader", "shuffle", "False"),
        ("DataLoader", "prefetch", -1),
        ("DataLoader", "images", X.tolist()),
        ("DataLoader", "labels", Y.astype(np.float64)),
        ("DeviceLoader", "batch_size", 0),
        ("RandomRotation", "degrees", -1),
        ("RandomRotation", "fill", 256),
        ("RandomAffine", "translate", (0.0, 1.5)),
        ("RandomAffine", "scale", (1.1, 0.9)),
        ("RandomAffine", "shear", 90),
        ("RandomInvert", "p", 1.5),
        ("RandomGrayscale", "p", -0.5),
        ("ToFloat", "dtype", np.uint8),
        ("Normalize", "std", 0.0),
        ("Compose", "transforms", [RandomInvert]),
    ],
)
def test_a_value_out_of_range_is_refused_wherever_it_comes_from(
    kind: str, name: str, value: Any
) -> None:
    thing = OBJECTS[kind]()
    with pytest.raises((TypeError, ValueError), match=f"{kind}: {name}"):
        setattr(thing, name, value)
    if name != "base_lr" and kind != "DeviceLoader":
        needed = {"OneCycleLR": (sgd(), 0.4, 10), "StepLR": (sgd(), 2), "PlateauLR": (sgd(),)}
        needed |= {"Normalize": (0.5,)}
        more = {
            "DataLoader": {"images": X, "labels": Y, "batch_size": 2},
            "RandomRotation": {"degrees": 15},
            "RandomAffine": {"degrees": 15},
        }.get(kind, {})
        arguments = needed.get(kind, ([Parameter(np.ones(2))],) if kind == "SGD" else ())
        with pytest.raises((TypeError, ValueError), match=f"{kind}: {name}"):
            type(thing)(*arguments, **{**more, name: value})


def test_the_settings_of_a_loader_are_checked_together_at_the_next_epoch() -> None:
    loader = DataLoader(X, Y, 2)
    loader.shuffle = True  # silently without effect before
    with pytest.raises(ValueError, match="DataLoader: shuffle needs a generator"):
        list(loader)
    loader.rng = 0  # type: ignore[assignment]  # a seed
    found = [y.tolist() for _, y in loader]
    assert found == [y.tolist() for _, y in DataLoader(X, Y, 2, shuffle=True, rng=0)]
    loader.labels = np.append(Y, 1)
    with pytest.raises(ValueError, match="got 6 images but 7 labels"):
        list(loader)
    loader.labels, loader.batch_size, loader.drop_last = Y, 7, True
    with pytest.raises(ValueError, match="drop_last leaves no batch"):
        list(loader)


def test_a_base_rate_that_is_assigned_counts_from_the_next_step_for_all_groups() -> None:
    groups = [{"params": [Parameter(np.ones(2), "a")]}, {"params": [Parameter(np.ones(2), "b")]}]
    optimizer = optim.SGD(groups, lr=0.5)
    schedule = schedules.StepLR(optimizer, 2, gamma=0.5)
    schedule.base_lr = 0.25
    assert optimizer.lr == 0.5
    schedule.step()
    assert [group.lr for group in optimizer.param_groups] == [0.25, 0.25]
    schedule.step()
    assert [group.lr for group in optimizer.param_groups] == [0.125, 0.125]
    again = schedules.StepLR(optimizer, 2, gamma=0.5)
    again.load_state_dict(schedule.state_dict())
    assert (again.base_lr, again.base_lrs) == (0.25, [0.25, 0.25])


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2d(2, 4, (3, 2), (2, 1), 1, dilation=2),
        layers.AvgPool2d((3, 2), (2, 1), 1),
        layers.MaxPool2d((3, 2), (2, 1), 1, dilation=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_shows_its_window_and_keeps_it(layer: Any) -> None:
    given = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 1)}
    for name, value in given.items():
        assert getattr(layer, name) == value
        with pytest.raises(AttributeError, match=name if sys.version_info >= (3, 11) else "set"):
            setattr(layer, name, 4)
    assert layer.dilation == ((1, 1) if isinstance(layer, layers.AvgPool2d) else (2, 2))


def test_a_class_of_ones_own_may_have_any_attributes() -> None:
    class Mine(optim.SGD):
        def __init__(self, params: Any) -> None:
            self.name = "mine"
            super().__init__(params, lr=0.1)
            self.history: list[float] = []

    class Strided(layers.Conv2d):
        def __init__(self) -> None:
            super().__init__(1, 1, 3)
            self.steps = 1

    mine = Mine([Parameter(np.ones(2))])
    mine.extra = 1.0
    assert (mine.name, mine.extra, Strided().steps) == ("mine", 1.0, 1)
    with pytest.raises(ValueError, match="Mine: lr must be a number"):
        mine.lr = -1.0


SETTINGS: list[tuple[Any, str, Any, list[Any]]] = [
    (lambda: layers.BatchNorm2d(4), "eps", 0.5, [-1.0, np.nan, None, "1"]),
    (lambda: layers.BatchNorm1d(4), "momentum", None, [-0.5, 7, np.nan, "1"]),
    (lambda: layers.GroupNorm(2, 4), "eps", np.float32(0.5), [-1.0, np.nan, None]),
    (lambda: layers.GroupNorm(2, 4), "num_groups", np.int64(4), [0, 1.5, None]),
    (lambda: layers.LayerNorm(4), "eps", 1, [-1.0, np.nan, None]),
    (lambda: layers.AvgPool2d(3, 1, 1), "count_include_pad", np.False_, ["no", 0, None]),
    (layers.LeakyReLU, "negative_slope", -0.5, [np.nan, np.inf, None, "1"]),
    (layers.GELU, "approximate", "tanh", ["fast", None, 1]),
    (layers.Softmax, "dim", -1, [1.5, 65, None]),
]
SIZES = [
    (lambda: layers.Conv2d(4, 2, 3, groups=2), ("in_channels", "out_channels", "groups")),
    (lambda: layers.Dense(4, 2), ("in_features", "out_features")),
    (lambda: layers.BatchNorm2d(4), ("num_features",)),
    (lambda: layers.GroupNorm(2, 4), ("num_channels", "affine")),
    (lambda: layers.LayerNorm(4), ("normalized_shape",)),
]


@pytest.mark.parametrize(("make", "name", "good", "bad"), SETTINGS, ids=lambda v: str(v)[:20])
def test_a_setting_of_a_layer_is_checked_wherever_it_is_assigned(
    make: Any, name: str, good: Any, bad: list[Any]
) -> None:
    layer = make()
    for value in bad:
        with pytest.raises((TypeError, ValueError), match=f"{type(layer).__name__}: {name} must"):
            setattr(layer, name, value)
    setattr(layer, name, good)
    assert getattr(layer, name) == layer.arguments()[name] == good
    assert not isinstance(getattr(layer, name), np.generic)
    assert type(layer)(**layer.arguments()).arguments() == layer.arguments()  # a file can hold it


@pytest.mark.parametrize(("make", "names"), SIZES, ids=lambda v: str(v)[:20])
def test_the_sizes_of_a_layer_are_those_of_its_parameters(make: Any, names: tuple[str]) -> None:
    # An assigned size changed nothing but what was saved: no file could hold the model any more.
    layer = make()
    before = layer.arguments()
    for name in names:
        with pytest.raises(AttributeError, match=rf"\w: {name} is read once, when it is made"):
            setattr(layer, name, before[name])
    assert layer.arguments() == before
