"""What a thread of a convolution takes: the model behind the choice."""

from __future__ import annotations

import pytest

from nplenet.compiled.cuda.fused.tiles import tile, wavefronts


@pytest.mark.parametrize(
    ("places", "vector", "itemsize", "times"),
    [
        ([7] * 32, 1, 4, 1),  # the same word for all lanes
        (list(range(32)), 1, 4, 1),
        ([2 * lane for lane in range(32)], 1, 4, 2),  # of every second bank
        ([32 * lane for lane in range(32)], 1, 4, 32),  # all of one bank
        ([33 * lane for lane in range(32)], 1, 4, 1),
        ([4 * lane for lane in range(32)], 4, 4, 4),  # 16 bytes for each lane
        ([lane // 8 * 4 for lane in range(32)], 4, 4, 1),  # for four lanes only
        (list(range(32)), 1, 8, 2),  # of doubles
    ],
)
def test_loads_of_one_bank_wait_for_each_other(
    places: list[int], vector: int, itemsize: int, times: int
) -> None:
    assert wavefronts(places, vector, itemsize) == times


@pytest.mark.parametrize("threads", [256, 512])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_a_tile_is_one_that_the_kernel_can_do(threads: int, itemsize: int) -> None:
    for weight, out, stride, frame in [
        ((6, 1, 5, 5), (28, 28), (1, 1), (32, 32)),
        ((16, 6, 5, 5), (10, 10), (1, 1), (14, 14)),
        ((6, 16, 5, 5), (10, 14), (1, 1), (18, 18)),
        ((5, 3, 1, 7), (4, 1), (2, 3), (7, 7)),
        ((1, 64, 3, 3), (8, 8), (1, 1), (10, 10)),
    ]:
        found = tile(weight, out, stride, frame, itemsize, threads)
        f, c, _, _ = weight
        assert found["FP"] % found["FT"] == 0
        assert f <= found["FP"] < f + found["FT"]
        assert 1 <= found["PT"] <= out[1]
        assert found["SPLIT"] <= c
        assert 32 % found["SPLIT"] == 0  # lanes that share a tile are in one warp
        assert found["PT"] * stride[1] % found["VECTOR"] == 0
        assert found["VECTOR"] * itemsize <= 16


def test_lanes_share_tiles_where_these_are_few_and_deep() -> None:
    shallow = tile((6, 1, 5, 5), (28, 28), (1, 1), (32, 32), 4, 256)
    deep = tile((6, 16, 5, 5), (10, 14), (1, 1), (18, 18), 4, 256)
    assert shallow["SPLIT"] == 1
    assert deep["SPLIT"] > 1
