"""Make the picture in the README: one digit on its way through the trained LeNet-5.

python tools/make_picture.py
"""

from pathlib import Path

from nplenet import plots
from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.data import load_digits, pad_images

NUMBER = 3  # of the bundled test digits

digits, _ = load_digits("test")
figure = plots.feature_maps(load_model(DEFAULT_MODEL), pad_images(digits[NUMBER : NUMBER + 1])[0])
folder = Path(__file__).parents[1] / "docs" / "_static"
figure.savefig(folder / "inside.png", dpi=110, bbox_inches="tight", metadata={"Software": None})
