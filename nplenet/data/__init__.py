"""Data sets: IDX files, MNIST, the bundled digits; and the batches of an epoch.

All arrays are NumPy arrays on the host, except for the batches of a ``DeviceLoader``.
"""

from ..files import atomic_write
from .dataset import DATASETS, Dataset, load_dataset
from .device import DeviceLoader
from .digits import load_digits
from .idx import DataError, MissingDataError, read_idx, write_idx
from .loader import DataLoader
from .mnist import load_mnist
from .pad import pad_images
from .split import train_validation_split

__all__ = [
    "DATASETS",
    "DataError",
    "DataLoader",
    "Dataset",
    "DeviceLoader",
    "MissingDataError",
    "atomic_write",
    "load_dataset",
    "load_digits",
    "load_mnist",
    "pad_images",
    "read_idx",
    "train_validation_split",
    "write_idx",
]
