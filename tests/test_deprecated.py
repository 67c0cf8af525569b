"""The old way of everything that has moved works for one release more, and says what is new."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import nplenet
from nplenet import load_model, save_model
from nplenet.compiled import TextbookStep
from nplenet.layers import Dense
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD
from nplenet.page import write_page

PACKAGE = Path(nplenet.__file__).parent

MOVED = {
    "nplenet.augment": "Rotations apply_rotation seed_pipeline",
    "nplenet.backend": (
        "PURPOSES environment generator generator_state one_blas_thread processor restore_generator"
    ),
    "nplenet.checkpoint": "backup",
    "nplenet.cuda": "CupyBackend",
    "nplenet.evaluation": ("Evaluation confusion_table evaluate evaluate_with naming_batch_size"),
    "nplenet.operations": "CASES OPERATIONS Case Operation select",
    "nplenet.optim": "Parameter",
    "nplenet.parallel": "ALONE Group MpiGroup Nccl join launch sharing",
    "nplenet.show.page": "write_page",
    "nplenet.show.plots": (
        "augmentation_preview confusion_matrix feature_maps filters hidden_map histograms "
        "learning_curves worst_mistakes"
    ),
    "nplenet.show.report": "write_report",
    "nplenet.window": "count pair",
}
OLD_NAMES = [(module, name) for module, names in MOVED.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), OLD_NAMES)
def test_a_name_that_has_moved_is_found_at_its_old_place(module: str, name: str) -> None:
    start = rf"^{module}\.{name} is deprecated: use nplenet\."
    with pytest.warns(DeprecationWarning, match=start) as warned:
        found = getattr(importlib.import_module(module), name)
    home, _, new = str(warned[0].message).rpartition(" ")[2].rpartition(".")
    assert found is getattr(importlib.import_module(home), new)
    assert warned[0].filename == __file__


def test_every_name_that_has_moved_is_tested() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    found = {
        ".".join(("nplenet", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path, source in sources.items()
        if "__getattr__ = moved(" in source
    }
    assert {name.removesuffix(".__init__") for name in found} == MOVED.keys()
    for module, names in MOVED.items():
        old = inspect.getclosurevars(vars(importlib.import_module(module))["__getattr__"])
        assert sorted(old.nonlocals["names"]) == sorted(names.split())


def test_a_name_that_never_was_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'nplenet\.show\.plots' has no attribute 'x'"):
        importlib.import_module("nplenet.show.plots").x  # noqa: B018


@pytest.mark.filterwarnings("ignore:nplenet.show.plots:DeprecationWarning")
def test_all_names_of_a_module_that_has_moved_are_imported_at_once() -> None:
    names: dict[str, Any] = {}
    exec("from nplenet.show.plots import *", names)
    assert names.keys() >= set(MOVED["nplenet.show.plots"].split())


@pytest.mark.parametrize("write", [save_model, write_page])
@pytest.mark.parametrize("named", [False, True])
def test_the_path_before_the_model_works_and_warns(write: Any, named: bool, tmp_path: Path) -> None:
    model = LeNet5(seed=0)
    write(model, tmp_path / "new")
    name = write.__name__
    message = rf"^{name}\(path, model\) is deprecated: use {name}\(model, path\)$"
    arguments, by_name = ([], {"model": model}) if named else ([model], {})
    with pytest.warns(DeprecationWarning, match=message) as warned:
        write(tmp_path / "old", *arguments, **by_name)
    assert warned[0].filename == __file__
    assert (tmp_path / "old").read_bytes() == (tmp_path / "new").read_bytes()


def test_the_model_and_the_path_by_name_are_not_deprecated(tmp_path: Path) -> None:
    save_model(path=tmp_path / "a", model=Dense(3, 2))
    save_model(Dense(3, 2), path=tmp_path / "b")
    assert load_model(tmp_path / "a").state_dict().keys() == {"weight", "bias"}
    assert (tmp_path / "b").exists()


def test_the_hits_of_a_step_are_its_correct_predictions() -> None:
    model = Dense(3, 2)
    step = TextbookStep(model, CrossEntropyLoss(), SGD(model.parameters()), 4, "for the test")
    with pytest.warns(DeprecationWarning, match=r"^Step\.hits is deprecated: use correct$"):
        step.hits = 3
    assert step.correct == 3
    with pytest.warns(DeprecationWarning, match=r"^Step\.hits is deprecated: use correct$"):
        assert step.hits == 3
