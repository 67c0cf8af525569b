"""Group norm and layer norm against the definition, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import BatchNorm2d, GroupNorm, Layer, LayerNorm


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 5.0, shape)


def double(layer: Layer) -> Layer:
    return layer.astype(np.float64)


def test_each_group_of_an_image_gets_mean_0_and_variance_1(backend: Backend) -> None:
    layer = double(GroupNorm(2, 6, eps=0.0)).to(backend)
    y = backend.to_numpy(layer(backend.asarray(draw(3, 6, 4, 5)))).reshape(3, 2, -1)
    np.testing.assert_allclose(y.mean(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=2), 1, rtol=1e-12)


def test_a_group_per_channel_of_one_image_is_its_batch_norm() -> None:
    x, dy = draw(1, 4, 3, 5), draw(1, 4, 3, 5)[..., ::-1]
    group, batch = double(GroupNorm(4, 4)), double(BatchNorm2d(4))
    np.testing.assert_allclose(group(x), batch(x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(group.backward(dy), batch.backward(dy), rtol=0, atol=1e-12)
    for a, b in zip(group.parameters(), batch.parameters(), strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-12)


def test_layer_norm_over_all_axes_is_group_norm_with_one_group() -> None:
    x = draw(2, 4, 3, 5)
    layer = double(LayerNorm((4, 3, 5), elementwise_affine=False))
    group = double(GroupNorm(1, 4, affine=False))
    np.testing.assert_allclose(layer(x), group(x), rtol=0, atol=1e-12)


def test_a_constant_image_becomes_the_bias() -> None:
    layer = GroupNorm(2, 4)
    assert layer.bias is not None
    layer.bias.data[...] = [1, 2, 3, 4]
    y = layer(np.full((1, 4, 2, 2), 7, np.float32))
    assert y[0, :, 0, 0].tolist() == [1, 2, 3, 4]


def test_a_batch_of_no_images_passes() -> None:
    for layer in (GroupNorm(2, 4), LayerNorm((4, 3, 3))):
        x = np.zeros((0, 4, 3, 3), np.float32)
        assert layer.backward(layer(x)).shape == x.shape


def test_layers_without_weights_have_no_state() -> None:
    assert GroupNorm(2, 4, affine=False).state_dict() == {}
    assert LayerNorm(4, elementwise_affine=False).state_dict() == {}
    assert list(LayerNorm(4, bias=False).state_dict()) == ["weight"]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="num_groups must divide num_channels, got 4 for 6"):
        GroupNorm(4, 6)
    layer = GroupNorm(3, 6)
    layer.num_groups = 4  # of 6 channels of 2 x 2 numbers, 4 rows of 6 can be made
    with pytest.raises(ValueError, match="num_groups must divide num_channels, got 4 for 6"):
        layer(np.zeros((1, 6, 2, 2), np.float32))
    with pytest.raises(ValueError, match="normalized_shape must name at least one axis"):
        LayerNorm(())
    for shape in ((3,), (2, 4, 3), (4, 3)):
        with pytest.raises(ValueError, match=r"LayerNorm.* whose last axes are \(3, 4\)"):
            LayerNorm((3, 4))(np.zeros(shape, np.float32))


@pytest.mark.parametrize("case", cases_of("groupnorm", "layernorm"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
