"""What each plot shows: the data of its artists, not its pixels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nplenet import plots
from nplenet.augment import ToFloat, standard_augmentation
from nplenet.backend import Backend
from nplenet.checkpoint import Epoch
from nplenet.data import load_dataset
from nplenet.layers import Dense, Flatten, Sequential
from nplenet.losses import CrossEntropyLoss, softmax
from nplenet.models import LeNet5
from nplenet.plots.style import SEQUENTIAL
from nplenet.train import History

matplotlib = pytest.importorskip("matplotlib")

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = load_dataset("digits").test_images[:40]
LABELS = load_dataset("digits").test_labels[:40]


def history(validation: bool = True) -> History:
    def epoch(n: int) -> Epoch:
        held_out = (0.4 / n, 0.8 + n / 100) if validation else (None, None)
        return Epoch(n, 0.1, 0.5 / n, 0.7 + n / 100, *held_out, seconds=1.0, images_per_second=9.0)

    return History([epoch(n) for n in (1, 2, 3)])


def reader() -> Sequential:
    """A model whose logits are 10 times the ten pixels of its image."""
    model = Sequential(Flatten(), Dense(10, 10))
    model.load_state_dict({"1.weight": 10 * np.eye(10), "1.bias": np.zeros(10)})
    return model


def ten_pixels(*brightest: dict[int, int]) -> np.ndarray:
    """Images (N, 1, 1, 10) with the given values at the given pixels, else 0."""
    images = np.zeros((len(brightest), 1, 1, 10), np.uint8)
    for image, values in zip(images, brightest, strict=True):
        for pixel, value in values.items():
            image[0, 0, pixel] = value
    return images


def pictures(figure: Figure) -> list[np.ndarray]:
    """The arrays that are drawn as images."""
    return [np.ma.getdata(image.get_array()) for ax in figure.axes for image in ax.images]


def settings() -> dict[str, Any]:
    """Matplotlib's global settings; to look at its backend would choose one."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def every_plot() -> dict[str, Callable[[], Figure]]:
    model, rng = LeNet5(seed=0), np.random.default_rng(0)
    return {
        "learning_curves": lambda: plots.learning_curves(history()),
        "confusion_matrix": lambda: plots.confusion_matrix([[5, 1], [0, 4]]),
        "worst_mistakes": lambda: plots.worst_mistakes(model, IMAGES, LABELS),
        "filters": lambda: plots.filters(model.features[4].weight.data),
        "feature_maps": lambda: plots.feature_maps(model, IMAGES[0]),
        "augmentation_preview": lambda: plots.augmentation_preview(
            IMAGES[0], standard_augmentation(), rng, 3
        ),
        "histograms": lambda: plots.histograms([model], IMAGES, LABELS),
        "hidden_map": lambda: plots.hidden_map(model, IMAGES, LABELS),
    }


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", plots.__all__)
def test_a_plot_is_drawn_without_pyplot_and_changes_nothing_global(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it is an error now
    before = settings()
    figure = every_plot()[name]()
    file = BytesIO()
    figure.savefig(file, format="svg")
    assert type(figure) is matplotlib.figure.Figure
    assert b"</svg>" in file.getvalue()
    assert settings() == before


@pytest.mark.parametrize("name", plots.__all__)
def test_without_matplotlib_a_plot_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'nplenet\[plot\]'"):
        every_plot()[name]()


def test_plots_leave_the_model_as_it_is() -> None:
    model, loss = LeNet5(seed=0), CrossEntropyLoss()
    state = model.state_dict()
    loss(model(ToFloat()(IMAGES)), LABELS)
    plots.worst_mistakes(model, IMAGES, LABELS)
    plots.feature_maps(model, IMAGES[0])
    plots.histograms([model], IMAGES, LABELS)
    plots.hidden_map(model, IMAGES, LABELS)
    assert model.training
    assert not any(parameter.grad.any() for parameter in model.parameters())
    model.backward(loss.backward())  # what forward kept is there still, for this batch
    weights = {k: v for k, v in state.items() if "running" not in k and "num_" not in k}
    assert all(np.array_equal(model.state_dict()[k], v) for k, v in weights.items())


def test_plots_take_a_model_on_any_backend(backend: Backend) -> None:
    here, there = LeNet5(seed=0), LeNet5(seed=0).to(backend)
    weights = there.features[0].weight.data
    assert np.array_equal(
        pictures(plots.filters(weights))[0],
        pictures(plots.filters(here.features[0].weight.data))[0],
        equal_nan=True,
    )
    for a, b in zip(
        pictures(plots.feature_maps(here, IMAGES[0])),
        pictures(plots.feature_maps(there, IMAGES[0])),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)  # float32, summed in another order


def test_the_map_of_colours_grows_evenly_lighter() -> None:
    red, green, blue = matplotlib.colormaps[SEQUENTIAL](np.linspace(0, 1, 64))[:, :3].T
    lightness = (0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2) ** (1 / 3)
    steps = np.diff(lightness)
    assert steps.min() > 0
    assert steps.max() < 3 * steps.mean()  # near black the cube root is not quite lightness


# ------------------------------------------------------------------ a run


def test_learning_curves_show_every_epoch() -> None:
    loss, accuracy = plots.learning_curves(history()).axes
    for ax, training, validation in (
        (loss, [0.5, 0.25, 0.5 / 3], [0.4, 0.2, 0.4 / 3]),
        (accuracy, [0.71, 0.72, 0.73], [0.81, 0.82, 0.83]),
    ):
        lines = {line.get_label(): line for line in ax.lines}
        assert lines["training"].get_xdata() == pytest.approx([1, 2, 3])
        assert lines["training"].get_ydata() == pytest.approx(training)
        assert lines["validation"].get_ydata() == pytest.approx(validation)


def test_learning_curves_differ_in_more_than_colour() -> None:
    first, second = plots.learning_curves(history()).axes[0].lines
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()


def test_without_validation_there_is_no_curve_of_it() -> None:
    for ax in plots.learning_curves(history(validation=False)).axes:
        assert [line.get_label() for line in ax.lines] == ["training"]


def test_losses_of_zero_are_drawn() -> None:
    """Those of a data set of one class; a logarithmic axis has no place for them, and warns."""
    run = history(validation=False)
    figure = plots.learning_curves(History([replace(epoch, loss=0.0) for epoch in run.epochs]))
    figure.savefig(BytesIO(), format="png")
    assert figure.axes[0].get_yscale() == "linear"
    assert plots.learning_curves(run).axes[0].get_yscale() == "log"


def test_learning_curves_need_an_epoch() -> None:
    with pytest.raises(ValueError, match="without epochs"):
        plots.learning_curves(History())


def test_the_confusion_matrix_says_each_count_and_shades_mistakes_by_frequency() -> None:
    counts = [[7, 1, 0], [4, 8, 2], [0, 0, 9]]
    ax = plots.confusion_matrix(counts).axes[0]
    written = {text.get_position()[::-1]: text.get_text() for text in ax.texts}
    assert written == {
        (i, j): str(n) for i, row in enumerate(counts) for j, n in enumerate(row) if n
    }
    opacity = np.ma.getdata(ax.images[0].get_array())[..., 3]
    assert opacity[1, 0] > opacity[1, 2] > opacity[0, 1] > 0
    assert np.count_nonzero(opacity) == 3
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("label", "prediction")


@pytest.mark.parametrize("shape", [(10,), (2, 3)])
def test_a_confusion_that_is_not_square_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(K, K\)"):
        plots.confusion_matrix(np.ones(shape, int))


def test_the_worst_mistakes_come_first_with_their_probabilities() -> None:
    images = ten_pixels({3: 255}, {4: 255}, {5: 200, 6: 100}, {7: 100, 8: 120})
    labels = np.array([3, 9, 6, 7])  # the first is right, the last nearly
    figure = plots.worst_mistakes(reader(), images, labels)
    drawn = [np.asarray(picture) for picture in pictures(figure)]
    for picture, i in zip(drawn, (1, 2, 3), strict=True):
        assert np.array_equal(picture, images[i, 0])
    p = softmax(10 * images[3, 0, 0].astype(float) / 255)
    assert figure.axes[2].get_title() == f"read as 8: {p[8]:.1%}\nis 7: {p[7]:.1%}"
    assert len(pictures(plots.worst_mistakes(reader(), images, labels, count=2))) == 2


def test_where_nothing_was_mistaken_the_plot_says_so() -> None:
    figure = plots.worst_mistakes(reader(), ten_pixels({3: 255}), np.array([3]))
    assert [text.get_text() for text in figure.texts] == ["no mistake in 1 images"]


def test_worst_mistakes_needs_a_label_for_each_image() -> None:
    with pytest.raises(ValueError, match="2 images, 1 labels"):
        plots.worst_mistakes(reader(), ten_pixels({}, {}), np.array([3]))


def test_the_preview_shows_the_image_and_then_what_the_transform_draws() -> None:
    figure = plots.augmentation_preview(
        IMAGES[0], standard_augmentation(), np.random.default_rng(5), count=6
    )
    original, *draws = pictures(figure)
    expected = standard_augmentation()(np.repeat(IMAGES[:1], 6, axis=0), np.random.default_rng(5))
    assert np.array_equal(original, IMAGES[0, 0])
    assert np.array_equal(draws, expected[:, 0])


def test_the_preview_shows_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    original, draw = pictures(plots.augmentation_preview(image, lambda x, rng: 255 - x, None, 1))  # type: ignore[arg-type]
    assert np.array_equal(original, np.moveaxis(image, 0, 2))
    assert np.array_equal(draw, 255 - original)


# ------------------------------------------------------------------ a network


def test_filters_stand_in_columns_and_input_channels_in_rows() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 5, 2))
    figure = plots.filters(weight)
    (sheet,) = pictures(figure)
    assert sheet.shape == (3 * 6 - 1, 4 * 3 - 1)
    assert np.array_equal(sheet[6:11, 9:11], weight[3, 1])
    assert np.isnan(sheet[5]).all()
    low, high = figure.axes[0].images[0].get_clim()
    assert -low == high == pytest.approx(np.abs(weight).max())  # so that middle grey is 0


