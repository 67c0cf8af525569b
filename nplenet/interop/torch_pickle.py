"""The pickle in a ``.pth`` file, which lists the tensors, read and written as plain data.

A pickle is a program, and an untrusted file may hold any program. So ``pickle`` is not used:
``loads`` runs the thirty opcodes, of protocols 2 to 5, that a dictionary of tensors needs, builds
only dictionaries, lists, tuples, strings, numbers and records of tensors, and refuses every other
opcode and every name outside ``_STORAGES`` and ``_CALLS``. Nothing is imported; limits on the
length of the pickle and on the number of opcodes bound time and memory.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy.typing as npt

_STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1",
    "torch BoolStorage": "|b1",
}
_STORAGE_NAMES = {dtype: name for name, dtype in _STORAGES.items()}
_CALLS = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)

_VALUES = ("numpy", "argparse", "collections", "builtins", "_codecs", "datetime", "pathlib")
"""Packages whose values are kept beside tensors; a name of another package is a model's."""

_TRAINERS = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf")
"""Packages that keep a model's tensors under the key state_dict."""

# The worst pickle within these limits takes half a second and 50 MB. A state_dict of 6,000 tensors
# has 200,000 opcodes and 1 MB.
_MAX_OPCODES = 200_000
MAX_BYTES = 4 << 20

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NUMBERS = {  # the opcodes whose argument is a number of fixed width
    "PROTO": "<B",
    "BINPUT": "<B",
    "BINGET": "<B",
    "LONG_BINPUT": "<L",
    "LONG_BINGET": "<L",
    "BININT": "<l",
    "BININT1": "<B",
    "BININT2": "<H",
    "BINFLOAT": ">d",
    "FRAME": "<Q",
}
_TEXTS = {"SHORT_BINUNICODE": "<B", "BINUNICODE": "<L", "BINUNICODE8": "<Q"}  # length before text
_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "GLOBAL", *_TEXTS}
_OPCODES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}

_EMPTY = b"ccollections\nOrderedDict\n)R"  # the opcodes of an empty OrderedDict
_MAX_AXES = 64  # NumPy's limit


class _Global(NamedTuple):
    """A name that the pickle refers to: module and name."""

    name: str


class Storage(NamedTuple):
    """Elements in one row: their dtype, as in ``_STORAGES``, their record and their number."""

    dtype: str
    record: str
    size: int


class Tensor(NamedTuple):
    """A part of a storage; offset, shape and strides count elements, and lie in the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# ---------------------------------------------------------------------- reading


def loads(pickle: bytes) -> Any:
    """Return the dictionaries and tensors that a pickle describes; refuse anything else."""
    try:
        return _run(pickle)
    except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
        raise ValueError("its pickle is damaged") from error


def _run(pickle: bytes) -> Any:
    stack: list[Any] = []
    below: list[list[Any]] = []  # a MARK saves the stack; the marked values go onto a new one
    memo: dict[int, Any] = {}
    for opcode, argument in _opcodes(pickle):
        match opcode:
            case "PROTO" | "FRAME":  # a frame says where reading may pause
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                stack.append(_CONSTANTS[opcode])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case _ if opcode in _PUSHED:
                stack.append(argument)
            case "STACK_GLOBAL":
                name, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
                stack.append(_global(f"{module} {name}"))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, below.pop()
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode[-1]))]
                stack.append(tuple(reversed(items)))
            case "APPEND":
                item = stack.pop()
                _expect(stack[-1], list).append(item)
            case "APPENDS":
                items, stack = stack, below.pop()
                _expect(stack[-1], list).extend(items)
            case "SETITEM":
                value, name = stack.pop(), stack.pop()
                _set_items(stack[-1], [name, value])
            case "SETITEMS":
                items, stack = stack, below.pop()
                _set_items(stack[-1], items)
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":  # attributes of an OrderedDict, such as a state_dict's _metadata
                _expect(stack.pop(), dict)
                _expect(stack[-1], dict)
            case "STOP":
                return stack.pop()
            case _:
                raise ValueError(f"its pickle uses {opcode}, which no dictionary of tensors needs")
    raise AssertionError("_opcodes ends with an error")


def _opcodes(pickle: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the name and argument of each opcode; the argument of an unknown opcode is None."""
    stream = io.BytesIO(pickle)
    for _ in range(_MAX_OPCODES):
        name = _OPCODES[stream.read(1)]
        yield name, _argument(name, stream)
    raise ValueError(f"its pickle has more than {_MAX_OPCODES:,} opcodes")


def _argument(opcode: str, stream: BinaryIO) -> Any:
    # Not with ``pickletools.genops``: it reads the arguments of opcodes that are refused here, some
    # of which take quadratic time, and evaluates the escapes in names.
    if opcode in _NUMBERS:
        return _number(stream, _NUMBERS[opcode])
    if opcode == "LONG1":
        return int.from_bytes(stream.read(_number(stream, "<B")), "little", signed=True)
    if opcode in _TEXTS:
        return stream.read(_number(stream, _TEXTS[opcode])).decode()
    if opcode == "GLOBAL":
        return _global(f"{stream.readline()[:-1].decode()} {stream.readline()[:-1].decode()}")
    return None


def _number(stream: BinaryIO, kind: str) -> Any:
    return struct.unpack(kind, stream.read(struct.calcsize(kind)))[0]


