"""The numbers inside one prediction: follow a digit through every layer, recompute some of them.

python examples/inside_a_prediction.py [--number 3]
"""

import argparse

import numpy as np

from nplenet import load_model
from nplenet.augment import ToFloat
from nplenet.checkpoint import DEFAULT_MODEL
from nplenet.data import load_digits, pad_images
from nplenet.losses import softmax
from nplenet.recognize import picture


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--number", type=int, default=0, help="number of the test digit, 0 to 359 (default 0)"
    )
    number = parser.parse_args(argv).number

    digits, labels = load_digits("test")
    image = pad_images(digits[number : number + 1])
    print(picture(image[0, 0]), f"\na digit {labels[number]}\n")

    model = load_model(DEFAULT_MODEL)
    x = ToFloat()(image)
    outputs = {"input": x}
    for part in ("features", "classifier"):
        for name, layer in getattr(model, part).children().items():
            x = layer(x)
            outputs[f"{part}.{name}"] = x
            print(f"{part}.{name:<3} {type(layer).__name__:<12} {x.shape[1:]!s:<14}", end="")
            print(f"min {x.min():8.3f}  mean {x.mean():7.3f}  max {x.max():7.3f}")

    print("\nOne value of the first convolution, filter 2, row 10, column 12, by hand:")
    window, kernel = outputs["input"][0, 0, 10:15, 12:17], model.features[0].weight.data[2, 0]
    for pixels, weights in zip(window, kernel, strict=True):
        print("  " + "  ".join(f"{p:4.2f}*{w:+5.2f}" for p, w in zip(pixels, weights, strict=True)))
    by_hand, found = float((window * kernel).sum()), float(outputs["features.0"][0, 2, 10, 12])
    print(f"  the sum is {by_hand:.5f}, the layer says {found:.5f}")

    norm = model.features[1]
    mean, var = float(norm.running_mean[2]), float(norm.running_var[2])
    weight, bias = float(norm.weight.data[2]), float(norm.bias.data[2])
    by_hand = (found - mean) / np.sqrt(var + norm.eps) * weight + bias
    print(f"Batch norm: ({found:.4f} - {mean:.4f}) / sqrt({var:.4f} + {norm.eps}) * {weight:.4f}")
    print(f"  + {bias:.4f} = {by_hand:.5f}, the layer says ", end="")
    print(f"{float(outputs['features.1'][0, 2, 10, 12]):.5f}")

    print("\nEvidence for the prediction: the hidden units with the largest value times weight")
    hidden, last = outputs["classifier.6"][0], model.classifier[7]
    predicted = int(x[0].argmax())
    products = hidden * last.weight.data[predicted]
    for unit in np.argsort(-np.abs(products))[:5]:
        print(
            f"  unit {unit:2}: {hidden[unit]:6.3f} * {last.weight.data[predicted, unit]:+.3f}",
            end="",
        )
        print(f" = {products[unit]:+.3f}")
    print(f"  all 84 and the bias give the logit {x[0, predicted]:.3f}")
    for digit, probability in enumerate(softmax(x)[0]):
        print(f"  {digit}: {probability:7.2%} {'#' * round(40 * float(probability))}")


if __name__ == "__main__":
    main()
