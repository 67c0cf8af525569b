"""Chains of layers: names, state, modes, and the table of a summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet import load_model, save_model
from nplenet.backend import Array, Backend
from nplenet.cases import Case
from nplenet.gradcheck import check_layer
from nplenet.layers import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Parameter,
    ReLU,
    Residual,
    Sequential,
)
from nplenet.optim import SGD

KEYS = [
    "features.0.weight",
    "features.0.bias",
    "features.1.weight",
    "features.1.bias",
    "features.1.running_mean",
    "features.1.running_var",
    "features.1.num_batches_tracked",
    "head.1.weight",
]


def model(seed: int = 0) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(
        features=Sequential(Conv2d(1, 2, 3, rng=rng), BatchNorm2d(2), ReLU()),
        head=Sequential(Flatten(), Dense(8, 3, bias=False, rng=rng), Dropout(0.5, rng=rng)),
    )


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((5, 1, 4, 4)).astype(np.float32)


def trained() -> Sequential:
    chain = model()
    chain(images())
    return chain


# ------------------------------------------------------------------------------ errors

DENSE = "head.1 (Dense(8, 3, bias=False)): "


class Broken(Layer):
    """A layer whose errors come from NumPy, or have no message of one string."""

    def forward(self, x: Array) -> Array:
        if len(x) == 1:
            raise UnicodeDecodeError("ascii", b"x", 0, 1, "as it is")
        return np.ones(2) + np.ones(3)


def refusal(call: Callable[[], object], kind: type[Exception] = ValueError) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_an_error_in_forward_names_the_path_of_the_layer() -> None:
    text = refusal(lambda: model()(images()[:, :, :3]))
    assert text == (
        DENSE + "takes 8 channels or features on axis 1, got an input of shape (5, 4); if this "
        "input is right, make the layer with 4 in place of 8"
    )


def test_an_error_in_backward_names_the_path_of_the_layer() -> None:
    chain = model().eval()
    y = chain(images())
    chain[1][-1].backward(y)  # dropout has its backward, and the network asks for a second one
    assert refusal(lambda: chain.backward(y)) == (
        "head.2 (Dropout(p=0.5)): backward called without a matching forward: call forward once "
        "before each backward"
    )


@pytest.mark.parametrize("method", ["output_shape", "multiply_adds", "summary"])
def test_an_error_in_a_shape_names_the_path_of_the_layer(method: str) -> None:
    text = refusal(lambda: getattr(model(), method)((5, 1, 3, 4)))
    assert text.startswith(DENSE + "takes 8 channels or features on axis 1")


def test_the_check_of_a_network_names_its_class_alone() -> None:
    text = refusal(lambda: model()(images().astype(np.float16)), TypeError)
    assert text.startswith("Sequential: takes float32 or float64, got numpy float16 of shape")


def test_a_path_leads_through_nested_networks() -> None:
    deep = Sequential(ReLU(), Sequential(a=Sequential(ReLU(), Conv2d(3, 4, 5))))
    assert refusal(lambda: deep(images())).startswith("1.a.1 (Conv2d(3, 4, kernel_size=(5, 5),")


class Branching(Layer):
    """x + body(x), with the body where ``children`` finds it, or only its forward."""

    def __init__(self, body: Layer, *, hidden: bool = False) -> None:
        super().__init__()
        self.branch = body.forward
        if not hidden:
            self.body = body

    def forward(self, x: Array) -> Array:
        return x + self.branch(x)


def test_a_path_leads_through_a_layer_of_ones_own() -> None:
    deep = Sequential(ReLU(), block=Branching(Sequential(ReLU(), Conv2d(3, 3, 5))))
    assert [p.name for p in deep.parameters()] == ["block.body.1.weight", "block.body.1.bias"]
    text = refusal(lambda: Sequential(head=deep)(images()))
    assert text.startswith("head.block.body.1 (Conv2d(3, 3, kernel_size=(5, 5),")


def test_an_error_of_a_layer_that_its_owner_hides_names_the_owner() -> None:
    deep = Sequential(ReLU(), Branching(Sequential(Conv2d(3, 3, 5)), hidden=True))
    text = refusal(lambda: Sequential(head=deep)(images()))
    assert text.startswith("head.1 (Branching()): 0 (Conv2d(3, 3, kernel_size=(5, 5),")


def test_a_repr_that_fails_does_not_hide_the_error_of_its_layer() -> None:
    class Nameless(Broken):
        def __repr__(self) -> str:
            raise RuntimeError("no name")

    text = refusal(lambda: Sequential(Nameless())(images()))
    assert text.startswith("operands could not be broadcast together")


def test_an_error_raised_twice_names_its_layer_once() -> None:
    error = ValueError("always this one")

    class Fails(Layer):
        def forward(self, x: Array) -> Array:
            raise error

    chain = Sequential(ReLU(), Fails())
    for _ in range(2):
        assert refusal(lambda: chain(images())) == "1 (Fails()): always this one"


def test_an_error_of_numpy_in_a_layer_gets_its_path() -> None:
    text = refusal(lambda: Sequential(ReLU(), own=Broken())(images()))
    assert text.startswith("own (Broken()): operands could not be broadcast together")


def test_an_error_that_is_not_one_string_is_passed_on_as_it_is() -> None:
    text = refusal(lambda: Sequential(Broken())(images()[:1]), UnicodeDecodeError)
    assert text.startswith("'ascii' codec can't decode byte 0x78")


# ------------------------------------------------------------------------------ names


def test_parameters_are_named_by_their_path() -> None:
    assert [p.name for p in model().parameters()] == [
        *("features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"),
        "head.1.weight",
    ]


def test_the_state_has_parameters_and_buffers_layer_by_layer() -> None:
    assert list(model().state_dict()) == KEYS


def test_layers_are_reached_by_name_by_index_and_in_turn() -> None:
    chain = Sequential(ReLU(), Flatten(), last=Dropout())
    assert chain.last is chain[2] is chain[-1] is list(chain)[2]
    assert len(chain) == 3


def test_an_unknown_layer_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Sequential has no attribute or layer 'tail'"):
        _ = model().tail


def test_what_is_not_a_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="Sequential: 1 must be a Layer, got function"):
        Sequential(ReLU(), lambda x: x)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a.b", ".", "\n", "\x1b[2J", "\udce9"])
def test_a_name_that_no_path_can_show_is_refused(name: str) -> None:
    """With a dot, ``a.b.weight`` might be the weight of two layers, of which one would be lost."""
    with pytest.raises(ValueError, match="a name must be printable, without a dot, and not empty"):
        Sequential(**{name: ReLU()})


def test_a_layer_that_stands_twice_is_refused() -> None:
    relu = ReLU()
    with pytest.raises(ValueError, match="only once"):
        Sequential(relu, Flatten(), relu)


def test_repr_shows_the_nested_layers() -> None:
    text = repr(model())
    assert "features: Sequential(" in text
    assert "  0: Conv2d(1, 2, kernel_size=(3, 3)" in text


def test_a_layer_of_ones_own_finds_its_parts() -> None:
    class Scaled(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.scale = Parameter(np.ones(1))
            self.inner = Dense(2, 2)

        def forward(self, x: Array) -> Array:
            return self.inner(x) * self.scale.data

    layer = Scaled().eval()
    assert [p.name for p in layer.parameters()] == ["scale", "inner.weight", "inner.bias"]
    assert not layer.inner.training


# ------------------------------------------------------------------------------ lists of layers


class Ways(Layer):
    """Holds layers and a parameter in lists, tuples and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Dense(2, 2)
        self.ways = [self.first, Dense(2, 3), (Dropout(0.5), BatchNorm2d(2))]
        self.heads = {"left": [Dense(2, 1, bias=False)], 3: ReLU()}
        self.scales = [Parameter(np.ones(1, np.float32))]

    def forward(self, x: Array) -> Array:
        return self.remember(x)