def _global(name: str) -> _Global:
    if name in _STORAGES or name in _CALLS:
        return _Global(name)
    raise ValueError(
        f"its pickle asks for {name.replace(' ', '.')[:80]!r}, which no dictionary of tensors "
        f"needs; if you trust the file, which may run code, type in PyTorch: {_remedy(name)}"
    )


def _remedy(name: str) -> str:
    """Return the line of PyTorch that makes a file of tensors of one that asks for this name."""
    loaded = "torch.load(old, weights_only=False)"
    owner = name.split(" ")[0].split(".")[0]
    if name == "torch Size" or owner in _VALUES:
        tensors = f"{{k: v for k, v in {loaded}.items() if torch.is_tensor(v)}}"
        return f"torch.save({tensors}, new)"
    if owner in _TRAINERS:
        return f'torch.save({loaded}["state_dict"], new)'
    return f"torch.save({loaded}.state_dict(), new)"


def _set_items(target: object, items: list[Any]) -> None:
    content = _expect(target, dict)
    if len(items) % 2:
        raise ValueError("its pickle is damaged")
    for name, value in zip(items[::2], items[1::2], strict=True):
        # Other keys, and longer numbers, could be chosen to share one hash.
        if not isinstance(name, str) and not (type(name) is int and abs(name) < 1 << 32):
            raise ValueError(f"its pickle has a dictionary with a {type(name).__name__} for a key")
        content[name] = value


def _call(function: Any, arguments: Any) -> Any:
    """Return the result of a call: a dictionary, or the record of a tensor."""
    match function, arguments:
        case _Global("collections OrderedDict"), ():
            return {}
        case _Global("torch._utils _rebuild_tensor_v2"), (Storage(), _, _, _, *_):
            return _tensor(*arguments[:4])
        case _Global("torch._utils _rebuild_parameter"), (Tensor() as tensor, *_):
            return tensor
    raise ValueError("its pickle makes a call that no dictionary of tensors needs")


def _storage(identity: object) -> Storage:
    """Return the storage that a persistent id names: ('storage', type, record, device, size)."""
    match identity:
        case ("storage", _Global(name), str(record), str(), int(size)) if name in _STORAGES:
            return Storage(_STORAGES[name], record, _numbers((size,))[0])
    raise ValueError("its pickle refers to something that is not the storage of a tensor")


def _tensor(storage: Storage, offset: object, shape: object, strides: object) -> Tensor:
    """Return the record of a tensor; refuse one that reaches outside its storage."""
    (start,), sizes, steps = _numbers((offset,)), _numbers(shape), _numbers(strides)
    if len(sizes) != len(steps):
        raise ValueError(f"a tensor of {len(sizes)} axes has {len(steps)} strides")
    if 0 not in sizes:
        last = start + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
        if last >= storage.size:
            raise ValueError(
                f"a tensor of shape {sizes} reaches beyond its {storage.size} elements"
            )
        # No trained tensor is like that, and a copy would take the memory of its whole shape.
        if math.prod(sizes) > storage.size:
            raise ValueError(
                f"a tensor of shape {sizes} repeats its {storage.size} elements; save it with "
                ".contiguous()"
            )
    return Tensor(storage, start, sizes, steps)


def _numbers(values: object) -> tuple[int, ...]:
    """Return a tuple of sizes, offsets or strides; refuse anything else."""
    if not isinstance(values, tuple) or len(values) > _MAX_AXES:
        raise ValueError("a tensor's shape or strides are not a tuple of numbers")
    if not all(type(value) is int and 0 <= value < 1 << 63 for value in values):
        raise ValueError("a tensor's shape, strides or offset are not integers from 0 to 2**63 - 1")
    return values


def _expect(value: Any, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise ValueError(f"its pickle has a {type(value).__name__} where a {kind.__name__} must be")
    return value


# ---------------------------------------------------------------------- writing


def dumps(state: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the pickle, in protocol 2, of an OrderedDict of tensors."""
    items = (_text(key) + _item(record, state[key]) for record, key in enumerate(state))
    return b"\x80\2" + _EMPTY + b"(" + b"".join(items) + b"u."


def _item(record: int, array: npt.NDArray[Any]) -> bytes:
    """Return the opcodes of one tensor, in C order at the start of a storage of its own."""
    if array.dtype.str not in _STORAGE_NAMES:
        raise TypeError(f"an array of {array.dtype} cannot be written to a .pth file")
    kind, size = _name(_STORAGE_NAMES[array.dtype.str]), _integer(array.size)
    storage = _tuple(_text("storage"), kind, _text(str(record)), _text("cpu"), size) + b"Q"
    strides = [math.prod(max(n, 1) for n in array.shape[i + 1 :]) for i in range(array.ndim)]
    geometry = _integer(0), _tuple(*map(_integer, array.shape)), _tuple(*map(_integer, strides))
    requires_grad, hooks = b"\x89", _EMPTY
    arguments = _tuple(storage, *geometry, requires_grad, hooks)
    return _name("torch._utils _rebuild_tensor_v2") + arguments + b"R"


def _name(name: str) -> bytes:
    return b"c%b\n%b\n" % tuple(name.encode().split())


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<L", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
    short = number < 1 << 31
    return b"J" + struct.pack("<L", number) if short else b"\x8a\x08" + struct.pack("<q", number)


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"
