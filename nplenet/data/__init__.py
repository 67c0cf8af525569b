"""Real images in: read and refuse files, find or fetch MNIST, the bundled digits, batches.

Everything here lives on the host and is NumPy; a model moves its batches to a device itself.
"""

from nplenet.data.atomic import atomic_write
from nplenet.data.dataset import DATASETS, Dataset, load_dataset
from nplenet.data.digits import load_digits
from nplenet.data.idx import DataError, read_idx, write_idx
from nplenet.data.loader import DataLoader, pad_images, train_validation_split
from nplenet.data.mnist import load_mnist

__all__ = [
    "DATASETS",
    "DataError",
    "DataLoader",
    "Dataset",
    "atomic_write",
    "load_dataset",
    "load_digits",
    "load_mnist",
    "pad_images",
    "read_idx",
    "train_validation_split",
    "write_idx",
]