def test_filters_take_the_weights_of_a_convolution_only() -> None:
    with pytest.raises(ValueError, match=r"shape \(84, 120\), expected \(F, C, KH, KW\)"):
        plots.filters(np.zeros((84, 120)))


def test_feature_maps_show_what_each_layer_computes() -> None:
    model = LeNet5(seed=0)
    figure = plots.feature_maps(model, IMAGES[3])
    names = [ax.get_title(loc="left").split(",")[0] for ax in figure.axes]
    x = ToFloat()(IMAGES[3:4])
    sheets = dict(zip(names, pictures(figure), strict=True))
    assert np.array_equal(sheets["image"], IMAGES[3, 0] / 255)
    model.eval()
    y = model.features[0](x)[0]
    for channel in range(6):
        left = 30 * channel  # 28 and a gap of 2
        assert np.array_equal(sheets["features.0 Conv2d"][:, left : left + 28], y[channel])
    assert np.array_equal(sheets["classifier.7 Dense"], model(x))
    assert "classifier.0 Flatten" not in names
    assert "classifier.3 Dropout" not in names


def test_feature_maps_take_one_image() -> None:
    with pytest.raises(ValueError, match=r"\(40, 1, 32, 32\), expected \(C, H, W\)"):
        plots.feature_maps(LeNet5(seed=0), IMAGES)


