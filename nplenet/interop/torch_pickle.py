"""The pickle in a ``.pth`` file, which lists the tensors, read as plain data.

A pickle is a program, and an untrusted file may hold any program. So ``pickle`` is not used:
``loads`` runs the forty opcodes, of protocols 2 to 5, that a training loop's checkpoint needs, and
builds only dictionaries, lists, tuples, strings, numbers and records of tensors. Nothing is
imported and nothing is called: what another class or function would make, such as the settings of
the training, is an ``Opaque`` record with its name and without contents. The names of Python's own
functions, such as ``os.system``, stand in no checkpoint and are refused. Limits on the length of
the pickle and on the number of opcodes bound time and memory.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

STORAGES = {
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
_DICTIONARIES = ("collections OrderedDict", "collections defaultdict", "collections Counter")
_TENSOR = "torch._utils _rebuild_tensor"
_KINDS = {  # of tensors that are named, but not read
    "torch._utils _rebuild_qtensor": "quantised",
    "torch._utils _rebuild_meta_tensor_no_storage": "without numbers, on the device meta",
    "torch._utils _rebuild_sparse_tensor": "sparse",
    "torch._utils _rebuild_sparse_csr_tensor": "sparse",
    "torch QInt8Storage": "quantised",
    "torch QUInt8Storage": "quantised",
    "torch QInt32Storage": "quantised",
    "torch QUInt4x2Storage": "quantised",
    "torch ComplexFloatStorage": "complex64",
    "torch ComplexDoubleStorage": "complex128",
}
_DTYPES = {  # by which _rebuild_tensor_v3 names what a storage of bytes holds
    f"torch {name}": dtype
    for name, dtype in (
        *(("float64", "<f8"), ("float32", "<f4"), ("float16", "<f2"), ("bfloat16", "bfloat16")),
        *(("int64", "<i8"), ("int32", "<i4"), ("int16", "<i2"), ("int8", "|i1")),
        *(("uint8", "|u1"), ("bool", "|b1"), ("uint16", "<u2"), ("uint32", "<u4")),
        ("uint64", "<u8"),
    )
}
_UNTYPED = "torch.storage UntypedStorage"

# Of Python's library, what makes a value. Anything else of it is a function that does something.
_VALUE_MODULES = (
    *("argparse", "collections", "_codecs", "datetime", "decimal", "enum", "fractions"),
    *("pathlib", "types", "uuid", "copyreg"),
)
_VALUE_BUILTINS = (
    *("set", "frozenset", "complex", "bytearray", "range", "slice", "object", "list", "dict"),
    *("int", "float", "str", "bool", "tuple", "bytes", "type"),
)
_BUILTINS = ("builtins", "__builtin__")

# The worst pickle within these limits takes half a second and 50 MB. A state_dict of 6,000 tensors
# has 200,000 opcodes and 1 MB.
_MAX_OPCODES = 200_000
MAX_BYTES = 4 << 20

_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
}
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
_BYTES = {  # length before the bytes, of numbers of NumPy and of Python 2
    "SHORT_BINBYTES": "<B",
    "BINBYTES": "<L",
    "BINBYTES8": "<Q",
    "BYTEARRAY8": "<Q",
    "SHORT_BINSTRING": "<B",
    "BINSTRING": "<L",
}
_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "GLOBAL", *_TEXTS, *_BYTES}
_OPCODES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}

_MAX_AXES = 64  # NumPy's limit


class Convert(ValueError):
    """A file that PyTorch can turn into one of tensors: ``line`` of Python, with OLD and NEW."""

    def __init__(self, message: str, line: str, runs_code: bool = False) -> None:
        super().__init__(message)
        self.line, self.runs_code = line, runs_code


class _Global(NamedTuple):
    """A name that the pickle refers to: module and name."""

    name: str


class Opaque(NamedTuple):
    """What a class or function, whose name this is, would make: it is not made."""

    name: str


class Unreadable(NamedTuple):
    """A tensor of a kind that NumPy does not have, such as "float8_e4m3fn"."""

    kind: str


class Storage(NamedTuple):
    """Elements in one row: their dtype, as in ``STORAGES``, their record and their number."""

    dtype: str
    record: str
    size: int


class Tensor(NamedTuple):
    """A part of a storage; offset, shape and strides count elements, and lie in the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def loads(pickle: bytes) -> tuple[Any, list[str]]:
    """Return the dictionaries and tensors that a pickle describes, and the names it asks for.

    The names are those of classes and functions that are neither PyTorch's tensors nor values of
    Python's library.
    """
    foreign: list[str] = []
    try:
        return _run(pickle, foreign), foreign
    except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
        raise ValueError("its pickle is damaged") from error


