"""Train LeNet-5 on your own images.

python examples/own_images.py FOLDER [--output model.safetensors]

FOLDER holds one folder of images per class (PNG, JPEG or BMP), or two IDX files,
``images.idx`` and ``labels.idx``. Images are converted to grey and 32x32. A tenth of them is held
out to evaluate the model, which is saved with ``save_model``. The file says how the images were
made: ``nplenet predict model.safetensors photo.png`` does the same to a new picture.
"""

import argparse
from pathlib import Path

from nplenet import augment, save_model
from nplenet.data import (
    DataLoader,
    Pictures,
    from_folder,
    pad_images,
    read_idx,
    train_validation_split,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import AdamW
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator
from nplenet.train import confusion_table, evaluate, fit


def load_folder(folder):
    """Return uint8 images (N, 1, 32, 32), labels (N,) and how the images were made."""
    if (folder / "images.idx").exists():
        images, labels = read_idx(folder / "images.idx"), read_idx(folder / "labels.idx")
        names = [str(k) for k in range(int(labels.max()) + 1)]
        return pad_images(images), labels, Pictures.of(images, names)
    images, labels, names = from_folder(folder, channels=1)
    return images, labels, Pictures.of(images, names, "whole")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, help="file to save the model to")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(argv)

    try:
        images, labels, pictures = load_folder(options.folder)
    except (OSError, ValueError) as error:  # one line instead of a traceback
        parser.exit(2, f"{error}\n")
    names = pictures.classes
    # With few images, such as one per class, all are for training.
    held_out_count = round(0.1 * len(labels))
    chosen, held_out = train_validation_split(labels, held_out_count, generator(0, "split"))
    print(f"{len(chosen)} images to train, {len(held_out)} held out, classes: {', '.join(names)}")
    loader = DataLoader(
        images[chosen],
        labels[chosen],
        batch_size=32,
        shuffle=True,
        rng=generator(0, "shuffle"),
        transform=augment.Compose([augment.RandomRotation(10), augment.ToFloat()]),
        transform_rng=generator(0, "augment"),
    )
    model = LeNet5(num_classes=len(names), dropout=0.1, seed=0)
    model.pictures = pictures
    optimizer = AdamW(model.parameters(), lr=4e-3)
    steps = options.epochs * len(loader)
    schedule = OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    fit(
        model,
        CrossEntropyLoss(),
        optimizer,
        loader,
        epochs=options.epochs,
        schedule=schedule,
        on_epoch=print,
    )
    if len(held_out):
        result = evaluate(model, images[held_out], labels[held_out], classes=len(names))
        print(confusion_table(result.confusion, names))
        print(f"accuracy on the held-out images: {result.accuracy:.2%}")
    else:
        print("too few images to hold any out: the accuracy is not known")
    if options.output:
        save_model(model, options.output)
        print(f"saved {options.output}; nplenet info {options.output} shows its contents")


if __name__ == "__main__":
    main()