def expected_shares(values: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(values, 48, np.quantile(values, (0.001, 0.999)))
    return counts / counts.max()


def test_histograms_are_of_outputs_and_of_their_gradients() -> None:
    model = LeNet5(seed=0)
    figure = plots.histograms([model], IMAGES, LABELS)
    logits = model.eval()(ToFloat()(IMAGES))
    dlogits = (softmax(logits) - np.eye(10)[LABELS]) / len(LABELS)
    output, gradient = pictures(figure)[-2:]  # of the last layer, whose gradient has a formula
    assert output[:, 0] == pytest.approx(expected_shares(logits.ravel()))
    found, expected = gradient[:, 0], expected_shares(np.log10(np.abs(dlogits)).ravel())
    # In float32 one of 400 values may fall into the bin beside its own.
    assert np.abs(found - expected).sum() < 0.2


def test_histograms_have_a_column_an_epoch_and_a_row_a_layer() -> None:
    first, second = LeNet5(seed=0), LeNet5(seed=1)
    figure = plots.histograms([first, second, first], IMAGES, LABELS)
    layers = [ax.get_title(loc="left").split(" ")[0] for ax in figure.axes[::2]]
    sides = {ax.get_title(loc="right") for ax in figure.axes[1::2]}
    assert sides == {"log₁₀ |gradient|"}
    assert layers == [
        f"{part}.{n}"
        for part, numbers in (("features", (0, 1, 4, 5)), ("classifier", (1, 4, 7)))
        for n in numbers
    ]
    for panel in pictures(figure):
        assert np.array_equal(panel[:, 0], panel[:, 2])
        assert not np.array_equal(panel[:, 0], panel[:, 1])


def test_histograms_need_a_model() -> None:
    with pytest.raises(ValueError, match="got no models"):
        plots.histograms([], IMAGES, LABELS)


def test_the_hidden_map_is_the_plane_of_greatest_variance() -> None:
    model = LeNet5(seed=0)
    ax = plots.hidden_map(model, IMAGES, LABELS).axes[0]
    points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    hidden = ToFloat()(IMAGES)
    model.eval()
    for layer in [*model.features, *list(model.classifier)[:-1]]:
        hidden = layer(hidden)
    variances = np.linalg.eigvalsh(np.cov(hidden.T.astype(np.float64)))[::-1]
    # The layer computes in float32.
    np.testing.assert_allclose(np.cov(points.T), np.diag(variances[:2]), atol=1e-4 * variances[0])
    assert ax.get_xlabel().endswith(f"{variances[0] / variances.sum():.0%} of the variance")


def test_the_hidden_map_draws_each_image_in_the_form_of_its_label() -> None:
    ax = plots.hidden_map(LeNet5(seed=0), IMAGES, LABELS).axes[0]
    counts = [len(collection.get_offsets()) for collection in ax.collections]
    assert counts == np.bincount(LABELS)[np.unique(LABELS)].tolist()
    forms: list[Any] = [c.get_paths()[0].vertices.tobytes() for c in ax.collections]
    assert len(set(forms)) == len(forms)