def _run(pickle: bytes, foreign: list[str]) -> Any:
    stack: list[Any] = []
    below: list[list[Any]] = []  # a MARK saves the stack; the marked values go onto a new one
    memo: dict[int, Any] = {}
    for opcode, argument in _opcodes(pickle):
        match opcode:
            case "PROTO" | "FRAME":  # a frame says where reading may pause
                pass
            case "GLOBAL":
                stack.append(_global(argument, foreign))
            case _ if opcode in _MADE:
                stack.append(_MADE[opcode]())
            case _ if opcode in _PUSHED:
                stack.append(argument)
            case "STACK_GLOBAL":
                name, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
                stack.append(_global(f"{module} {name}", foreign))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE" | "FROZENSET":
                items, stack = stack, below.pop()
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode[-1]))]
                stack.append(tuple(reversed(items)))
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS" | "ADDITEMS":
                items, stack = stack, below.pop()
                _extend(stack[-1], items)
            case "SETITEM":
                value, name = stack.pop(), stack.pop()
                _set_items(stack[-1], [name, value])
            case "SETITEMS":
                items, stack = stack, below.pop()
                _set_items(stack[-1], items)
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "NEWOBJ_EX":
                _, arguments, function = stack.pop(), stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":
                _build(stack[-2], stack.pop())
            case "STOP":
                content = stack.pop()
                return Opaque(content.name) if isinstance(content, _Global) else content
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
    if opcode in _BYTES:
        return stream.read(_number(stream, _BYTES[opcode]))
    if opcode == "GLOBAL":
        return f"{stream.readline()[:-1].decode()} {stream.readline()[:-1].decode()}"
    return None


def _number(stream: BinaryIO, kind: str) -> Any:
    return struct.unpack(kind, stream.read(struct.calcsize(kind)))[0]


def _global(name: str, foreign: list[str]) -> _Global:
    """Return the record of a name; refuse one of Python's library that makes no value."""
    module, _, attribute = name.partition(" ")
    package = module.partition(".")[0]
    if module in _BUILTINS:
        right = attribute in _VALUE_BUILTINS
    else:
        right = package in _VALUE_MODULES or package not in sys.stdlib_module_names
    if not right:
        raise ValueError(
            f"its pickle asks for {name.replace(' ', '.')[:80]!r}, which no checkpoint needs: it "
            "may be an attack"
        )
    if package not in ("torch", *_VALUE_MODULES, *_BUILTINS, "numpy") or "torch.nn" in module:
        foreign.append(name)
    return _Global(name)


def _extend(target: object, items: list[Any]) -> None:
    if not isinstance(target, Opaque):
        _expect(target, list).extend(items)


def _build(target: object, state: object) -> None:
    """Pass over attributes, such as the ``_metadata`` of a state_dict."""
    if not isinstance(target, (Opaque, Tensor, Unreadable)):
        _expect(state, dict)
        _expect(target, dict)


def _set_items(target: object, items: list[Any]) -> None:
    if len(items) % 2:
        raise ValueError("its pickle is damaged")
    if isinstance(target, Opaque):
        return
    content = _expect(target, dict)
    for name, value in zip(items[::2], items[1::2], strict=True):
        # Other keys, and longer numbers, could be chosen to share one hash.
        if isinstance(name, str) or (type(name) is int and abs(name) < 1 << 32):
            content[name] = value
        elif type(name) is int or isinstance(value, (Tensor, Unreadable)):
            raise ValueError(f"its pickle has a dictionary with a {type(name).__name__} for a key")


def _call(function: Any, arguments: Any) -> Any:
    """Return the record of what a call makes: a dictionary, a tensor, or something opaque."""
    match function, arguments:
        case _Global(name), tuple() if name in _DICTIONARIES and not _pairs(arguments):
            return {}
        case _Global("torch._utils _rebuild_tensor_v2"), (Storage(), _, _, _, *_):
            return _tensor(*arguments[:4])
        case (
            _Global("torch._utils _rebuild_tensor_v3"),
            (Storage() as storage, offset, shape, strides, _, _, _Global(dtype), *_),
        ):
            return _tensor(storage, offset, shape, strides, dtype)
        case _Global(name), (Tensor() | Unreadable() as tensor, *_) if "_rebuild_parameter" in name:
            return tensor
        case (
            _Global("torch._tensor _rebuild_from_type_v2"),
            (_Global(inner), _, tuple() as given, *_),
        ) if inner.startswith(_TENSOR):
            return _call(_Global(inner), given)
        case _Global(name), tuple() if name in _KINDS:
            return Unreadable(_KINDS[name])
        case _Global(name), tuple() if not name.startswith(_TENSOR):
            return Opaque(name)
    raise ValueError("its pickle makes a call that no dictionary of tensors needs")


def _pairs(arguments: tuple[Any, ...]) -> bool:
    """Say whether a call of a dictionary's class has contents among its arguments."""
    return any(isinstance(argument, (dict, list, tuple)) and argument for argument in arguments)


def _storage(identity: object) -> Storage:
    """Return the storage that a persistent id names: ('storage', type, record, device, size)."""
    match identity:
        case ("storage", _Global(name), str(record), str(), int(size)) if (
            name in STORAGES or name in _KINDS or name == _UNTYPED
        ):
            return Storage(STORAGES.get(name, name), record, _numbers((size,))[0])
    raise ValueError("its pickle refers to something that is not the storage of a tensor")


def _tensor(
    storage: Storage, offset: object, shape: object, strides: object, dtype: str = ""
) -> Tensor | Unreadable:
    """Return the record of a tensor; refuse one that reaches outside its storage."""
    if storage.dtype == _UNTYPED:  # of bytes, whose meaning ``dtype`` says
        if dtype not in _DTYPES:
            return Unreadable(dtype.removeprefix("torch ")[:40] or "of bytes")
        kind = _DTYPES[dtype]
        width = 2 if kind == "bfloat16" else int(kind[2:])
        storage = Storage(kind, storage.record, storage.size // width)
    elif storage.dtype in _KINDS:
        return Unreadable(_KINDS[storage.dtype])
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
