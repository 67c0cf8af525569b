"""Weights from PyTorch and back, and files that only pretend to be weights."""

from __future__ import annotations

import io
import os
import pickle
import runpy
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.data import DataError
from nplenet.interop import pytorch
from nplenet.layers import BatchNorm1d, Dense, Layer, Sequential
from nplenet.models import LeNet5, LeNet5For28x28

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "interop"
CHECKPOINT = GOLDEN / "checkpoint.pth"
MODELS: dict[str, Callable[..., Sequential]] = {"lenet5": LeNet5, "notebook": LeNet5For28x28}
SUFFIXES = (".pth", ".pt", ".safetensors")
MOST_EXTRA_MEMORY = 100e6  # beyond the file's size

each_suffix = pytest.mark.parametrize("suffix", SUFFIXES)
each_model = pytest.mark.parametrize("name", MODELS)


def expected(prefix: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "expected.npz") as arrays:
        return {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)


def varied(name: str, seed: int) -> Sequential:
    """Return a model whose weights and running statistics are far from the initial ones."""
    model, rng = MODELS[name](), np.random.default_rng(seed)
    state = {
        key: np.array(seed, array.dtype)
        if array.ndim == 0
        else rng.uniform(0.5 if key.endswith("var") else -0.5, 1.0, array.shape).astype("f4")
        for key, array in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


# ------------------------------------------------------------------ files that PyTorch wrote


@pytest.mark.parametrize("file", ["lenet5.pth", "notebook.safetensors"])
def test_a_model_with_the_weights_of_pytorch_gives_its_logits(file: str, backend: Backend) -> None:
    name = file.partition(".")[0]
    model = MODELS[name]().to(backend).eval()
    pytorch.load(model, GOLDEN / file)
    golden = expected(f"{name}.")
    logits = backend.to_numpy(model(backend.asarray(golden["x"].astype("f4"))))
    assert np.abs(golden["logits"]).max() > 0.1
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=1e-5)  # float32 to float64


def test_every_dtype_and_every_way_to_lie_in_a_storage_is_read_from_a_checkpoint() -> None:
    assert_equal(pytorch.load_state_dict(CHECKPOINT, "model_state_dict"), expected("tensors."))


def test_every_dtype_is_read_from_safetensors() -> None:
    wanted = expected("tensors.")
    del wanted["tied"]  # the format has none
    found = pytorch.load_state_dict(GOLDEN / "tensors.safetensors")
    assert_equal(found, wanted)


def test_tensors_that_share_memory_in_the_file_share_it_here() -> None:
    state = pytorch.load_state_dict(CHECKPOINT, "model_state_dict")
    assert np.shares_memory(state["parameter"], state["tied"])
    assert not np.shares_memory(state["parameter"], state["part"])


def test_golden_files_stay_small_and_name_their_pytorch() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 300_000
    assert str(expected("torch_version")[""])[0].isdigit()


# ------------------------------------------------------------------ there and back


@each_suffix
@each_model
def test_what_is_saved_loads_byte_for_byte(name: str, suffix: str, tmp_path: Path) -> None:
    model, path = varied(name, 3), tmp_path / f"weights{suffix}"
    pytorch.save(model, path)
    assert_equal(pytorch.load_state_dict(path), model.state_dict())
    other = varied(name, 4)
    pytorch.load(other, path)
    assert_equal(other.state_dict(), model.state_dict())
    pytorch.save(other, tmp_path / f"again{suffix}")
    assert (tmp_path / f"again{suffix}").read_bytes() == path.read_bytes()


@each_suffix
def test_float64_stays_float64(suffix: str, tmp_path: Path) -> None:
    model = varied("lenet5", 3).astype(np.float64)
    pytorch.save(model, tmp_path / f"weights{suffix}")
    assert_equal(pytorch.load_state_dict(tmp_path / f"weights{suffix}"), model.state_dict())


