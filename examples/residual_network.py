"""A residual network of 20 layers (He et al., 2016), with group norm, for colour images of 32x32.

python examples/residual_network.py [--width 8] [--epochs 3]

It learns the bundled digits, each in a colour of its own.
"""

import argparse

import numpy as np

from nplenet import save_model
from nplenet.augment import ToFloat
from nplenet.data import DataLoader, load_digits, pad_images
from nplenet.layers import Conv2d, Dense, GlobalAvgPool2d, GroupNorm, ReLU, Residual, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import Adam
from nplenet.train import fit


def block(before, after, groups, rng):
    """Return two convolutions and their shortcut; they halve the image if channels are added."""
    stride = 1 if before == after else 2
    body = Sequential(
        Conv2d(before, after, 3, stride, padding=1, bias=False, groups=groups, rng=rng),
        GroupNorm(groups, after),
        ReLU(),
        Conv2d(after, after, 3, padding=1, bias=False, groups=groups, rng=rng),
        GroupNorm(groups, after),
    )
    shortcut = None if stride == 1 else Conv2d(before, after, 1, stride, bias=False, rng=rng)
    return Sequential(Residual(body, shortcut), ReLU())


def residual_network(width=16, blocks=3, groups=4, channels=3, classes=10, rng=None):
    """Return 6 * blocks + 2 layers: a convolution, three stages of blocks, a dense layer."""
    rng = rng or np.random.default_rng()
    layers = [
        Conv2d(channels, width, 3, padding=1, bias=False, rng=rng),
        GroupNorm(groups, width),
        ReLU(),
    ]
    for after in (width, 2 * width, 4 * width):
        for _ in range(blocks):
            layers.append(block(width, after, groups, rng))
            width = after
    return Sequential(*layers, GlobalAvgPool2d(), Dense(width, classes, rng=rng))


def coloured(images, rng):
    """Return grey images (N, H, W) as (N, 3, 32, 32), each in a random colour."""
    colours = rng.integers(128, 256, (len(images), 3, 1, 1))
    return (pad_images(images) * colours // 255).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=8, help="channels of the first stage")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--output", default="residual.safetensors")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    model = residual_network(options.width, rng=rng)
    print(model.summary((1, 3, 32, 32)))
    images, labels = load_digits("train")
    loader = DataLoader(
        coloured(images, rng), labels, 64, shuffle=True, rng=rng, transform=ToFloat()
    )
    test_images, test_labels = load_digits("test")
    fit(
        model,
        CrossEntropyLoss(),
        Adam(model.parameters(), lr=3e-3),
        loader,
        epochs=options.epochs,
        validation=(coloured(test_images, rng), test_labels),
        on_epoch=print,
    )
    save_model(model, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
