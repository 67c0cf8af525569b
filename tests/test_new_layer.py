"""A new layer takes the four files that CONTRIBUTING.md lists, and no other.

A copy of the source tree gets a layer that way. There the tests of the table pass, and the layer
trains, is saved and is loaded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nplenet.cases import ROWS, WITHOUT

ROOT = Path(__file__).parents[1]

SOFTPLUS = '''"""A smooth ReLU."""

from __future__ import annotations

from ..backend import Array
from .base import Layer


class Softplus(Layer):
    """y = log(1 + exp(x)); dx = dy / (1 + exp(-x))."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.xp.logaddexp(x, self.backend.xp.zeros((), x.dtype))
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return dy * -self.backend.xp.expm1(-y)
'''

# What is inserted into each file, and before which line of it.
EDITS: dict[str, dict[str, str]] = {
    "nplenet/layers/__init__.py": {
        "\n__all__": "from .softplus import Softplus\n",
        '    "Tanh",\n': '    "Softplus",\n',
    },
    "nplenet/cases.py": {
        "    Tanh,\n": "    Softplus,\n",
        "    _row(Tanh,": '    _row(Softplus, (3, 4, 5), {"plain": lambda rng: Softplus()}),\n',
    },
    "docs/api/layers.md": {
        ".. autoclass:: nplenet.layers.Tanh\n": ".. autoclass:: nplenet.layers.Softplus\n",
    },
}

TESTS_OF_THE_TABLE = (
    "tests/compiled/test_equality.py",
    "tests/interop/test_onnx.py",
    "tests/layers/test_contract.py",
    "tests/test_cases.py",
    "tests/test_docs.py",
    "tests/test_golden.py",
    "tests/test_gradcheck.py",
    "tests/test_structure.py",
)
# Left out: slow tests that try nothing of the table, and most layers that are compiled.
NOT_SLOW = (
    "not importing_nplenet and not lenet5 and not wrong_backward and not sabotaged "
    "and not (test_equality and not tanh and not softplus)"
)

TRAIN = """
import numpy as np
from nplenet import compile, load_model, save_model
from nplenet.augment import ToFloat
from nplenet.data import DataLoader, load_digits
from nplenet.layers import Dense, Flatten, Sequential, Softplus
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import Adam
from nplenet.train import fit

rng = np.random.default_rng(0)
model = Sequential(Flatten(), Dense(1024, 16, rng=rng), Softplus(), Dense(16, 10, rng=rng))
images, labels = load_digits("train")
images, labels = images[:256, None], labels[:256]
loader = DataLoader(images, labels, 32, shuffle=True, rng=rng, transform=ToFloat())
optimizer = Adam(model.parameters(), lr=0.01)
history = fit(model, CrossEntropyLoss(), optimizer, loader, epochs=5, progress=False)
first, *_, last = history.epochs
assert last.loss < 0.5 * first.loss, (first, last)

step = compile(model, CrossEntropyLoss(), optimizer, 32)
x, y = ToFloat()(images[:32]), labels[:32]
assert step(x, y) < first.loss
assert "Softplus (textbook)" in step.describe(), step.describe()

save_model(model, "model.safetensors")
loaded = load_model("model.safetensors")
assert isinstance(loaded[2], Softplus)
assert np.array_equal(loaded(x), model.eval()(x))
print(loaded.summary((1, 1, 32, 32)))
"""


def section() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.partition("\n## A new layer\n")[2].partition("\n## ")[0]


def listed_files() -> list[str]:
    """Return the files in the numbered list of CONTRIBUTING.md."""
    return re.findall(r"^\d+\. `([^`]+)`", section(), re.MULTILINE)


def run(tree: Path, *arguments: str) -> str:
    """Run Python on the copy and return its output, which a failure shows."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the source tree with the layer in it."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a checkout and git, to copy the files of the repository alone")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    copy = tmp_path_factory.mktemp("tree")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for name in listed_files():
        path = copy / name.replace("yourlayer", "softplus")
        if not path.exists():
            path.write_text(SOFTPLUS, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        for before, line in EDITS[name].items():
            assert text.count(before) == 1, f"{name}: {before!r}"
            text = text.replace(before, line + before)
        path.write_text(text, encoding="utf-8")
    return copy


def test_contributing_lists_four_files() -> None:
    assert listed_files() == ["nplenet/layers/yourlayer.py", *EDITS]


def test_contributing_says_where_the_code_of_each_rung_goes() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section(), re.MULTILINE)
    assert set(rows) == {rung for row in ROWS for rung in row.rungs} & WITHOUT.keys()


def test_the_tests_of_the_table_pass(tree: Path) -> None:
    options = ["-q", "-rA", "-p", "no:cacheprovider", "--backend", "numpy", "-k", NOT_SLOW]
    output = run(tree, "-m", "pytest", *options, *TESTS_OF_THE_TABLE)
    tried = set(re.findall(r"^PASSED (\S+?)::.*softplus", output, re.MULTILINE | re.IGNORECASE))
    assert tried == {
        "tests/compiled/test_equality.py",
        "tests/layers/test_contract.py",
        "tests/test_cases.py",
        "tests/test_docs.py",
        "tests/test_gradcheck.py",
        "tests/test_structure.py",
    }


def test_it_trains_and_is_saved_and_loaded(tree: Path) -> None:
    assert "2 Softplus" in run(tree, "-c", TRAIN)


def test_layers_shows_what_it_lacks(tree: Path) -> None:
    found = json.loads(run(tree, "-m", "nplenet", "layers", "--json"))["layers"]["softplus"]
    assert {rung for rung, is_there in found.items() if not is_there} == WITHOUT.keys()
