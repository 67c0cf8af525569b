"""Data sets: MNIST and its kin, the bundled digits, images of your own; the batches of an epoch.

All arrays are NumPy arrays on the host, except for the batches of a ``DeviceLoader``.
"""

from ..files import atomic_write
from ..names import answer_wrong_names
from .csv_file import from_csv
from .dataset import DATASETS, Dataset, load_dataset
from .device import DeviceLoader
from .digits import load_digits
from .emnist import EMNIST_CLASSES, load_emnist
from .idx import DataError, MissingDataError, read_idx, write_idx
from .image_set import ImageSet
from .loader import DataLoader
from .mnist import load_mnist
from .mnist_like import (
    FASHION_CLASSES,
    KMNIST_CLASSES,
    load_fashion_mnist,
    load_kmnist,
    load_qmnist,
)
from .npz_file import from_npz
from .pad import pad_images
from .picture_folder import from_folder
from .pictures import Pictures
from .split import train_validation_split

__all__ = [
    "DATASETS",
    "EMNIST_CLASSES",
    "FASHION_CLASSES",
    "KMNIST_CLASSES",
    "DataError",
    "DataLoader",
    "Dataset",
    "DeviceLoader",
    "ImageSet",
    "MissingDataError",
    "Pictures",
    "atomic_write",
    "from_csv",
    "from_folder",
    "from_npz",
    "load_dataset",
    "load_digits",
    "load_emnist",
    "load_fashion_mnist",
    "load_kmnist",
    "load_mnist",
    "load_qmnist",
    "pad_images",
    "read_idx",
    "train_validation_split",
    "write_idx",
]

answer_wrong_names(__name__)