def test_layers_in_lists_tuples_and_dicts_are_found() -> None:
    layer = Ways()
    paths = [path for path, _ in layer.modules()]
    assert paths == ["", "first.", "ways.1.", "ways.2.0.", "ways.2.1.", "heads.left.0.", "heads.3."]
    names = [p.name for p in layer.parameters()]
    assert names[0] == "scales.0"
    assert {"first.weight", "ways.1.bias", "heads.left.0.weight"} < set(names)
    assert "ways.2.1.running_mean" in layer.state_dict()
    layer.eval()
    assert not layer.ways[2][1].training  # type: ignore[index]
    layer.astype(np.float64)
    assert {p.data.dtype for p in layer.parameters()} == {np.dtype(np.float64)}
    other = Ways()
    other.load_state_dict(layer.state_dict())
    assert other.heads["left"][0].weight.data.tolist() == (  # type: ignore[index,attr-defined]
        layer.heads["left"][0].weight.data.tolist()  # type: ignore[index,attr-defined]
    )


def test_the_gradients_of_layers_in_a_list_are_checked() -> None:
    class Chained(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.body = [Dense(2, 3), Dropout(0.3), Dense(3, 2)]

        def forward(self, x: Array) -> Array:
            for layer in self.body:
                x = layer(x)
            return self.remember(x)

        def backward(self, dy: Array) -> Array:
            for layer in reversed(self.body):
                dy = layer.backward(dy)
            return dy

    report = check_layer(Chained(), np.ones((3, 2)))
    assert report.ok, report
    assert [(c.layer, c.tensor) for c in report.checks] == [
        ("Chained", "x"),
        *(("body.0 Dense", name) for name in ("weight", "bias")),
        *(("body.2 Dense", name) for name in ("weight", "bias")),
    ]


def test_layers_in_a_set_or_under_a_key_with_a_dot_are_refused() -> None:
    layer = Layer()
    layer.parts = {ReLU()}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="parts is a set with a Layer: use a list"):
        layer.parameters()
    layer.parts = {"a.b": ReLU()}  # type: ignore[attr-defined]
    with pytest.raises(
        ValueError, match=r"a key of parts must be printable, without a dot.*'a\.b'"
    ):
        layer.state_dict()


