"""Affine maps, inversion and grayscale on batches of images, with random numbers for each image.

Names and rules are torchvision's on PIL images; the pixels equal Pillow's bit for bit. All random
numbers come from the ``numpy.random.Generator`` in the call. Every function returns a new array and
leaves its input unchanged.
"""

from ..deprecated import moved
from ..names import answer_wrong_names
from .gather import AffineMaps, apply_affine
from .maps import affine, affine_coefficients
from .pipeline import Draws, FusedPipeline, augment_batch, fuse
from .pixels import check_images, grayscale, invert
from .preprocessing import (
    UnknownPreprocessing,
    described,
    floats,
    from_description,
    in_words,
    preprocessing,
    without_randomness,
)
from .random_affine import RandomAffine
from .rotation import rotate, rotation_coefficients
from .transforms import (
    Compose,
    Normalize,
    RandomGrayscale,
    RandomInvert,
    RandomRotation,
    ToFloat,
    Transform,
    affine_augmentation,
    before_float,
    standard_augmentation,
)

__all__ = [
    "AffineMaps",
    "Compose",
    "Draws",
    "FusedPipeline",
    "Normalize",
    "RandomAffine",
    "RandomGrayscale",
    "RandomInvert",
    "RandomRotation",
    "ToFloat",
    "Transform",
    "UnknownPreprocessing",
    "affine",
    "affine_augmentation",
    "affine_coefficients",
    "apply_affine",
    "augment_batch",
    "before_float",
    "check_images",
    "described",
    "floats",
    "from_description",
    "fuse",
    "grayscale",
    "in_words",
    "invert",
    "preprocessing",
    "rotate",
    "rotation_coefficients",
    "standard_augmentation",
    "without_randomness",
]

__getattr__ = moved(
    __name__,
    {
        "Rotations": "nplenet.augment.AffineMaps",
        "apply_rotation": "nplenet.augment.apply_affine",
        "seed_pipeline": "nplenet.augment.standard_augmentation",
    },
)

answer_wrong_names(__name__)
