"""Run each kernel at least once, in float32, on the simulated device, and print their names.

test_compile.py starts it under the sanitizers.
"""

from __future__ import annotations

from typing import Any

import gpusim
import numpy as np

gpusim.install(force=True)  # before CuPy is imported

from nplenet import get_backend  # noqa: E402
from nplenet.augment import augment_batch, rotation_coefficients  # noqa: E402
from nplenet.backend.cupy_backend import CupyBackend  # noqa: E402
from nplenet.cases import CASES  # noqa: E402
from nplenet.compiled.cuda.feed import Feed, deal, finish  # noqa: E402
from nplenet.layers import Dense, Dropout, Layer  # noqa: E402
from nplenet.layers.products import matrix_product  # noqa: E402
from nplenet.optim import SGD, Adam, AdamW, clip_gradients  # noqa: E402

ran = set()
launch = CupyBackend.launch


def noted(self: CupyBackend, file: str, kernel: str, *arguments: Any, **options: Any) -> None:
    ran.add(kernel)
    launch(self, file, kernel, *arguments, **options)


CupyBackend.launch = noted
cuda = get_backend("cupy")

for case in CASES.values():
    if case.name.startswith("lenet5"):
        continue  # slow, and made of the others
    made, x = case.build(dtype=np.float32, backend="cupy"), case.input(dtype=np.float32)
    if not isinstance(made, Layer):
        made(cuda.asarray(x), case.targets(backend="cupy"))
        made.backward()
        continue
    made.to(cuda)
    for change_mode in (made.train, made.eval):
        change_mode()
        y = made(cuda.asarray(x))
        made.backward(cuda.xp.ones_like(y))

dropout = Dropout(0.5).to(cuda)
dropout(cuda.xp.ones((7, 41), np.float32))

for optimizer in (SGD, Adam, AdamW):
    dense = Dense(41, 7).to(cuda)
    y = dense(cuda.xp.ones((5, 41), np.float32))
    dense.backward(cuda.xp.ones_like(y))
    clip_gradients(dense.parameters(), 1.0)
    optimizer(dense.parameters(), lr=0.1).step()

images = cuda.xp.zeros((9, 1, 4, 4), np.uint8)
feed = Feed(cuda, images, images, entries=9, steps=2, keys=1, numbers=5, augmented=(1, 1, 1))
cuda.primitive(deal, *feed.dealt, 9)
result = cuda.xp.zeros((), np.float32), cuda.xp.zeros((), np.int64)
cuda.primitive(finish, *result, feed.losses, feed.correct, feed.step)

with cuda.capturable():  # tiles of 16 x 64, 64 x 64 and 16 x 16, the last in slices
    for m, k, p in ((9, 33, 4111), (300, 17, 1031), (5, 200, 7)):
        a, b = cuda.xp.ones((k, m), np.float32), cuda.xp.ones((k, p), np.float32)
        cuda.primitive(matrix_product, a.T, b)

for channels in (1, 3):
    images = np.random.default_rng(0).integers(0, 256, (7, channels, 13, 11), np.uint8)
    coefficients = rotation_coefficients(np.linspace(-180.0, 180.0, 5), 13, 11)
    coins = cuda.asarray(np.arange(5) % 2, np.uint8)
    indexes = cuda.asarray([6, 0, 3, 3, 1], np.int32)
    drawn = (cuda.asarray(coefficients), coins, coins, 0)
    cuda.primitive(augment_batch, cuda.asarray(images), indexes, *drawn, np.float32)

print(*sorted(ran))