@each_suffix
def test_weights_in_fortran_order_are_saved_by_their_values(suffix: str, tmp_path: Path) -> None:
    model = Sequential(Dense(3, 2))
    model.parameters()[0].data = np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3))
    pytorch.save(model, tmp_path / f"weights{suffix}")
    found = pytorch.load_state_dict(tmp_path / f"weights{suffix}")
    np.testing.assert_array_equal(found["0.weight"], [[0, 1, 2], [3, 4, 5]])


def test_a_model_on_any_backend_saves_and_loads(backend: Backend, tmp_path: Path) -> None:
    model = varied("lenet5", 5)
    before = model.state_dict()
    pytorch.save(model.to(backend), tmp_path / "weights.pth")
    other = LeNet5().to(backend)
    pytorch.load(other, tmp_path / "weights.pth")
    assert_equal(other.state_dict(), before)


def test_storages_begin_at_multiples_of_64_and_are_not_compressed(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    pytorch.save(LeNet5(seed=0), path)
    weight = LeNet5(seed=0).state_dict()["features.0.weight"].tobytes()
    assert path.read_bytes().index(weight) % 64 == 0


@each_suffix
@each_model
def test_an_installed_pytorch_and_nplenet_read_each_other(
    name: str, suffix: str, tmp_path: Path
) -> None:
    why = "PyTorch is not installed; the golden files stand in for it"
    torch = pytest.importorskip("torch", reason=why)
    files = pytest.importorskip("safetensors.torch", reason=why)
    tool = runpy.run_path(str(ROOT / "tools" / "make_interop.py"))
    theirs = {"lenet5": tool["LeNet5"], "notebook": tool["notebook"]}[name]()
    tool["vary"](theirs)
    x = np.random.default_rng(0).random((4, 1, *((32, 32) if name == "lenet5" else (28, 28))))
    x = x.astype("f4")

    def logits_of_pytorch() -> np.ndarray:
        with torch.no_grad():
            return theirs(torch.from_numpy(x)).numpy()

    write = files.save_file if suffix == ".safetensors" else torch.save
    write(theirs.state_dict(), tmp_path / f"theirs{suffix}")
    ours = MODELS[name]().eval()
    pytorch.load(ours, tmp_path / f"theirs{suffix}")
    np.testing.assert_allclose(ours(x), logits_of_pytorch(), rtol=0, atol=1e-5)

    ours = MODELS[name](seed=6)
    ours(x)  # moves the running statistics
    ours.eval()
    path = tmp_path / f"ours{suffix}"
    pytorch.save(ours, path)
    state = (
        files.load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)
    )
    assert_equal({key: tensor.numpy() for key, tensor in state.items()}, ours.state_dict())
    theirs.load_state_dict(state)
    np.testing.assert_allclose(ours(x), logits_of_pytorch(), rtol=0, atol=1e-5)


# ------------------------------------------------------------------ names


def small(**layers: Layer) -> Sequential:
    return Sequential(**layers or {"dense": Dense(3, 2), "norm": BatchNorm1d(2)})


RENAMINGS = {
    "layers": {"fc1": "dense", "bn1": "norm"},
    "one tensor": {"fc1": "dense", "bn1": "norm", "fc1.bias": "dense.bias"},
    "function": lambda name: name.replace("fc1", "dense").replace("bn1", "norm"),
}


@pytest.mark.parametrize("names", RENAMINGS.values(), ids=RENAMINGS)
def test_names_are_mapped(names: pytorch.Names, tmp_path: Path) -> None:
    theirs, ours = small(fc1=Dense(3, 2), bn1=BatchNorm1d(2)), small()
    pytorch.save(theirs, tmp_path / "weights.pth")
    pytorch.load(ours, tmp_path / "weights.pth", names)
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data, strict=True)


