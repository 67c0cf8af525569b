"""What a step promises besides its numbers: memory, bits, errors, sharing, and the fall-back."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from nplenet.augment import ToFloat
from nplenet.compiled import CompiledStep, Step, TextbookStep, Tunables, compile
from nplenet.compiled.cpu.chunks import Cutting
from nplenet.compiled.cpu.lanes.fused import BatchNormReLUAvgPoolLanes
from nplenet.compiled.cpu.tuning import MinImages
from nplenet.compiled.operation import Buffer
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Layer, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam

N = 40
X = np.random.default_rng(0).standard_normal((N, 1, 32, 32), np.float32)
Y = np.random.default_rng(1).integers(0, 10, N)


def lenet_step(model: Layer | None = None, batch_size: int = N, **options: Any) -> CompiledStep:
    model = model or LeNet5(seed=0)
    options = {"tunables": {"lanes": 16}} | options
    step = compile(model, CrossEntropyLoss(), Adam(model.parameters()), batch_size, **options)
    assert isinstance(step, CompiledStep), step.describe()
    return step


def state_bytes(step: Step) -> bytes:
    return b"".join(array.tobytes() for array in step.model.state_dict().values())


# ------------------------------------------------------------------------------ bits and memory


def test_two_runs_give_the_same_bits() -> None:
    steps = [lenet_step() for _ in range(2)]
    losses = [[step(X, Y).tobytes() for _ in range(3)] for step in steps]
    assert losses[0] == losses[1]
    assert state_bytes(steps[0]) == state_bytes(steps[1])


def test_the_number_of_blas_threads_does_not_change_the_bits() -> None:
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            step = lenet_step()
            step(X, Y)
            found.append(state_bytes(step))
    assert found[0] == found[1]


def test_a_step_makes_no_array_once_it_has_run() -> None:
    few_buffers = {"lanes": 32, "buffer_size": 64}  # the ufuncs' own buffers: 768 bytes
    step = lenet_step(LeNet5(seed=0, dropout=0.0), tunables=few_buffers)
    for n in (N, 7, N, 7):
        step(X[:n], Y[:n])
    tracemalloc.start()
    try:
        for n in (N, 7):
            step.gradients(X[:n], Y[:n])
            step.optimizer.step()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The statistics of a few channels and the meeting of the threads are less; an array of the
    # smallest layer takes 11 kB a chunk.
    assert peak < 10_000


def test_dropout_makes_only_its_random_words() -> None:
    step = lenet_step(tunables={"buffer_size": 64})
    step(X, Y)
    tracemalloc.start()
    try:
        step(X, Y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < N * 120 * 5 + 8_000  # 4 bytes for each number, and one for what they decide


def test_the_arena_holds_a_batch_in_less_than_64_kb_an_image() -> None:
    prepared = lenet_step(batch_size=256, tunables={}).prepare(image_shape=(1, 32, 32))
    assert prepared.arena.size / 256 < 64e3


@pytest.mark.parametrize("tile_channels", [0, 8])
def test_the_mean_of_a_window_without_an_active_pixel_is_exactly_zero(tile_channels: int) -> None:
    """Were it 1e-9, Adam would make whole steps of the gradients behind it."""
    step = lenet_step(tunables={"lanes": 16, "threads": 1, "tile_channels": tile_channels})
    prepared = step.prepare(image_shape=X.shape[1:])
    for _ in range(3):  # then the biases are not zero
        step(X, Y)
    fused = [o for o in prepared.operations if isinstance(o, BatchNormReLUAvgPoolLanes)]
    assert len(fused) == 2
    for operation in fused:
        for chunk in prepared.chunks(N, features=False):
            inactive = chunk[operation.y][chunk[operation.count] == 0]
            assert len(inactive)
            assert not inactive.any()


def test_a_dropout_of_everything_leaves_the_biases() -> None:
    step = lenet_step(LeNet5(seed=0, dropout=1.0))
    step.gradients(X, Y)
    weights = [p.grad for p in step.model.parameters() if p.data.ndim > 1]
    assert not any(grad.any() for grad in weights)
    assert step.model.parameters()[-1].grad.any()


def test_blas_threads_and_ufunc_buffer_are_as_before() -> None:
    step = lenet_step()
    with threadpool_limits(2, user_api="blas"):
        before = [pool["num_threads"] for pool in threadpool_info()], np.getbufsize()
        step(X, Y)
        with pytest.raises(ValueError, match="label"):
            step(X, Y + 10)
        assert ([pool["num_threads"] for pool in threadpool_info()], np.getbufsize()) == before


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("lanes", "feature_lanes"), [(32, 256), (64, 64), (48, 16), (1, 1)])
@pytest.mark.parametrize("min_images", [MinImages(16, 16), MinImages(8, 16)])
def test_a_smaller_batch_has_no_more_and_no_larger_chunks_than_there_is_room_for(
    threads: int, lanes: int, feature_lanes: int, min_images: MinImages
) -> None:
    tunables = Tunables(threads=threads, lanes=lanes, feature_lanes=feature_lanes)
    for batch_size in [*range(1, 70), 100, 128, 257, 1000]:
        cutting = Cutting(batch_size, tunables, min_images)
        for images in {*range(1, min(batch_size, 70)), batch_size // 2 + 1, batch_size}:
            cut = cutting.division(images)
            assert cut.workers <= cutting.capacity.workers
            assert cut.feature_lanes % cut.lanes == 0
            for features in (False, True):
                chunks = cutting.chunks(
                    images, features=features, array_of=lambda value, chunk: np.empty(0)
                )
                assert sum(chunk.lanes for chunk in chunks) == images
                assert max(chunk.lanes for chunk in chunks) <= cutting.capacity.lanes_of(features)
                assert len(chunks) <= cutting.copies(Buffer(features, scratch=False))
                workers = 1 if cut.one_worker_for_features and features else cut.workers
                assert {chunk.worker for chunk in chunks} == set(range(workers))


# ------------------------------------------------------------------------------ input


def test_uint8_images_are_divided_by_255_as_to_float_does_it() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, X.shape, np.uint8)
    steps = [lenet_step() for _ in range(2)]
    assert steps[0](pixels, Y) == steps[1](ToFloat()(pixels), Y)
    assert state_bytes(steps[0]) == state_bytes(steps[1])
    logits = [steps[0].predict(pixels), steps[1].predict(ToFloat()(pixels))]
    np.testing.assert_array_equal(*logits)


def test_images_in_any_memory_order_and_float64_give_the_same() -> None:
    values = [lenet_step()(x, Y) for x in (X, np.asfortranarray(X), X.astype(float), X[::-1][::-1])]
    assert len(set(values)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # inf - inf, as in the layers
def test_one_image_that_is_not_finite_shows_in_the_loss(bad: float) -> None:
    x = X.copy()
    x[17, 0, 9, 9] = bad
    assert not np.isfinite(lenet_step()(x, Y))
    model = Sequential(Conv2d(1, 2, 5), ReLU(), Flatten(), Dense(2 * 28 * 28, 10))
    assert np.isnan(lenet_step(model)(np.where(np.isfinite(x), x, np.nan), Y))
    assert not np.isfinite(lenet_step(model).predict(x)[17]).all()


# ------------------------------------------------------------------------------ sharing


def test_the_model_sees_updates_and_the_step_sees_loaded_weights() -> None:
    step = lenet_step()
    initial = step.model.state_dict()
    step(X, Y)
    assert (step.model.state_dict()["features.0.weight"] != initial["features.0.weight"]).any()
    assert step.model.state_dict()["features.1.num_batches_tracked"] == 1
    other = LeNet5(seed=5)
    step.model.load_state_dict(other.state_dict())
    np.testing.assert_allclose(step.predict(X), other.eval()(X), rtol=0, atol=1e-5)


def test_gradients_leaves_the_update_to_the_caller() -> None:
    whole, halves = lenet_step(), lenet_step()
    before = state_bytes(whole)
    value = halves.gradients(X, Y)
    weights = [p.data.tobytes() for p in halves.model.parameters()]
    assert all(weight in before for weight in weights)
    halves.optimizer.step()
    assert whole(X, Y) == value
    assert state_bytes(whole) == state_bytes(halves)


def test_a_learning_rate_changed_between_steps_counts() -> None:
    step = lenet_step()
    step(X, Y)
    step.optimizer.lr = 0.0
    weights = [p.data.copy() for p in step.model.parameters()]
    step(X, Y)
    for p, before in zip(step.model.parameters(), weights, strict=True):
        np.testing.assert_array_equal(p.data, before)


def test_parameters_of_others_get_gradients_of_zero() -> None:
    model, other = LeNet5(seed=0), Dense(2, 2)
    other.weight.grad[...] = 1.0
    optimizer = SGD([*model.parameters(), *other.parameters()])
    other.weight.grad[...] = 1.0
    compile(model, CrossEntropyLoss(), optimizer, N, tunables={})(X, Y)
    assert not other.weight.grad.any()


@pytest.mark.parametrize(
    "change",
    [lambda model: model.astype(np.float64), lambda model: SGD(model.parameters())],
    ids=["converted", "another-optimizer"],
)
def test_a_model_whose_arrays_were_replaced_is_refused(change: Any) -> None:
    step = lenet_step()
    step(X, Y)
    change(step.model)
    with pytest.raises(ValueError, match="compile it again"):
        step(X, Y)
    with pytest.raises(ValueError, match="compile it again"):
        step.predict(X)


def test_predict_leaves_modes_and_running_statistics_alone() -> None:
    step = lenet_step()
    step(X, Y)
    before = state_bytes(step)
    step.predict(X)
    assert all(layer.training for _, layer in step.model.modules())
    assert state_bytes(step) == before


def test_predict_takes_any_number_of_images() -> None:
    step = lenet_step()
    whole = step.predict(X)
    for n in (0, 1, 15, 16, 33):
        np.testing.assert_allclose(step.predict(X[:n]), whole[:n], rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X, np.where(np.arange(N) == 3, 10, Y), ValueError, r"label 10 of sample 3 .* 0\.\.9"),
        (X, np.where(np.arange(N) == 3, -1, Y), ValueError, r"label -1 of sample 3 .* 0\.\.9"),
        (X, Y.astype(float), TypeError, "targets must be"),
        (X, Y.tolist(), TypeError, "targets must be"),
        (X, Y[:-1], ValueError, "one target for each of 40 images"),
        (X[:0], Y[:0], ValueError, "takes 1 to 40 images, got 0"),
        (np.concatenate([X, X]), np.concatenate([Y, Y]), ValueError, "takes 1 to 40 images"),
        (X.astype(np.float16), Y, TypeError, "float32, float64 or uint8, got float16"),
        (X.tolist(), Y, TypeError, "got list"),
        (X[:, :, :, 0], Y, ValueError, r"Conv2d\(.*takes an input of 4 axes"),
        (X[:, :, :20], Y, ValueError, r"^classifier\.1 \(Dense\(.*takes 400 channels or features"),
        (X[:, [0, 0]], Y, ValueError, r"^features\.0 \(Conv2d\(.*takes 1 channels"),
        (X[:, 0, 0, 0], Y, ValueError, "takes a batch of images"),
    ],
)
def test_bad_input_is_refused_and_a_good_step_can_follow(
    x: Any, y: Any, error: type[Exception], message: str
) -> None:
    step = lenet_step()
    before = state_bytes(step)
    with pytest.raises(error, match=message):
        step(x, y)
    assert state_bytes(step) == before
    assert step(X, Y) == lenet_step()(X, Y)


def test_batch_norm_refuses_a_single_number_a_channel() -> None:
    model = Sequential(Flatten(), Dense(4, 3), Dense(3, 3))
    tiny = Sequential(Conv2d(1, 2, 2), BatchNorm2d(2), Flatten(), Dense(2, 3))
    step = lenet_step(tiny)
    with pytest.raises(ValueError, match="needs more than one value per channel"):
        step(X[:1, :, :2, :2], Y[:1] % 3)
    lenet_step(model)(X[:1, :, :2, :2], Y[:1] % 3)


def test_an_output_that_is_no_row_of_logits_is_refused_but_can_be_predicted() -> None:
    step = lenet_step(Sequential(Conv2d(1, 2, 3)))
    with pytest.raises(ValueError, match=r"model's output is \(N, 2, 30, 30\)"):
        step(X, Y)
    assert step.predict(X).shape == (N, 2, 30, 30)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_a_batch_size_that_is_no_count_is_refused(batch_size: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="batch_size"):
        lenet_step(batch_size=batch_size)


@pytest.mark.parametrize(
    ("tunables", "message"),
    [
        ({"lane": 3}, r"unknown \['lane'\]"),
        ({"lanes": 0}, "lanes must be an int from 1 to 4096"),
        ({"gemm_limit": -5}, "gemm_limit must be an int from 1 to 10"),
        ({"buffer_size": 100}, "buffer_size must be a multiple of 16"),
    ],
)
def test_tunables_that_cannot_be_are_refused(tunables: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lenet_step(tunables=tunables)


# ------------------------------------------------------------------------------ fall-back


class Doubling(Layer):
    def forward(self, x: Any) -> Any:
        return self.remember(2 * x)

    def backward(self, dy: Any) -> Any:
        self.recall(dy)
        return 2 * dy


class BatchMean(Layer):
    """Takes off the mean of the batch, so that it needs all images at once."""

    def forward(self, x: Any) -> Any:
        return self.remember(x - x.mean(axis=0) if self.training else x)

    def backward(self, dy: Any) -> Any:
        self.recall(dy)
        return dy - dy.mean(axis=0)


class Unflatten(Layer):
    def forward(self, x: Any) -> Any:
        return self.remember(x.reshape(len(x), 1, 32, 32))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], 1, 32, 32)


class OwnNetwork(Sequential):
    def forward(self, x: Any) -> Any:
        return super().forward(x)


class OwnLoss(CrossEntropyLoss):
    pass


def mixed() -> Layer:
    return Sequential(Flatten(), Dense(1024, 8, dtype=np.float64), Dense(8, 10))


FALLBACKS: dict[str, tuple[Layer, CrossEntropyLoss, str]] = {
    "own-network": (
        Sequential(OwnNetwork(Flatten(), Dense(1024, 10))),
        CrossEntropyLoss(),
        "none of its layers has a compiled form: OwnNetwork",
    ),
    "losses-apart": (
        Sequential(Flatten(), Dense(1024, 10)),
        CrossEntropyLoss("none"),
        "the loss stays apart for each image (reduction='none')",
    ),
    "own-loss": (LeNet5(seed=0), OwnLoss(), "only CrossEntropyLoss is compiled, not OwnLoss"),
    "mixed": (mixed(), CrossEntropyLoss(), "'float32', 'float64'"),
}


def with_own_layers() -> Layer:
    rng = np.random.default_rng(0)
    first = Sequential(Doubling(), Conv2d(1, 4, 5, stride=3, rng=rng), BatchMean())
    return Sequential(
        first,
        Conv2d(4, 4, 3, groups=2, dilation=2, rng=rng),
        ReLU(),
        Dropout(0.3, rng=rng),
        Flatten(),
        Doubling(),
        Dense(144, 10, rng=rng),
    ).astype(np.float64)


@pytest.mark.parametrize("threads", [1, 2])
def test_layers_without_lanes_run_as_textbook_layers_between_the_others(threads: int) -> None:
    x, y = np.concatenate([X] * 8).astype(np.float64), np.concatenate([Y] * 8)
    models = with_own_layers(), with_own_layers()
    for model in models:
        model[3].eval()  # type: ignore[index]  the masks of dropout are drawn in another order
    steps = [
        compile(
            models[0],
            CrossEntropyLoss(),
            SGD(models[0].parameters(), lr=0.1),
            len(x),
            tunables={"threads": threads, "lanes": 16},
        ),
        TextbookStep(
            models[1], CrossEntropyLoss(), SGD(models[1].parameters(), lr=0.1), len(x), ""
        ),
    ]
    assert isinstance(steps[0], CompiledStep)
    for _ in range(3):
        found, expected = (step(x, y) for step in steps)
        assert found == pytest.approx(expected, rel=1e-12)
        assert int(steps[0].correct) == int(steps[1].correct)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-12)
    np.testing.assert_allclose(steps[0].predict(x), steps[1].predict(x), rtol=0, atol=1e-12)
    assert all(layer.training for layer in (models[0][0][0], models[0][0][2]))  # type: ignore[index]
    for name in ("Doubling (textbook)", "BatchMean (textbook)", "Conv2d (textbook)"):
        assert name in steps[0].describe()


def test_a_model_alone_is_compiled_for_inference() -> None:
    model = LeNet5(seed=0)
    arrays = [(p.data, p.grad) for p in model.parameters()]
    step = compile(model, tunables={})
    assert isinstance(step, CompiledStep)
    assert "inference alone; the plan is made when" in step.describe()
    x = np.concatenate([X] * 13)  # 520: more than it takes at once
    np.testing.assert_allclose(step.predict(x), model.eval()(x), rtol=0, atol=1e-5)
    planned = compile(model, input_shape=(1, 32, 32), tunables={}).describe()
    assert "up to 256 images (1, 32, 32)" in planned
    assert "CrossEntropyLoss" not in planned
    for use in (lambda: step(X, Y), lambda: step.gradients(X, Y)):
        with pytest.raises(
            ValueError, match="without a loss and an optimizer, so it only predicts"
        ):
            use()
    assert all(
        p.data is data and p.grad is grad
        for p, (data, grad) in zip(model.parameters(), arrays, strict=True)
    )


def test_inference_sees_what_another_step_has_trained() -> None:
    step = lenet_step()
    inference = compile(step.model, tunables={})
    before = inference.predict(X)
    step(X, Y)
    assert inference.predict(X).tobytes() == step.predict(X).tobytes() != before.tobytes()


def test_a_network_without_parameters_predicts() -> None:
    step = compile(Sequential(Flatten(), ReLU()))
    assert isinstance(step, TextbookStep)
    assert step.predict(np.full((2, 1, 2, 2), 255, np.uint8)).tolist() == [[1.0] * 4] * 2


def test_training_takes_loss_optimizer_and_batch_size() -> None:
    model = LeNet5(seed=0)
    adam = Adam(model.parameters())
    for arguments in ((CrossEntropyLoss(),), (None, adam, 3), (CrossEntropyLoss(), adam)):
        with pytest.raises(TypeError, match="takes a loss, an optimizer and a batch_size"):
            compile(model, *arguments)  # type: ignore[arg-type]


def replace_the_head(model: Any) -> None:
    model.classifier = Sequential(Flatten(), Dense(400, 10))


def append_a_layer(model: Any) -> None:
    model.classifier.append(Dense(10, 10))


@pytest.mark.parametrize("change", [replace_the_head, append_a_layer])
def test_a_layer_replaced_since_is_refused_by_the_step(change: Any) -> None:
    step = lenet_step()
    step(X, Y)
    change(step.model)
    for use in (lambda: step(X, Y), lambda: step.predict(X)):
        with pytest.raises(ValueError, match=r"layers \['(classifier|8)'\] of .* compile it again"):
            use()
    again = lenet_step(step.model)
    assert again.predict(X).tobytes() == again.predict(X).tobytes()
    np.testing.assert_allclose(again.predict(X), step.model.eval()(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_a_layer_of_ones_own_ends_the_step_and_the_next_one_runs(threads: int) -> None:
    class Moody(Doubling):
        fails = True

        def forward(self, x: Any) -> Any:
            if self.fails:
                raise RuntimeError("not today")
            return super().forward(x)

    model = Sequential(Conv2d(1, 2, 5), Moody(), Flatten(), Dense(1568, 10))
    x, y = np.concatenate([X] * 8), np.concatenate([Y] * 8)
    options = {"tunables": {"threads": threads, "lanes": 16}}
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters()), len(x), **options)
    for use in (lambda: step(x, y), lambda: step.predict(x)):
        with pytest.raises(RuntimeError, match="not today"):
            use()
    Moody.fails = False
    assert np.isfinite(step(x, y))
    assert np.isfinite(step.predict(x)).all()


def test_a_layer_of_ones_own_that_makes_images_of_features_is_refused() -> None:
    model = Sequential(Flatten(), Dense(1024, 1024), Unflatten(), Flatten(), Dense(1024, 10))
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters()), N, tunables={})
    with pytest.raises(ValueError, match=r"^2 \(Unflatten\(\)\): makes images .*TextbookStep\("):
        step(X, Y)


@pytest.mark.filterwarnings("ignore:a float64 input before float32")
@pytest.mark.parametrize(("model", "loss", "why"), FALLBACKS.values(), ids=FALLBACKS)
def test_what_cannot_be_compiled_runs_on_the_textbook_layers(
    model: Layer, loss: CrossEntropyLoss, why: str
) -> None:
    step = compile(model, loss, SGD(model.parameters(), lr=0.1), N)
    assert isinstance(step, TextbookStep)
    assert not step.compiled
    assert why in step.describe()
    first = np.sum(step(X, Y))
    assert np.sum(step(X, Y)) < first
    assert 0 <= int(step.correct) <= N
    model[0].eval()  # type: ignore[index]
    assert step.predict(X).shape == (N, 10)
    assert not model[0].training  # type: ignore[index]
    assert model.training
    assert model.input_gradient
    pixels = (X * 50 + 100).clip(0, 255).astype(np.uint8)
    # 1e-5: the mixed model's first layer is float64, for which pixels are not rounded to float32
    floats = step.predict(ToFloat()(pixels))
    np.testing.assert_allclose(step.predict(pixels), floats, rtol=0, atol=1e-5)


def test_a_subclass_that_changes_a_layer_is_not_compiled() -> None:
    class Louder(Sequential):
        def forward(self, x: Any) -> Any:
            return 2 * super().forward(x)

    model = Louder(Flatten(), Dense(1024, 10))
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters()), N)
    assert "none of its layers has a compiled form: Louder" in step.describe()


# ------------------------------------------------------------------------------ describe, tune


def test_describe_names_passes_operations_bytes_work_and_tunables() -> None:
    step = lenet_step()
    assert "is made when the shape of the images is known" in step.describe()
    step(X, Y)
    text = step.describe()
    for part in ("pass 7", "lanes=16", "Conv2d", "BatchNorm2d + ReLU + AvgPool2d", "MB", "barrier"):
        assert part in text
    forward = 2e-6 * step.model.multiply_adds((1, 1, 32, 32))
    first = 2e-6 * step.model[0][0].multiply_adds((1, 1, 32, 32))  # type: ignore[index]
    assert f"{3 * forward - first:.3f} MFLOP per image" in text  # no dx for the input


# ------------------------------------------------------------------------------ trace


def test_a_trace_prints_each_pass_of_each_worker_and_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = lenet_step(batch_size=200, tunables={"threads": 2})
    x, y = np.concatenate([X] * 5), np.concatenate([Y] * 5)
    expected = plain(x, y)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NPLENET_TRACE", "1")
    step = lenet_step(batch_size=200, tunables={"threads": 2})
    assert step(x, y) == expected
    head, *lines = capsys.readouterr().err.splitlines()
    assert head.startswith("step of 200 images: ")
    for number in range(1, 8):
        marked = [line for line in lines if f" pass {number}: " in line]
        assert sorted(line.split(" ms  ")[1][:8] for line in marked) == ["worker 0", "worker 1"]
    step(x[:64], y[:64])  # so few that one worker does the dense layers at the barrier before
    text = capsys.readouterr().err
    assert "at barrier  pass 4: Dense forward" in text
    step.predict(x)
    assert "Conv2d + BatchNorm2d + ReLU + AvgPool2d forward" in capsys.readouterr().err
