"""The bundled digits: real handwriting for a machine without MNIST and without a network.

1,797 digits of 8 x 8 pixels from the UCI repository, some 50 KB in the package; bundled/README.md
names their source, licence and order. `tools/make_digits.py` wrote them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .idx import read_idx

_TRAINING_DIGITS = 1437  # the files hold these first, then the 360 held out: 80 to 20 %
_DARKEST = 16  # ink at rest runs from 0 to 16
_SLICES = {
    "train": slice(None, _TRAINING_DIGITS),
    "test": slice(_TRAINING_DIGITS, None),
    "all": slice(None),
}


def load_digits(split: str = "train") -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read the bundled handwritten digits, enlarged to the input size of LeNet-5.

    Each 8 x 8 digit is enlarged threefold by bilinear interpolation, in integers and so to the
    same bytes on every machine, and centred on 32 x 32 black pixels.

    Parameters
    ----------
    split
        "train" (1,437 digits), "test" (360) or "all". The split is fixed, and stratified by class.
        The digits are shuffled, so writers of the test digits also wrote training digits.

    Returns
    -------
    images : numpy.ndarray
        uint8 (N, 32, 32), white ink (255) on black (0) as in MNIST.
    labels : numpy.ndarray
        uint8 (N,), 0 to 9.

    Raises
    ------
    ValueError
        When ``split`` is not one of these.

    References
    ----------
    E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49 (CC BY 4.0).
    """
    if split not in _SLICES:
        raise ValueError(f"load_digits: split must be one of {list(_SLICES)}, got {split!r}")
    small = _read_bundled("digits-images.idx.gz")[_SLICES[split]]
    labels = _read_bundled("digits-labels.idx.gz")[_SLICES[split]]
    return _enlarge(small), labels


def _read_bundled(name: str) -> npt.NDArray[np.uint8]:
    from importlib import resources  # 12 ms that `import nplenet` need not wait for

    with resources.as_file(resources.files("nplenet.data") / "bundled" / name) as path:
        return read_idx(path, dtype=np.uint8)


def _enlarge(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map ink (N, 8, 8) of 0 to 16 to (N, 32, 32) of 0 to 255."""
    # Pixel j is centred on row 5 + 3 j, and its weight falls by a third with each row from there.
    distance = np.abs(np.arange(32)[:, None] - (5 + 3 * np.arange(8)))
    thirds: npt.NDArray[Any] = np.maximum(0, 3 - distance)
    # Whole numbers below 2**24 are exact in float32, whose products take a third of the time.
    weights = thirds.astype(np.float32)
    ink = (weights @ small.astype(np.float32) @ weights.T).astype(np.int32)
    darkest = 9 * _DARKEST
    rounded: npt.NDArray[Any] = (255 * ink + darkest // 2) // darkest
    return rounded.astype(np.uint8)