BAD_NAMES = {
    "nothing mapped": ({}, r"missing \['dense.bias', .*unknown \['bn1.bias'"),
    "half mapped": ({"fc1": "dense"}, r"missing \['norm.bias', .*unknown \['bn1.bias'"),
    "not in the file": (
        {"fc2": "dense"},
        r"\['fc2'\], which the file lacks; the file has \['fc1.wei",
    ),
    "one name twice": (lambda name: "dense.bias", "two names to 'dense.bias'"),
}


@pytest.mark.parametrize(("names", "message"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_names_that_do_not_fit_are_listed_and_nothing_is_changed(
    names: pytorch.Names, message: str, tmp_path: Path
) -> None:
    path, ours = tmp_path / "weights.pth", small()
    pytorch.save(small(fc1=Dense(3, 2), bn1=BatchNorm1d(2)), path)
    before = ours.state_dict()
    with pytest.raises(ValueError, match=rf"weights\.pth: .*{message}"):
        pytorch.load(ours, path, names)
    assert_equal(ours.state_dict(), before)


def test_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    pytorch.save(LeNet5(num_classes=7), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"classifier\.7\.weight is float32 \(7, 84\), expected"):
        pytorch.load(LeNet5(), tmp_path / "weights.pth")


def test_a_file_without_num_batches_tracked_leaves_the_models(tmp_path: Path) -> None:
    model = small()
    model.norm.num_batches_tracked += 5
    no_count = tensor("0", 2, (2,))
    names = ("dense.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
    items = b"".join(text(name) + no_count for name in names)
    items += text("dense.weight") + tensor("1", 6, (2, 3))
    path = archive(
        tmp_path, b"\x80\2}(" + items + b"u.", {"0": np.full(2, 7, "f4"), "1": np.ones(6, "f4")}
    )
    pytorch.load(model, path)
    assert model.state_dict()["norm.num_batches_tracked"] == 5
    assert model.state_dict()["norm.running_var"].tolist() == [7, 7]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("epoch", "no dictionary under key='epoch'; its keys are 'model_state_dict', 'optim"),
        ("weights", "no dictionary under key='weights'; its keys are 'model_state_dict'"),
        ("optimizer", "key='optimizer' holds no weights; its keys are 'state', 'param_groups'"),
    ],
)
def test_a_key_that_holds_no_tensors_is_refused_with_those_there_are(
    key: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        pytorch.load_state_dict(CHECKPOINT, key)


def test_a_key_is_refused_for_safetensors() -> None:
    with pytest.raises(ValueError, match=r"key='x' is for \.pth files"):
        pytorch.load_state_dict(GOLDEN / "tensors.safetensors", "x")


@pytest.mark.parametrize("name", ["weights.npz", "weights"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends with one of \.pth, \.pt, .*\.safetensors"):
        pytorch.save(LeNet5(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).write_bytes(b"PK\3\4 of NumPy")
    with pytest.raises(ValueError, match="not a complete zip archive"):
        pytorch.load_state_dict(tmp_path / name)


# ------------------------------------------------------------------ damage and malice


def text(string: str) -> bytes:
    return b"X" + struct.pack("<L", len(string.encode())) + string.encode()


def integer(number: int) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def storage(record: str, size: int, kind: str = "FloatStorage") -> bytes:
    code = f"ctorch\n{kind}\n".encode()
    return b"(" + text("storage") + code + text(record) + text("cpu") + integer(size) + b"tQ"


def tensor(
    record: str,
    size: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    kind: str = "FloatStorage",
) -> bytes:
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    tuples = [b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (shape, strides)]
    arguments = storage(record, size, kind) + integer(offset) + b"".join(tuples)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89NtR"


def archive(
    folder: Path,
    content: bytes,
    storages: dict[str, np.ndarray] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write a zip archive as torch.save does, with any pickle; record 0 has 4 bytes of zeros."""
    path = folder / "hostile.pth"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", content)
        for record, array in (storages or {"0": np.zeros(1, "f4")}).items():
            file.writestr(f"archive/data/{record}", array.tobytes())
    return path


def one_tensor(*arguments: Any, **options: Any) -> bytes:
    return b"\x80\2}" + text("w") + tensor(*arguments, **options) + b"s."


@contextmanager
def little_memory(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size + MOST_EXTRA_MEMORY
    finally:
        tracemalloc.stop()


class Evil:
    """Pickled, a call of a function with an argument."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def touch(name: str) -> Evil:
    return Evil(os.system, f"touch {name}")


CODE = {
    "os.system": (touch("executed"), r"asks for 'posix\.system'"),
    "builtins.eval": (Evil(eval, "open('executed', 'w')"), r"asks for '__builtin__\.eval'"),
    "builtins.open": (Evil(open, "executed", "w"), r"asks for '_?io\.open'"),
    "among tensors": ({"weight": {"nested": [touch("executed")]}}, r"asks for 'posix\.system'"),
    "beside tensors": ({"weights": {}, "more": touch("executed")}, r"asks for 'posix\.system'"),
    "nested calls": (Evil(Evil, touch("executed")), r"asks for 'posix\.system'"),
    "a whole model": (
        LeNet5(),
        r"asks for 'nplenet\.models\.LeNet5.*\.state_dict\(\), '.*hostile-",
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="os.system has another name in the pickle")
@pytest.mark.parametrize(("content", "message"), CODE.values(), ids=CODE)
def test_a_pickle_that_asks_for_code_is_refused_by_its_name_and_none_runs(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path, pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=message):
        pytorch.load_state_dict(path)
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.pth"]


MOST = 199_980  # opcodes: a few less than are read
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOSTILE = {
    "an endless pickle": (b"}" * 4_000_000 + b".", "more than 200,000 opcodes"),
    "a pickle too long to be one": (text("a" * (5 << 20)) + b".", "5,242,886 bytes is too large"),
    "one string that is wide in memory": (text("a" * 4_000_000 + "\U0001f600") + b".", "holds a"),
    "many dictionaries": (b"}" * MOST + b".", None),
    "a wide list beside a long key": (
        b"}(" + text("k" * 1_000_000) + b"](" + b"]" * 90_000 + b"e" + text("w") + b"](" + b"N"
        * 90_000 + b"eu.",
        "holds no weights",
    ),
    "marks only": (b"(" * MOST + b".", "pickle is damaged"),
    "tuples nested deeply": (b")" + b"\x85" * 50_000 + b".", "holds a tuple"),
    "lists nested deeply": (b"]" * (MOST // 2) + b"a" * (MOST // 2 - 1) + b".", "holds a list"),
    "a list in itself": (b"}" + text("w") + b"]q\0h\0as.", "holds no weights; its keys are 'w'"),
    "billion laughs": (
        b"}" + text("w") + b"(]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(200))
        + b"ts.",
        "holds no weights; its keys are 'w'",
    ),
    "a memo without end": (
        b"N" + b"".join(b"r" + struct.pack("<L", i << 14) for i in range(MOST)) + b".",
        "holds a NoneType",
    ),
    "keys of one hash": (
        b"}(" + b"".join(integer(i * (2**61 - 1)) + b"N" for i in range(MOST // 2)) + b"u.",
        "a int for a key",
    ),
    "a number of 4 million digits": (b"L" + b"9" * 4_000_000 + b"L\n.", "cannot be read"),
    "a number of 4 million bytes": (b"\x8b" + struct.pack("<l", 4 << 20) + b"\x7f" * 99, "cannot"),
    "a string longer than the file": (b"X\xff\xff\xff\xff.", "cannot be read"),
    "an opcode of newer protocols": (b"\x80\5\x97}.", "uses NEXT_BUFFER"),
    "a frame longer than the file": (b"\x80\4\x95" + 8 * b"\xff" + b"].", "holds a list"),
    "a short string longer than the file": (b"\x8c\xffa.", "cannot be read"),
    "a long string longer than the file": (b"\x8d" + 8 * b"\xff" + b"a.", "cannot be read"),
    "a name of the stack": (b"\x8c\2os\x8c\6system\x93)R.", "asks for 'os.system'"),
    "a name of the stack that is no text": (b"K\1K\2\x93.", "has a int where a str must be"),
    "a name of the stack in two words": (
        b"\x8c\5torch\x8c\x0fFloatStorage xy\x93.", "asks for 'torch.FloatStorage.xy'"
    ),
    "a memo of nothing": (b"\x94.", "pickle is damaged"),
    "an object's state": (b"]}b.", "has a list where a dict"),
    "a class's instance": (b"(ios\nsystem\n.", "uses INST"),
    "an extension code": (b"\x82\1.", "uses EXT1"),
    "a call of a string": (text("os.system") + b")R.", "makes a call"),
    "a call of nothing": (b")R.", "pickle is damaged"),
    "a tensor of no storage": (REBUILD + b"(NK\0))\x89NtR.", "makes a call"),
    "a tensor's call cut short": (REBUILD + b")R.", "makes a call"),
    "a storage of another kind": (b"(" + text("module") + b"NNNNtQ.", "not the storage"),
    "a storage of no dtype": (
        b"(" + text("storage") + REBUILD + text("0") + text("cpu") + b"K\1tQ.", "not the storage"
    ),
    "no dictionary": (b"].", "holds a list"),
    "nothing": (b"", "cannot be read"),
    "no stop": (b"}", "cannot be read"),
    "a shape beyond the storage": (one_tensor("0", 1, (2,)), r"\(2,\) reaches beyond its 1"),
    "an offset beyond the storage": (one_tensor("0", 1, (1,), offset=1), "reaches beyond"),
    "strides beyond the storage": (one_tensor("0", 1, (2, 1), (4, 1)), "reaches beyond"),
    "a huge shape": (one_tensor("0", 1, (1 << 62,)), "reaches beyond"),
    "a huge shape of stride 0": (one_tensor("0", 1, (1 << 40,), (0,)), "repeats its 1 elements"),
    "a huge shape of nothing": (one_tensor("0", 1, (0, 1 << 62, 1 << 62)), "cannot be read"),
    "a negative size": (one_tensor("0", 1, (-1,)), "not integers from 0"),
    "a negative stride": (one_tensor("0", 1, (1,), (-1,)), "not integers from 0"),
    "a negative offset": (one_tensor("0", 1, (1,), offset=-1), "not integers from 0"),
    "a size of 200 bytes": (one_tensor("0", 1, (1 << 1590,), (1,)), "not integers from 0"),
    "a shape of 65 axes": (one_tensor("0", 1, (1,) * 65), "not a tuple of numbers"),
    "more axes than strides": (one_tensor("0", 1, (1, 1), (1,)), "2 axes has 1 strides"),
    "a storage larger than its record": (one_tensor("0", 9, (9,)), "has 4 bytes, not 36"),
    "a storage smaller than its record": (
        one_tensor("0", 1, (1,), kind="HalfStorage"), "has 4 bytes, not 2"
    ),
    "a storage of 4 exabytes": (one_tensor("0", 1 << 60, (1,)), "has 4 bytes, not"),
    "a record that is not there": (one_tensor("1", 1, (1,)), "'archive/data/1' is missing"),
    "a record above the folder": (one_tensor("../../etc/passwd", 1, (1,)), "is missing"),
    "one record as two dtypes": (
        b"}(" + text("a") + tensor("0", 1, (1,)) + text("b")
        + tensor("0", 1, (1,), kind="IntStorage") + b"u.",
        "disagree about record '0'",
    ),
    "20,000 tensors of one number": (
        tensor("0", 1, (1,))[:-1] + b"q\1}("  # the arguments, kept
        + b"".join(text(str(i)) + REBUILD + b"h\1R" for i in range(20_000)) + b"u.",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused_in_little_memory(
    content: bytes, message: str | None, tmp_path: Path
) -> None:
    path = archive(tmp_path, content)
    with little_memory(path.stat().st_size):
        if message is None:
            pytorch.load_state_dict(path)
            return
        with pytest.raises(DataError, match=message) as caught:
            pytorch.load_state_dict(path)
    assert str(caught.value).startswith(f"{path} cannot be read: ")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def test_a_compressed_record_is_refused(tmp_path: Path) -> None:
    bomb = {"0": np.zeros(50_000_000, "f4")}
    path = archive(tmp_path, one_tensor("0", 50_000_000, (50_000_000,)), bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1e6
    with (
        little_memory(path.stat().st_size),
        pytest.raises(DataError, match="more bytes than the file has"),
    ):
        pytorch.load_state_dict(path)


def test_a_directory_of_a_million_records_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pth"
    entry = b"PK\1\2" + bytes(42)
    directory = entry * 1_000_000
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 65535, 65535, len(directory), 4, 0)
    path.write_bytes(b"PK\3\4" + directory + end)
    with little_memory(0), pytest.raises(DataError, match="directory of 46,000,000 bytes"):
        pytorch.load_state_dict(path)


NO_ARCHIVES = {
    "empty": (b"", "it is empty"),
    "text": (b"hello" * 99, "not a complete zip archive"),
    "before 1.6": (pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), r"format from before 1\.6"),
    "no data.pkl": (None, "has no data.pkl"),
}


@pytest.mark.parametrize(("content", "message"), NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_what_is_no_archive_of_pytorch_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("readme.txt", "hello")
        content = buffer.getvalue()
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(DataError, match=message):
        pytorch.load_state_dict(tmp_path / "weights.pth")


def damaged(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a file's bytes after one of five accidents."""
    data = bytearray(good)
    a, b = sorted(int(i) for i in rng.integers(0, len(data), 2))
    kind = rng.integers(5)
    if kind == 0:
        data[a] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del data[a:]
    elif kind == 2:  # two spans, such as records, in each other's place
        n = min(200, b - a, len(data) - b)
        data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]
    elif kind == 3:
        data[a : a + 8] = b"\xff" * len(data[a : a + 8])
    else:  # near the end, where the directory says what is where
        a = len(data) - 1 - a % 1500
        data[a] ^= int(rng.integers(1, 256))
    return bytes(data)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_refused_or_loads_the_same_tensors(seed: int, tmp_path: Path) -> None:
    good, wanted = CHECKPOINT.read_bytes(), expected("tensors.")
    rng, path, refused = np.random.default_rng(seed), tmp_path / "damaged.pth", 0
    with little_memory(len(good)):
        for _ in range(100):
            path.write_bytes(damaged(good, rng))
            try:
                found = pytorch.load_state_dict(path, "model_state_dict")
            except DataError:
                refused += 1
                continue
            assert_equal(found, wanted)
    assert refused > 50


def test_a_damaged_pickle_with_the_right_checksum_does_no_harm(tmp_path: Path) -> None:
    """It may load other tensors, as no checksum tells, but fails in one way only."""
    with zipfile.ZipFile(CHECKPOINT) as file:
        good = file.read("checkpoint/data.pkl")
        storages = {
            name.rpartition("/")[2]: np.frombuffer(file.read(name), "u1")
            for name in file.namelist()
            if name.startswith("checkpoint/data/")
        }
    rng, refused = np.random.default_rng(0), 0
    with little_memory(len(good)):
        for _ in range(300):
            path = archive(tmp_path, damaged(good, rng), storages)
            try:
                pytorch.load_state_dict(path, "model_state_dict")
            except DataError:
                refused += 1
    assert refused > 150


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    good = (GOLDEN / "tensors.safetensors").read_bytes()
    path = tmp_path / "damaged.safetensors"
    for bad in (b"", good[:-1], good[:100], b"\xff" * 8 + good[8:], good.replace(b"F64", b"F99")):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"damaged\.safetensors cannot be read"):
            pytorch.load_state_dict(path)
