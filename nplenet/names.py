"""Names that a user of PyTorch types, and ours: what modules and layers answer when asked for one.

``answer_wrong_names`` lets a module say what a wrong name is called here, and list its public names
only, as ``dir()`` and the completion of an editor show them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from opcode import opmap
from types import FrameType
from typing import Any

OURS = {
    "AdaptiveAvgPool2d": "nplenet.layers.GlobalAvgPool2d",
    "CosineAnnealingLR": "nplenet.schedules.CosineLR",
    "Dataset": "nplenet.data.DataLoader",
    "FashionMNIST": "nplenet.data.load_fashion_mnist",
    "ImageFolder": "nplenet.data.from_folder",
    "KMNIST": "nplenet.data.load_kmnist",
    "EMNIST": "nplenet.data.load_emnist",
    "LinearLR": "nplenet.schedules.WarmUpLR",
    "Linear": "nplenet.layers.Dense",
    "MNIST": "nplenet.data.load_mnist",
    "Module": "nplenet.layers.Layer",
    "NLLLoss": "nplenet.losses.CrossEntropyLoss",
    "Pad": "nplenet.data.pad_images",
    "QMNIST": "nplenet.data.load_qmnist",
    "ReduceLROnPlateau": "nplenet.schedules.PlateauLR",
    "Tensor": "numpy.ndarray",
    "TensorDataset": "nplenet.data.DataLoader",
    "ToTensor": "nplenet.augment.ToFloat",
    "clip_grad_norm_": "nplenet.optim.clip_gradients",
    "clip_grad_value_": "nplenet.optim.clip_gradient_values",
    "evaluate": "nplenet.train.evaluate",
    "fit": "nplenet.train.fit",
    "from_numpy": "numpy.asarray",
    "gradcheck": "nplenet.gradcheck.check_layer",
    "load": "nplenet.load_model",
    "lr_scheduler": "nplenet.schedules",
    "nn": "nplenet.layers",
    "random_split": "nplenet.data.train_validation_split",
    "save": "nplenet.save_model",
    "tensor": "numpy.asarray",
    "transforms": "nplenet.augment",
}
"""What stands here under another name, or in a module where PyTorch has it elsewhere."""

OF_A_LAYER = {
    "add_module": "append(layer) of a Sequential",
    "apply": "modules(), which yields (path, layer)",
    "compile": "nplenet.compile(model, loss, optimizer, batch_size)",
    "cpu": "to('numpy')",
    "cuda": "to('cupy')",
    "double": "astype('float64')",
    "float": "astype('float32')",
    "fit": "nplenet.train.fit(model, loss, optimizer, loader, epochs=...)",
    "grad": "layer.weight.grad",
    "half": "astype('float32'); nplenet computes in float32 or float64",
    "named_children": "children(), a dict",
    "named_modules": "modules(), which yields (path, layer)",
    "named_parameters": "parameters(), each of which has its name",
    "predict": "model.eval() and model(x), or nplenet.compile(model).predict(x)",
    "register_buffer": "an attribute, with its name in the tuple `buffers`",
    "register_parameter": "an attribute that is a Parameter",
    "save": "nplenet.save_model(model, path)",
}

OF_AN_OPTIMIZER = {
    "add_param_group": "the list of groups: Adam([{'params': ..., 'lr': ...}, ...])",
    "beta1": "betas, a pair",
    "beta2": "betas, a pair",
    "defaults": "the attributes lr, weight_decay, ...",
    "learning_rate": "lr",
    "momentum": "betas, of which the first is the momentum",
    "state": "state_dict()",
}

OF_A_SCHEDULE = {
    "get_last_lr": "last_lr",
    "get_lr": "last_lr",
    "last_epoch": "step_count",
    "lr": "last_lr to read, base_lr to change it",
}

OF_A_LOADER = {
    "dataset": "images and labels",
    "num_workers": "prefetch",
    "sampler": "shuffle and rng",
}

PARTS = ("layers", "losses", "optim", "schedules", "data", "augment", "models", "train")


def no_attribute(owner: str, name: str, table: Mapping[str, str], kind: str = "attribute") -> str:
    """Return "OWNER has no NAME", and what to write instead where a table knows it."""
    known = f"; write {table[name]}" if name in table else ""
    return f"{owner} has no {kind} {name!r}{known}"


def answer_wrong_names(module: str, *more: str) -> None:
    """Let a module answer a wrong name with ours, and list its ``__all__`` and ``more``."""
    scope = vars(sys.modules[module])

    def __getattr__(name: str) -> Any:  # noqa: N807  the name Python looks for
        raise unknown(module, name, sys._getframe(1))

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*scope["__all__"], *more})

    scope.setdefault("__getattr__", __getattr__)
    scope["__dir__"] = __dir__


def unknown(module: str, name: str, asker: FrameType) -> Exception:
    """Return the error for a name that a module does not have, with ours where there is one.

    An AttributeError, for ``hasattr``; but ``from nplenet.layers import Linear`` would put other
    words in its place, so ``asker``, the frame that wants the name, then gets an ImportError.
    """
    place = _place(name)
    if place is None or place == f"{module}.{name}":
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    text = f"module {module!r} has no {name!r}; use {place}"
    code, at = asker.f_code.co_code, asker.f_lasti
    if 0 <= at < len(code) and code[at] == opmap["IMPORT_FROM"]:
        return ImportError(text, name=module)
    return AttributeError(text)


def _place(name: str) -> str | None:
    if name.startswith("_"):
        return None
    for part in PARTS:  # those that are loaded
        if name in getattr(sys.modules.get(f"nplenet.{part}"), "__all__", ()):
            return f"nplenet.{part}.{name}"
    return OURS.get(name)
