"""Who may import whom, and what ``import nplenet`` costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import nplenet

PACKAGE = Path(nplenet.__file__).parent
OLD_NAMES = ("cuda", "evaluation", "operations", "parallel", "show")  # say where they have moved
FILES = sorted(
    file
    for file in PACKAGE.rglob("*.py")
    if file.relative_to(PACKAGE).parts[0].removesuffix(".py") not in OLD_NAMES
)
FOLDERS = sorted(
    folder.relative_to(PACKAGE).as_posix() for folder in {file.parent for file in FILES} - {PACKAGE}
)
# What ``import nplenet`` loads after NumPy: exactly these packages, and modules of Python among
# these. Which ones depends on the version of Python, and on what NumPy has loaded already.
PACKAGES_LOADED = {"nplenet", "idx2numpy", "safetensors", "threadpoolctl"}
PACKAGES_LOADED |= {"six"}  # by idx2numpy
PACKAGES_LOADED |= {"numpy", "cython_runtime"}  # numpy.random
PYTHON_LOADED = """
annotationlib ast atexit base64 binascii bisect bz2 compression copy ctypes.util dataclasses dis
errno fnmatch glob grp gzip hashlib heapq hmac importlib importlib.machinery importlib.util inspect
ipaddress json json.decoder json.encoder json.scanner linecache lzma ntpath opcode pathlib pwd queue
random secrets shutil signal tempfile threading token tokenize urllib urllib.parse zlib
"""

# Each module and folder of nplenet, and those that it imports: exactly these. A row may name only
# rows above it.
PARTS: dict[str, str] = {
    "checks": "",
    "names": "",
    "attributes": "checks names",
    "deprecated": "names",
    "files": "",
    "interrupts": "",
    "terminal": "",
    "turns": "",
    "rounding": "",
    "version": "",
    "machine": "version",
    "schema": "terminal",
    "seeds": "checks names",
    "window": "checks deprecated",
    "backend": "checks deprecated machine names rounding window",
    "augment": "attributes backend checks deprecated names",
    "group": "backend names",
    "loss_hints": "backend",
    "losses": "attributes backend checks loss_hints names",
    "parameter": "backend names",
    "data": "attributes augment backend checks files group machine names rounding seeds terminal",
    "layers": "attributes backend checks group names parameter rounding window",
    "mpi": "backend group machine names",
    "optim": "attributes backend checks deprecated names parameter rounding turns",
    "tied": "layers",
    "architecture": "layers tied window",
    "doctor": "backend data layers version",
    "input_shape": "layers",
    "models": "layers names seeds",
    "trust": "augment checks layers losses names",
    "segment": "data rounding",
    "recognize": "augment checks data layers names segment trust",
    "schedules": "attributes checks names optim",
    "cases": "backend layers losses models",
    "checkpoint": (
        "architecture attributes augment checks data deprecated files input_shape layers losses "
        "machine names optim schedules schema seeds terminal tied trust"
    ),
    "compiled": (
        "attributes augment backend checks files group layers losses machine optim rounding "
        "schedules schema seeds turns version window"
    ),
    "interop": "architecture augment backend checks data files layers names version window",
    "page": "architecture augment data deprecated files layers",
    "recipe": "augment data optim schedules schema",
    "gradcheck": "backend cases layers losses names",
    "train": (
        "architecture attributes augment backend checkpoint checks compiled data group layers "
        "losses machine names optim rounding schedules seeds"
    ),
    "plots": "augment backend layers losses names rounding terminal train",
    "report": (
        "augment checkpoint data files input_shape layers names plots recipe schema terminal train"
    ),
    "lab": "augment cases data files layers losses models names optim rounding window",
    "__init__": (
        "architecture augment backend checkpoint compiled data gradcheck interop interrupts "
        "layers losses models mpi names optim plots recognize report schedules train trust "
        "version"
    ),
    "commands": (
        "augment backend cases checkpoint checks compiled data doctor files gradcheck group "
        "input_shape interop lab layers losses machine models mpi optim page recipe recognize "
        "report rounding schema seeds terminal train trust"
    ),
    "__main__": "architecture backend commands interrupts terminal version",
}

# The same within each folder, except for a layer: it has no row, and imports some of LAYER_IMPORTS.
LAYER_IMPORTS = {"base", "hints", "initialization", "products", "sequential"}
INSIDE: dict[str, dict[str, str]] = {
    "augment": {
        "pixels": "",
        "gather": "",
        "maps": "gather pixels",
        "rotation": "gather maps pixels",
        "random_affine": "gather maps pixels",
        "transforms": "pixels random_affine rotation",
        "pipeline": "gather pixels random_affine transforms",
        "preprocessing": "transforms",
        "__init__": "gather maps pipeline pixels preprocessing random_affine rotation transforms",
    },
    "backend": {
        "base": "",
        "launch": "base",
        "numpy_backend": "base",
        "binding": "base launch",
        "cublas": "base launch",
        "product": "base cublas launch",
        "training_kernels": "base binding launch",
        "kernels": "base binding launch product",
        "cupy_backend": "base binding kernels launch training_kernels",
        "choose": "base cupy_backend numpy_backend",
        "__init__": "base choose numpy_backend",
    },
    "checkpoint": {
        "progress": "",
        "record": "",
        "file": "record",
        "kept": "file progress",
        "settings": "",
        "run": "file kept progress record settings",
        "folder": "file kept progress run",
        "__init__": "file folder progress run",
    },
    "commands": {
        "__init__": "",
        "layers": "",
        "own_layers": "",
        "doctor": "__init__",
        "tune": "__init__",
        "draw": "__init__",
        "evaluate": "__init__",
        "export": "__init__",
        "gradcheck": "__init__ own_layers",
        "import_": "__init__",
        "info": "__init__",
        "lab": "__init__",
        "predict": "__init__",
        "report": "__init__",
        "extension": "",
        "console": "extension",
        "train_options": "__init__ extension",
        "train": "console extension train_options",
    },
    "compiled": {
        "operation": "",
        "settings": "",
        "step": "",
        "passes": "operation",
        "placement": "operation",
        "plan": "operation passes placement",
        "cpu": "operation passes placement plan settings step",
        "cuda": "operation passes plan settings step",
        "__init__": "cpu cuda step",
    },
    "compiled/cpu": {
        "__init__": "",
        "kinds": "",
        "memory": "",
        "numerics": "",
        "tuning": "",
        "chunks": "tuning",
        "patience": "",
        "gate": "memory patience",
        "lanes": "chunks memory",
        "program": "chunks",
        "trace": "chunks",
        "threads": "chunks kinds patience program",
        "helper": "chunks gate memory program",
        "processes": "chunks helper memory program",
        "arena": "chunks lanes memory",
        "choose": "lanes",
        "executor": "choose chunks lanes memory",
        "prepared": "arena choose chunks executor lanes memory processes program trace tuning",
        "workers": "kinds prepared processes program threads",
        "search": "chunks tuning workers",
        "tuning_cache": "search tuning workers",
        "step": "kinds numerics prepared program tuning workers",
        "trial": "step tuning",
    },
    "compiled/cpu/lanes": {
        "__init__": "",
        "lane": "",
        "activation": "lane",
        "batchnorm": "lane",
        "dense": "lane",
        "dropout": "lane",
        "flatten": "lane",
        "loss": "lane",
        "sums": "lane",
        "textbook": "lane",
        "conv": "lane sums",
        "fused": "batchnorm lane sums",
        "pooling": "lane sums",
        "fold": "batchnorm conv dense lane sums",
    },
    "segment": {
        "windows": "",
        "colour": "windows",
        "lines": "",
        "form": "windows",
        "ink": "windows",
        "parts": "ink windows",
        "groups": "parts",
        "shapes": "windows",
        "boxes": "lines parts windows",
        "notes": "form parts shapes windows",
        "contest": "groups parts shapes",
        "choose": "contest notes parts shapes",
        "__init__": "boxes choose colour groups ink lines notes parts windows",
    },
    "compiled/cuda": {
        "__init__": "",
        "choose": "",
        "feed": "",
        "graphs": "",
        "host": "",
        "captured": "feed graphs",
        "epoch": "feed graphs host",
        "fused": "feed",
        "single": "feed fused",
        "step": "captured epoch feed fused graphs host single",
    },
    "compiled/cuda/fused": {
        "operation": "",
        "dense": "operation",
        "elementwise": "operation",
        "loss": "operation",
        "parts": "operation",
        "pooling": "operation",
        "tiles": "",
        "code": "operation parts",
        "conv": "operation tiles",
        "norm": "elementwise operation",
        "update": "parts",
        "moments": "code operation parts",
        "first": "conv moments norm operation",
        "program": "code first operation parts update",
        "choose": "code conv dense elementwise first loss norm operation pooling program update",
        "module": "code parts program",
        "training": "choose program update",
        "step": "choose module parts program training update",
        "__init__": "choose program step",
    },
    "data": {
        "batches": "",
        "idx": "",
        "lazy": "",
        "pad": "",
        "prefetch": "",
        "split": "",
        "device": "batches",
        "digits": "idx",
        "image_set": "idx",
        "known": "idx",
        "picture_file": "idx",
        "csv_file": "idx image_set",
        "fetch": "idx known",
        "loader": "batches device lazy prefetch",
        "npz_file": "idx image_set",
        "picture_folder": "idx image_set pad picture_file",
        "idx_set": "fetch idx known",
        "pictures": "image_set pad picture_file",
        "own": "csv_file idx image_set npz_file picture_folder pictures split",
        "emnist": "idx idx_set known",
        "mnist": "idx idx_set known",
        "mnist_like": "idx idx_set known mnist",
        "dataset": "digits emnist idx image_set mnist mnist_like own pad pictures",
        "__init__": (
            "csv_file dataset device digits emnist idx image_set loader mnist "
            "mnist_like npz_file pad picture_folder pictures split "
        ),
    },
    "interop": {
        "onnx_input": "",
        "onnx": "onnx_input",
        "torch_pickle": "",
        "torch_dump": "torch_pickle",
        "torch_states": "torch_pickle",
        "torch_zip": "torch_dump torch_pickle torch_states",
        "pytorch": "torch_pickle torch_states torch_zip",
        "__init__": "onnx pytorch",
    },
    "lab": {
        "compare": "",
        "source": "",
        "answer": "compare",
        "checks": "answer compare source",
        "assignment": "",  # finds its checks by name
        "worker": "answer assignment checks compare",
        "grader": "answer assignment worker",
        "handout": "assignment source",
        "network": "answer assignment compare grader worker",
        "train": "network",
        "__init__": "assignment grader",
    },
    "lab/checks": {
        "__init__": "",
        "layer": "",
        "activations": "layer",
        "batch_norm": "layer",
        "conv": "layer",
        "cross_entropy": "layer",
        "cuda": "layer",
        "dense": "layer",
        "dropout": "layer",
        "optimizers": "layer",
        "rotation": "layer",
        "conv_backward": "conv layer",
        "pooling": "conv layer",
    },
    "layers": {
        "hints": "",
        "base": "hints",
        "initialization": "",
        "products": "",
        "sequential": "base hints",
    },
    "optim": {
        "clip": "",
        "flat": "",
        "group": "",
        "optimizer": "flat group",
        "adam": "flat group optimizer",
        "rmsprop": "flat group optimizer",
        "sgd": "flat group optimizer",
        "__init__": "adam clip flat group optimizer rmsprop sgd",
    },
    "page": {
        "book": "",
        "reading": "",
        "words": "",
        "__init__": "book reading words",
    },
    "plots": {
        "style": "",
        "network": "style",
        "run": "network style",
        "__init__": "network run",
    },
    "report": {
        "history": "",
        "html": "",
        "sections": "html",
        "__init__": "history html sections",
    },
    "schedules": {
        "base": "",
        "decay": "base",
        "one_cycle": "base",
        "plateau": "base",
        "__init__": "base decay one_cycle plateau",
    },
    "train": {
        "evaluation": "",
        "history": "",
        "stop": "",
        "epoch": "evaluation stop",
        "preflight": "evaluation",
        "fit": "epoch evaluation history preflight stop",
        "__init__": "epoch evaluation fit history",
    },
}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imports(file: Path) -> list[str]:
    """Return the absolute names of all that ``file`` imports, inside functions too."""
    names = []
    package = ["nplenet", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            names += [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            names += [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
    return names


@cache
def imported_files(file: Path) -> set[Path]:
    """Return the files of nplenet that ``file`` names in its imports."""
    found = set()
    for name in imports(file):
        path = name.split(".")
        while path and path[0] == "nplenet":
            place = PACKAGE.joinpath(*path[1:])
            hit = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            if hit.is_file():
                found.add(hit)
                break
            path.pop()
    return found - {file}


def room(file: Path, folder: Path) -> str | None:
    """Return what ``file`` belongs to among the modules and folders in ``folder``; None outside."""
    if not file.is_relative_to(folder):
        return None
    return file.relative_to(folder).parts[0].removesuffix(".py")


def graph_inside(folder: str) -> dict[str, set[str]]:
    """Return whom each module and folder in a folder imports among its neighbours."""
    home = PACKAGE / folder
    graph: dict[str, set[str]] = {}
    for file in FILES:
        own = room(file, home)
        if own is not None:
            others = {room(other, home) for other in imported_files(file)}
            graph.setdefault(own, set()).update(other for other in others if other)
    return {own: others - {own} for own, others in graph.items()}


def graph_of_parts() -> dict[str, set[str]]:
    """Return whom each module and folder of nplenet imports."""
    return graph_inside(".")


def relative(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def assert_is(graph: dict[str, set[str]], table: dict[str, str]) -> None:
    """Compare with a table whose rows may name only rows above them: no circle, nothing upward."""
    assert {own: set(others.split()) for own, others in table.items()} == graph
    above: set[str] = set()
    for own, others in table.items():
        assert set(others.split()) <= above, f"{own} imports upward"
        above.add(own)


def test_each_part_imports_exactly_these_others() -> None:
    assert_is(graph_of_parts(), PARTS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_module_of_a_folder_imports_exactly_these_neighbours(folder: str) -> None:
    graph = graph_inside(folder)
    if folder == "layers":
        graph = {own: others for own, others in graph.items() if own in LAYER_IMPORTS}
    assert_is(graph, INSIDE[folder])


def test_a_layer_imports_no_other_layer() -> None:
    graph = graph_inside("layers")
    package = graph.pop("__init__")
    layers = graph.keys() - LAYER_IMPORTS
    assert package == {"base", "sequential", *layers}
    assert [own for own in layers if graph[own] - LAYER_IMPORTS] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    waiting = {file: imported_files(file) & set(FILES) for file in FILES}
    while free := {file for file, others in waiting.items() if not others & waiting.keys()}:
        waiting = {file: others for file, others in waiting.items() if file not in free}
    assert sorted(map(relative, waiting)) == []


def test_an_import_inside_a_function_counts() -> None:
    assert PACKAGE / "backend" / "cupy_backend.py" in imported_files(
        PACKAGE / "backend" / "choose.py"
    )


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_only_the_cuda_modules_import_cupy(file: Path) -> None:
    touches = {name.partition(".")[0] for name in imports(file)} & {"cupy", "cupyx"}
    assert (
        not touches
        or relative(file) == "backend/cupy_backend.py"
        or relative(file).startswith("compiled/cuda/")
    )


def test_layers_never_ask_which_backend_they_run_on() -> None:
    for file in (PACKAGE / "layers").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "cupy" not in text.replace('layer.to("cupy")', ""), file.name


def test_importing_nplenet_loads_only_what_it_needs() -> None:
    """Time is not measured; an import is slow because of what it loads."""
    program = (
        "import sys, numpy; before = set(sys.modules); import nplenet\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    public = {name for name in done.stdout.split() if not re.search(r"(^|\.)_", name)}
    of_python = {name for name in public if name.partition(".")[0] in sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in public - of_python} == PACKAGES_LOADED
    assert of_python <= set(PYTHON_LOADED.split())


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_modules_and_functions_are_short(file: Path) -> None:
    """At most 400 lines a module, and fewer than 60 a function, without its docstring."""
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(parsed(file)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            signature = node.body[0].lineno - node.lineno
            assert signature + (node.end_lineno or 0) - first.lineno + 1 < 60, node.name