# ------------------------------------------------------------------------------ other layers


@pytest.mark.parametrize("how", ["attribute", "name", "position"])
def test_a_layer_put_in_the_place_of_another_replaces_it_everywhere(how: str) -> None:
    chain, head = model().eval(), Sequential(Flatten(), Dense(8, 26)).eval()
    if how == "attribute":
        chain.head = head
    else:
        chain["head" if how == "name" else -1] = head
    assert chain.head is chain["head"] is chain[1] is head
    x = images()
    np.testing.assert_array_equal(chain(x), head(chain.features(x)), strict=True)
    assert chain.backward(np.ones((5, 26), np.float32)).shape == x.shape
    assert chain.state_dict()["head.1.weight"].shape == (26, 8)
    assert [p.name for p in chain.parameters()][-2:] == ["head.1.weight", "head.1.bias"]
    assert chain.output_shape(x.shape) == (5, 26)
    assert "head: Sequential(\n    0: Flatten()\n    1: Dense(8, 26" in repr(chain)


def test_a_replaced_layer_is_saved(tmp_path: Path) -> None:
    chain = model()
    chain.head[1] = Dense(8, 26)  # type: ignore[index]
    save_model(chain, tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors")(images()).shape == (5, 26)


def test_a_layer_of_an_own_network_is_replaced_by_its_attribute() -> None:
    block = Residual(Dense(3, 3))
    block.body = Dense(3, 3, bias=False)
    assert list(block.state_dict()) == ["body.weight"]


def test_what_a_chain_would_not_run_is_refused_and_changes_nothing() -> None:
    chain = model()
    before = dict(chain.layers)
    for assign in (
        lambda: setattr(chain, "tail", ReLU()),
        lambda: setattr(chain, "more", [ReLU()]),
        lambda: chain.__setitem__("tail", ReLU()),
        lambda: chain.__setitem__(5, ReLU()),
        lambda: chain.__setitem__(slice(1), ReLU()),  # type: ignore[arg-type]
        lambda: setattr(chain, "head", "a head"),
        lambda: chain.__setitem__(0, chain.head),
        lambda: chain.append(lambda x: x),  # type: ignore[arg-type]
    ):
        with pytest.raises((TypeError, KeyError, IndexError, ValueError)):
            assign()
        assert chain.layers == before
        assert vars(chain).keys() == vars(model()).keys()
    with pytest.raises(TypeError, match=r"would not run the new layer tail; add it with append"):
        chain.tail = ReLU()
    with pytest.raises(TypeError, match=r"Sequential: head must be a Layer, got str"):
        chain.head = "a head"  # type: ignore[assignment]


def test_a_network_with_a_forward_of_its_own_may_have_layers_beside_its_chain() -> None:
    class Scaled(Sequential):
        def __init__(self) -> None:
            super().__init__(Dense(2, 2))
            self.gate = Dense(2, 2, bias=False)

        def forward(self, x: Array) -> Array:
            return super().forward(x) * self.gate(x)

    assert list(Scaled().state_dict()) == ["0.weight", "0.bias", "gate.weight"]


def test_a_slice_is_a_chain_of_the_same_layers() -> None:
    chain = Sequential(ReLU(), Flatten(), last=Dense(4, 2))
    first, rest = chain[:2], chain[1:]
    assert isinstance(first, Sequential)
    assert [first[0], first[1]] == [chain[0], chain[1]]
    assert list(rest.state_dict()) == ["last.weight", "last.bias"]
    assert list(rest.layers) == ["1", "last"]
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(rest(first(x)), chain(x), strict=True)
    assert rest.last is chain.last
    del first.layers["0"]
    assert len(chain) == 3


def test_a_slice_of_a_moved_model_is_on_its_backend(backend: Backend) -> None:
    chain = model().to(backend)
    x = backend.asarray(images())
    assert chain[:1](x).shape == (5, 2, 2, 2)
    assert not model().eval()[:1].training


def test_append_names_a_layer_by_its_position() -> None:
    chain = Sequential(Flatten())
    assert chain.append(ReLU()).append(Dense(3, 2)) is chain
    assert list(chain.layers) == ["0", "1", "2"]
    part = chain[1:].append(ReLU())  # "2" is taken
    assert list(part.layers) == ["1", "2", "3"]
    with pytest.raises(ValueError, match="only once"):
        chain.append(chain[0])


def test_a_layer_named_like_a_method_is_reached_by_its_name() -> None:
    chain = Sequential(train=ReLU())
    chain.train(False)
    assert not chain["train"].training
    chain["train"] = Flatten()
    assert isinstance(chain["train"], Flatten)


# ------------------------------------------------------------------------------ forward, backward


def test_forward_runs_in_order_and_backward_in_reverse() -> None:
    chain = model().eval()
    x = images()
    y = x
    for layer in [*chain[0], *chain[1]]:  # type: ignore[misc]
        y = layer(y)
    np.testing.assert_array_equal(chain(x), y, strict=True)
    dx = chain.backward(np.ones_like(y))
    assert dx.shape == x.shape


def test_train_and_eval_reach_every_layer() -> None:
    chain = model()
    assert chain.eval() is chain
    assert [layer.training for _, layer in chain.modules()] == [False] * 9
    chain.train()
    assert [layer.training for _, layer in chain.modules()] == [True] * 9


# ------------------------------------------------------------------------------ state


def test_the_state_makes_another_model_equal() -> None:
    source, copy = trained(), model(seed=1)
    copy.load_state_dict(source.state_dict())
    x = images(3)
    np.testing.assert_array_equal(copy.eval()(x), source.eval()(x), strict=True)
    assert copy.state_dict()["features.1.num_batches_tracked"] == 1


def test_the_state_is_a_copy() -> None:
    chain = trained()
    state = chain.state_dict()
    for array in state.values():
        array[...] = 77
    assert all((array != 77).any() for array in chain.state_dict().values())


def test_loading_copies_into_the_same_arrays() -> None:
    chain = model()
    before = [p.data for p in chain.parameters()]
    chain.load_state_dict(trained().state_dict())
    assert all(p.data is array for p, array in zip(chain.parameters(), before, strict=True))


def test_loading_converts_float64_to_the_model() -> None:
    chain = model()
    state = {
        k: v.astype(np.float64) if v.dtype.kind == "f" else v
        for k, v in trained().state_dict().items()
    }
    chain.load_state_dict(state)
    assert {p.data.dtype for p in chain.parameters()} == {np.dtype(np.float32)}


def without(state: dict[str, Any]) -> None:
    del state["head.1.weight"]


def beyond(state: dict[str, Any]) -> None:
    state["head.9.weight"] = np.zeros(1)


def reshaped(state: dict[str, Any]) -> None:
    state["head.1.weight"] = state["head.1.weight"].T


def complex_(state: dict[str, Any]) -> None:
    state["head.1.weight"] = state["head.1.weight"] * 1j


def fractional_count(state: dict[str, Any]) -> None:
    state["features.1.num_batches_tracked"] = np.array(1.5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without, r"missing \['head.1.weight'\], unknown nothing"),
        (beyond, r"missing nothing, unknown \['head.9.weight'\]"),
        (reshaped, r"head.1.weight is float32 \(8, 3\), expected float32 \(3, 8\)"),
        (complex_, r"head.1.weight is complex64 \(3, 8\), expected float32"),
        (fractional_count, r"features.1.num_batches_tracked is float64 \(\), expected int64 \(\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(spoil: Any, message: str) -> None:
    chain, state = model(), trained().state_dict()
    spoil(state)
    before = chain.state_dict()
    with pytest.raises(ValueError, match=rf"Sequential.load_state_dict: {message}"):
        chain.load_state_dict(state)
    assert all(np.array_equal(a, before[k]) for k, a in chain.state_dict().items())


# ------------------------------------------------------------------------------ converting


def test_astype_converts_parameters_gradients_and_float_buffers() -> None:
    chain = trained()
    assert chain.astype(np.float64) is chain
    state = chain.state_dict()
    assert state.pop("features.1.num_batches_tracked").dtype == np.int64
    assert {a.dtype for a in state.values()} == {np.dtype(np.float64)}
    assert {p.grad.dtype for p in chain.parameters()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_astype_refuses_what_layers_cannot_compute_in(dtype: type) -> None:
    with pytest.raises(ValueError, match="computes in float32 or float64, not in"):
        Dense(2, 2).astype(dtype)


def test_after_astype_a_backward_needs_a_new_forward() -> None:
    layer = Dense(2, 2)
    layer(np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match="call forward once"):
        layer.astype(np.float64).backward(np.ones((1, 2)))


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown backend 'tpu', expected 'numpy' or 'cupy'"):
        Dense(2, 2).to("tpu")


# ------------------------------------------------------------------------------ summary


def test_the_summary_lists_shapes_parameters_and_multiply_adds() -> None:
    lines = model().summary((5, 1, 4, 4)).splitlines()
    cells = [line.replace(", ", ",").split() for line in lines]
    assert cells[0] == ["layer", "output", "shape", "parameters", "multiply-adds"]
    assert set(lines[1]) == set(lines[-2]) == {"-"}
    assert cells[2:-2] == [
        ["features.0", "Conv2d", "(5,2,2,2)", "20", "360"],
        ["features.1", "BatchNorm2d", "(5,2,2,2)", "4", "0"],
        ["features.2", "ReLU", "(5,2,2,2)", "0", "0"],
        ["head.0", "Flatten", "(5,8)", "0", "0"],
        ["head.1", "Dense", "(5,3)", "24", "120"],
        ["head.2", "Dropout", "(5,3)", "0", "0"],
    ]
    assert cells[-1] == ["total", "(5,3)", "48", "480"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("case", cases_of("sequential"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)


class Counts(Layer):
    """Counts in a number, where an array belongs."""

    buffers = ("seen",)

    def __init__(self, seen: object) -> None:
        super().__init__()
        self.seen = seen


@pytest.mark.parametrize("seen", [0, 0.5, [0.0], None])
def test_a_buffer_that_is_no_array_is_refused_before_it_is_saved(seen: object) -> None:
    # It was saved, and only loading it failed: a run could not be resumed.
    chain = Sequential(Counts(seen))
    for call in (chain.state_dict, lambda: chain.astype(np.float64), lambda: chain.to("numpy")):
        with pytest.raises(TypeError, match=r"Counts\(\): its buffer seen must be an array, got"):
            call()
    chain[0].seen = np.zeros(())
    chain.load_state_dict({"0.seen": np.array(3.0)})
    assert chain[0].seen == 3.0


@pytest.mark.parametrize("kind", ["layers", "optimizer"])
def test_a_state_of_masked_arrays_is_refused(kind: str) -> None:
    model = Sequential(Dense(2, 2))
    subject: Any = model if kind == "layers" else SGD(model.parameters(), 0.1, momentum=0.5)
    state = subject.state_dict()
    key = next(name for name, value in state.items() if np.ndim(value) == 2)
    state[key] = np.ma.masked_array(state[key], mask=state[key] == 0)
    with pytest.raises(TypeError, match=rf"load_state_dict: {key} must not be masked"):
        subject.load_state_dict(state)
