"""Read a model that PyTorch saved, without PyTorch, and use it.

python examples/from_pytorch.py model.pth

The file is what ``torch.save(model.state_dict(), "model.pth")`` wrote, for this LeNet-5:

    features = Sequential(Conv2d(1, 6, 5, bias=False), BatchNorm2d(6), ReLU(), AvgPool2d(2),
                          Conv2d(6, 16, 5, bias=False), BatchNorm2d(16), ReLU(), AvgPool2d(2))
    classifier = Sequential(Flatten(), Linear(400, 120), ReLU(), Dropout(), Linear(120, 84), ReLU(),
                            Dropout(), Linear(84, 10))
"""

import sys

import numpy as np

from nplenet import save_model
from nplenet.augment import ToFloat
from nplenet.data import load_digits, pad_images
from nplenet.interop import pytorch
from nplenet.losses import softmax
from nplenet.models import LeNet5

if __name__ == "__main__":
    path = sys.argv[1]
    for name, array in pytorch.load_state_dict(path).items():
        print(f"{name:<36} {array.dtype!s:<8} {array.shape}")

    model = LeNet5()
    pytorch.load(model, path)  # names={"conv1": "features.0", ...} for a model with other names
    images, labels = load_digits("test")
    x = ToFloat()(pad_images(images[:5]))
    probabilities = softmax(model.eval()(x))
    for label, row in zip(labels[:5], probabilities, strict=True):
        print(f"a digit {label} is taken for {row.argmax()} with probability {row.max():.1%}")

    # And back, bit for bit, for torch.load(weights_only=True).
    pytorch.save(model, "copy.pth")
    again = pytorch.load_state_dict("copy.pth")
    assert all(np.array_equal(again[name], array) for name, array in model.state_dict().items())
    save_model(model, "copy.safetensors")  # with its architecture, for nplenet.load_model
    print("wrote copy.pth and copy.safetensors")
