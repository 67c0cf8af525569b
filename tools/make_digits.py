"""Write nplenet/data/bundled/digits-*.idx.gz, from the copy of the UCI digits in scikit-learn.

Run once, kept to show where the files came from: ``python tools/make_digits.py`` from the
repository's root, with scikit-learn installed. It gives the same bytes each time.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from nplenet.data import train_validation_split, write_idx

SEED = 1998
HELD_OUT = 360  # of 1,797: 20 %
FOLDER = Path(__file__).resolve().parents[1] / "nplenet" / "data" / "bundled"


def main() -> None:
    """Put the training digits first and the held-out ones last, each part shuffled."""
    digits = load_digits()
    rng = np.random.default_rng(SEED)
    parts = train_validation_split(digits.target, HELD_OUT, rng)
    order = np.concatenate([rng.permutation(part) for part in parts])
    FOLDER.mkdir(exist_ok=True)
    write_idx(FOLDER / "digits-images.idx.gz", digits.images[order].astype(np.uint8))
    write_idx(FOLDER / "digits-labels.idx.gz", digits.target[order].astype(np.uint8))


if __name__ == "__main__":
    main()
