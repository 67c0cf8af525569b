"""Train the enhanced LeNet-5: load, model, loss, optimizer, loop.

python examples/train_mnist.py                      # MNIST, found or fetched; else bundled digits
python examples/train_mnist.py --backend cupy       # on an NVIDIA GPU
python examples/train_mnist.py --help
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from nplenet import augment
from nplenet.backend import BackendError, generator, get_backend
from nplenet.data import (
    DATASETS,
    DataError,
    DataLoader,
    atomic_write,
    load_dataset,
    train_validation_split,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam, AdamW
from nplenet.schedules import CosineLR, OneCycleLR, StepLR
from nplenet.train import NonFiniteLoss, confusion_table, environment, evaluate, fit

EPOCHS = {"mnist": 12, "digits": 60}  # the bundled digits are 40 times fewer

OPTIMIZERS = {
    "adamw": lambda parameters, lr: AdamW(parameters, lr),
    "adam": lambda parameters, lr: Adam(parameters, lr),
    "sgd": lambda parameters, lr: SGD(parameters, lr, momentum=0.9, nesterov=True),
}
SCHEDULES = {  # of the learning rate, stepped after each batch
    "onecycle": lambda optimizer, lr, steps: OneCycleLR(optimizer, max_lr=lr, total_steps=steps),
    "cosine": lambda optimizer, lr, steps: CosineLR(optimizer, T_max=steps),
    "step": lambda optimizer, lr, steps: StepLR(optimizer, step_size=max(1, steps // 3)),
    "constant": lambda optimizer, lr, steps: None,
}
AUGMENTATIONS = {
    "seed": augment.seed_pipeline,
    "rotation": lambda: augment.Compose([augment.RandomRotation(15), augment.ToFloat()]),
    "inversion": lambda: augment.Compose([augment.RandomInvert(0.5), augment.ToFloat()]),
    "none": augment.ToFloat,
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backend", choices=("numpy", "cupy"), default="numpy", help="CPU or NVIDIA GPU")
    add("--data-dir", type=Path, help="folder of MNIST's four IDX files, plain or .gz")
    add("--dataset", choices=DATASETS, default="auto", help="auto: MNIST, else bundled digits")
    add("--epochs", type=positive, help=f"passes over the training images (default {EPOCHS})")
    add("--batch-size", type=positive, default=64, help="images a step (%(default)s)")
    add("--lr", type=float, default=4e-3, help="highest learning rate (%(default)s)")
    add("--optimizer", choices=OPTIMIZERS, default="adamw", help="update rule (%(default)s)")
    add("--schedule", choices=SCHEDULES, default="onecycle", help="of the rate (%(default)s)")
    add("--dropout", type=float, default=0.1, help="probability of silence (%(default)s)")
    add("--augment", choices=AUGMENTATIONS, default="seed", help="seed: rotate, invert, grayscale")
    add("--validation", type=float, default=0.05, help="share held out (%(default)s)")
    add("--seed", type=int, default=0, help="of everything random (%(default)s)")
    add("--limit", type=positive, help="use only the first so many training and test images")
    add("--no-download", action="store_true", help="never fetch MNIST")
    add("--output", type=Path, help="folder for history.json")
    add("--quiet", action="store_true", help="print the result only")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    say = (lambda *words: None) if args.quiet else print
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)  # now, not after the training it would lose

    # Load. Validation images come out of the training set; the test set is for the end.
    data = load_dataset(args.dataset, args.data_dir, download=not args.no_download)
    if data.notice:
        print(data.notice, file=sys.stderr)
    if args.limit:
        data = data.limited(args.limit)
    chosen, held_out = train_validation_split(
        data.train_labels, args.validation, generator(args.seed, "split")
    )
    loader = DataLoader(
        data.train_images[chosen],
        data.train_labels[chosen],
        args.batch_size,
        shuffle=True,
        rng=generator(args.seed, "shuffle"),
        transform=AUGMENTATIONS[args.augment](),
        transform_rng=generator(args.seed, "augment"),
    ).to(args.backend)
    epochs = args.epochs or EPOCHS[data.name]

    # Model, loss, optimizer.
    model = LeNet5(dropout=args.dropout, seed=args.seed).to(get_backend(args.backend))
    loss = CrossEntropyLoss()
    optimizer = OPTIMIZERS[args.optimizer](model.parameters(), args.lr)
    schedule = SCHEDULES[args.schedule](optimizer, args.lr, epochs * len(loader))
    say(model.summary((1, *data.train_images.shape[1:])))
    say(
        f"{data.name}: {len(chosen):,} training, {len(held_out):,} validation, "
        f"{len(data.test_labels):,} test images; {epochs} epochs of {len(loader)} steps"
    )

    # Loop.
    history = fit(
        model,
        loss,
        optimizer,
        loader,
        epochs=epochs,
        schedule=schedule,
        validation=(data.train_images[held_out], data.train_labels[held_out])
        if len(held_out)  # a very small --limit leaves none
        else None,
        progress=not args.quiet,
        on_epoch=say,
    )

    # Result.
    test = evaluate(model, data.test_images, data.test_labels)
    inverted = evaluate(model, augment.invert(data.test_images), data.test_labels)
    if history.interrupted:
        print(f"interrupted after {len(history.epochs)} whole epochs; this is what was reached")
    say(confusion_table(test.confusion))
    print(
        f"test accuracy {test.accuracy:.2%}, on inverted images {inverted.accuracy:.2%}, "
        f"trained in {history.seconds:.1f} s"
    )
    if args.output:
        with atomic_write(args.output / "history.json") as file:
            record = {
                "arguments": {
                    k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()
                },
                "dataset": data.name,
                "environment": environment(),
                **history.as_dict(),
                "test": vars(test),
                "inverted_test": vars(inverted),
            }
            file.write(json.dumps(record, indent=2).encode())
    return 130 if history.interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BackendError, DataError, MemoryError, NonFiniteLoss, OSError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
