"""Teach the bundled LeNet-5, trained on digits, classes of your own.

python examples/fine_tune.py FOLDER [--output model.safetensors]

FOLDER holds one folder of images per class. The convolutions keep what they learned from MNIST, so
a few images per class are enough. The dense layers behind them are trained, the last one anew: the
bundled network was also shown letters, to answer "unsure", and its dense layers make them alike.
"""

import argparse
from pathlib import Path

from nplenet import augment, load_model, save_model
from nplenet.checkpoint import DEFAULT_MODEL
from nplenet.data import DataLoader, Pictures, from_folder, train_validation_split
from nplenet.layers import Dense, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import AdamW
from nplenet.seeds import generator
from nplenet.train import evaluate, fit


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, help="file to save the model to")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(argv)

    # The data: grey, as the bundled network takes them.
    images, labels, classes = from_folder(options.folder, channels=1)
    chosen, held_out = train_validation_split(labels, 0.1, generator(0, "split"))
    order, noise = generator(0, "shuffle"), generator(0, "augment")
    loader = DataLoader(
        images[chosen],
        labels[chosen],
        batch_size=32,
        shuffle=True,
        rng=order,
        transform=augment.standard_augmentation(),
        transform_rng=noise,
    )

    # The network: all layers of the bundled one but the last, and a new one for these classes.
    digits = load_model(DEFAULT_MODEL)
    *hidden, _ = digits.classifier
    head = Dense(84, len(classes), rng=generator(0, "init"))
    model = Sequential(features=digits.features, classifier=Sequential(*hidden, head))
    model.pictures = Pictures.of(images, classes, "whole")  # for ``nplenet predict``

    # The convolutions are frozen: their parameters get no gradient. In eval mode, in which ``fit``
    # leaves them, their batch norms also keep the statistics of the digits.
    digits.features.requires_grad_(False).eval()

    optimizer = AdamW(model.parameters(), lr=4e-3)  # changes the dense layers only
    fit(model, CrossEntropyLoss(), optimizer, loader, epochs=options.epochs, on_epoch=print)

    result = evaluate(model, images[held_out], labels[held_out], classes=len(classes))
    print(f"{len(classes)} classes; accuracy on {len(held_out)} held-out images: ", end="")
    print(f"{result.accuracy:.2%}")
    if options.output:
        save_model(model, options.output)
        print(f"saved {options.output}; nplenet info {options.output} shows its contents")


if __name__ == "__main__":
    main()
