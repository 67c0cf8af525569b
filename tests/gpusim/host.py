"""Compile CUDA C for the host with g++ and run its kernels on NumPy arrays: no CuPy, no GPU.

k = gpusim.host.compile("kernels/im2col.cu")
k.im2col[grid, block](x, col, n, c, h, w, ...)        # or [grid, block, shared_bytes]
gpusim.host.compile(path, names=["scale<float>"])["scale<float>"][1, 32](x, 3.0, 5)
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _build, _options
from ._options import KernelFault

__all__ = ["Kernel", "KernelFault", "Module", "compile", "scan"]

_HEADER = _build.CSRC / "cuda_host.h"
_THREADS = _build.CSRC / "threads.cpp"
_WATCHER = _build.CSRC / "watch.h"
_BASE = ["-std=c++17", "-fPIC", "-w", "-ffp-contract=off"]
_LINK = ["-nodefaultlibs", "-lm", "-lc"]  # the library of C++, unused, costs 0.04 s a kernel
_SANITIZE = [
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-sanitize=vptr",
    "-fsanitize-sections=gpusim_shared",
    "-fno-omit-frame-pointer",
]
_WATCH = ["-g", "-fsanitize=thread", "-fno-exceptions", "-DGPUSIM_WATCH"]  # see watch.h
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_BOUNDS = r"(?:__launch_bounds__\s*\(([^)]*)\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")
_DEFINITION = re.compile(r"(\w+)\s*\((?:[^;{}()]|\([^()]*\))*\)\s*\{")
_BARRIER = re.compile(r"__syncthreads|__syncwarp|__shfl|__ballot_sync|__any_sync|__all_sync")
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\([^)]*\)\s*)?([\w\s:<>]+?)\s+(\w+)\s*\[\s*\]\s*;"
)


# ---------------------------------------------------------------- source


def _bodies(source: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for m in _DEFINITION.finditer(source):
        if m.group(1) in ("for", "if", "while", "switch"):
            continue
        depth, i = 1, m.end()
        while depth and i < len(source):
            depth += {"{": 1, "}": -1}.get(source[i], 0)
            i += 1
        out[m.group(1)] = out.get(m.group(1), "") + source[m.end() : i]
    return out


def scan(source: str) -> dict[str, dict[str, Any]]:
    """Kernel name -> is it a template, must its threads be fibers, its launch bound (C text)."""
    text = _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), source)
    bodies = _bodies(text)
    waits = {n for n, b in bodies.items() if _BARRIER.search(b)}
    if any(_BARRIER.search(m) for m in re.findall(r"#\s*define(?:[^\n]*\\\n)*[^\n]*", text)):
        waits |= set(bodies)  # a macro hides a barrier: be careful with every function
    while True:  # a function that calls a waiting function waits
        more = {
            n
            for n, b in bodies.items()
            if n not in waits and any(re.search(rf"\b{w}\b", b) for w in waits)
        }
        if not more:
            break
        waits |= more
    kernels = {}
    for m in _KERNEL.finditer(text):
        bound = (m.group(1) or m.group(2) or "").split(",")[0].strip()
        template = bool(re.search(r"template\s*<[^{};]*>\s*$", text[: m.start()].rstrip()))
        kernels[m.group(3)] = {
            "template": template,
            "fibers": m.group(3) in waits,
            "bound": bound if bound and not (template and not bound.isdigit()) else "1024",
        }
    return kernels


def _host_source(source: str, names: Sequence[str]) -> str:
    kernels = scan(source)
    wanted = [(n, k) for n, k in kernels.items() if not k["template"]]
    for expression in names:
        name = re.match(r"(?:\w+::)*(\w+)", expression)
        if not name or name.group(1) not in kernels:
            raise ValueError(f"no kernel for the name expression {expression!r}")
        if kernels[name.group(1)]["template"]:
            wanted.append((expression, kernels[name.group(1)]))
    rows = [f'GPUSIM_KERNEL("{n}", {int(k["fibers"])}, {k["bound"]}, {n})' for n, k in wanted]
    return "\n".join(
        [
            _DYNAMIC.sub(r"GPUSIM_DYNAMIC_SHARED(\1, \2);", source),
            "GPUSIM_TABLE_BEGIN",
            *rows,
            "GPUSIM_TABLE_END",
            "",
        ]
    )


def build(
    source: str,
    options: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    filename: str = "kernel.cu",
    sanitize: bool = False,
    watch: bool = False,
    poison: bool = True,
) -> Path:
    """Compile CUDA C text into a cached host library. Of ``options``, -D and -I are used."""
    flags = [*(_SANITIZE if sanitize else ["-O1"])]  # with -O2 g++ takes 0.1 s more a kernel
    flags += [*(_WATCH if watch else []), *(o for o in options if o[:2] in ("-D", "-I"))]
    if poison:
        flags.append("-DGPUSIM_POISON")
    try:
        return _library(source, flags, names, filename)
    except RuntimeError as error:
        if not poison or "section type conflict" not in str(error):
            raise
        # shared memory in a template: do without the NaN filling
        kinds = {"sanitize": sanitize, "watch": watch, "poison": False}
        return build(source, options, names, filename=filename, **kinds)


def build_generated(source: str, names: Sequence[str], folders: Sequence[Path]) -> Path:
    """Compile a kernel that CuPy wrote: trusted, so neither watched nor poisoned."""
    flags = ["-O1", *(f"-I{folder}" for folder in folders)]
    headers = "#include <cupy/complex.cuh>\n#include <cupy/carray.cuh>\n"  # where all of them begin
    if re.search(r"complex\s*<", source):  # for the others g++ loads half as much: 0.07 s, not 0.11
        flags.append("-DGPUSIM_COMPLEX")
    return _library(source, flags, names, "cupy.cu", headers)


def _prepared(flags: Sequence[str], more: str) -> Path:
    """Return a header that g++ finds compiled, beside threads.cpp: 0.1 s a kernel, not 0.5."""
    text = f'#include "{_HEADER}"\n{more}'
    own = _build.sources(
        Path(__file__), _THREADS, _WATCHER, _HEADER, *sorted(_HEADER.parent.rglob("*.cuh"))
    )
    versions = (_build.compiler_version(), _build.cupy_version() if more else "")
    key = _build.digest(*_BASE, *flags, text, *own, *versions)
    header = _build.cache_dir() / "host" / f"{key}.h"
    compiled = header.with_suffix(".h.gch")
    if compiled.exists():
        return header
    header.parent.mkdir(parents=True, exist_ok=True)
    with _build.aside(header) as part:
        part.write_text(text)
    plain = [flag for flag in flags if flag != "-fsanitize=thread"]  # who watches, is not watched
    for target, what in (
        (header.with_suffix(".o"), [*plain, "-O2", "-c", str(_THREADS)]),
        (compiled, [*flags, "-x", "c++-header", str(header)]),
    ):
        with _build.aside(target) as part:
            _build.run([*_build.compiler(), *_BASE, *what, "-o", str(part)])
    return header


def _library(
    source: str, flags: Sequence[str], names: Sequence[str], filename: str, more: str = ""
) -> Path:
    header = _prepared(flags, more)
    text = f'#line 1 "{filename}"\n' + _host_source(source, names)
    flags = [*_BASE, *flags, "-include", str(header)]
    key = _build.digest(*flags, text)  # the header's name stands for all that it holds
    library = _build.cache_dir() / "host" / f"{key}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    link = [] if set(_SANITIZE) <= set(flags) else _LINK
    with _build.aside(library) as part:
        unit = part.with_suffix(".cpp")
        unit.write_text(text)
        try:
            command = [*_build.compiler(), "-shared", *flags, "-x", "c++", str(unit), "-x", "none"]
            _build.run([*command, str(header.with_suffix(".o")), *link, "-o", str(part)])
        finally:
            unit.unlink()
    return library


# ---------------------------------------------------------------- launching


class _Entry(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("invoke", ctypes.c_void_p),
        ("signature", ctypes.CFUNCTYPE(None, ctypes.c_char_p)),
        ("fibers", ctypes.c_int),
        ("max_threads", ctypes.c_int),
        (
            "launch",
            ctypes.CFUNCTYPE(
                ctypes.c_char_p,
                ctypes.c_void_p,
                ctypes.c_bool,
                ctypes.c_void_p,
                ctypes.c_void_p,
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_int,
                ctypes.c_uint,
            ),
        ),
    ]


def _dims(value: int | Sequence[int]) -> tuple[int, int, int]:
    v = tuple(int(i) for i in value) if isinstance(value, (tuple, list)) else (int(value),)
    return (*v, 1, 1)[:3]  # type: ignore[return-value]


class Kernel:
    """One kernel: ``kernel[grid, block](*args)`` or ``kernel[grid, block, shared](*args)``."""

    def __init__(self, entry: _Entry) -> None:
        text = ctypes.create_string_buffer(8192)
        entry.signature(text)
        self.name: str = entry.name.decode()
        self.signature: list[str] = text.value.decode().rstrip(",").split(",") if text.value else []
        self.max_threads: int = entry.max_threads
        self.max_dynamic_shared = 48 * 1024
        self._entry = entry
        self._launches = 0

    def __getitem__(self, config: tuple) -> Launch:
        return Launch(self, *config)

    def launch(self, grid, block, args: Sequence[Any], shared: int = 0) -> None:
        g, b = _dims(grid), _dims(block)
        if (
            min(g + b) < 1
            or b[0] * b[1] * b[2] > self.max_threads
            or b[2] > 64
            or max(g[1:]) > 65535
            or g[0] >= 1 << 31
            or shared > self.max_dynamic_shared
        ):
            raise ValueError(
                f"{self.name}: invalid launch, grid {g}, "
                f"block {b} (at most {self.max_threads} threads), "
                f"{shared} bytes of shared memory (at most {self.max_dynamic_shared})"
            )
        values = _arguments(self.name, self.signature, args)
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(v.ctypes.data for v in values))
        mode, seed = _options.order()
        self._launches += 1
        fault = self._entry.launch(
            self._entry.invoke,
            bool(self._entry.fibers),
            (ctypes.c_uint * 3)(*g),
            (ctypes.c_uint * 3)(*b),
            pointers,
            shared,
            mode,
            (seed * 2654435761 + self._launches) & 0xFFFFFFFF,
        )
        if fault:
            raise KernelFault(f"{self.name}: {fault.decode()}")


class Launch:
    def __init__(self, kernel: Kernel, grid, block, shared: int = 0) -> None:
        self.kernel, self.grid, self.block, self.shared = kernel, grid, block, shared

    def __call__(self, *args: Any) -> None:
        self.kernel.launch(self.grid, self.block, args, self.shared)


def _scalar(where: str, code: str, value: Any) -> np.ndarray:
    """The parameter's bytes. Python numbers are converted if they fit; NumPy scalars must match."""
    if code[0] == "s":
        v = np.asarray(value)
        if v.nbytes != int(code[1:]):
            raise TypeError(f"{where}: {v.nbytes} bytes given")
        return np.ascontiguousarray(v)
    want = np.dtype(code)
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
        if want.kind != "f" and int(value) != value:
            raise OverflowError(f"{where}: {value!r} does not fit")
        return np.array(value if want.kind == "f" else int(value), dtype=want)
    if not isinstance(value, (np.generic, np.ndarray)) or value.size != 1:
        raise TypeError(f"{where}: {type(value).__name__} given")
    v = np.array(value)
    if v.dtype != want:
        raise TypeError(f"{where}: {value!r} is passed as {v.dtype}, wrap it in np.{want}")
    return v


def _arguments(name: str, signature: list[str], args: Sequence[Any]) -> list[np.ndarray]:
    if len(args) != len(signature):
        raise TypeError(
            f"{name}: {len(args)} arguments for {len(signature)} parameters {signature}"
        )
    out = []
    for i, (a, code) in enumerate(zip(args, signature, strict=True)):
        where = f"{name}: argument {i} (parameter {code})"
        if code[0] != "*":
            out.append(_scalar(where, code, a))
            continue
        if a is not None:
            const, base = code[1] == "c", code[1:].removeprefix("c")
            if not isinstance(a, np.ndarray):
                raise TypeError(f"{where}: an array is wanted, {type(a).__name__} given")
            have = a.dtype.kind + str(a.dtype.itemsize)
            if base[0] not in "vs" and have != base and not {base, have} <= {"b1", "u1", "i1"}:
                raise TypeError(f"{where}: dtype {a.dtype}")
            if not a.flags.c_contiguous:
                raise TypeError(f"{where}: not C-contiguous (a kernel ignores strides)")
            if not const and not a.flags.writeable:
                raise TypeError(f"{where}: written by the kernel, but read-only")
            if base[0] == "s" and a.ctypes.data % min(16, int(base[1:]) & -int(base[1:])):
                raise TypeError(f"{where}: misaligned for a vector type")
        out.append(np.array([0 if a is None else a.ctypes.data], np.uint64))
    return out


class Module:
    """The kernels of one source: ``module.name`` or ``module["template<float>"]``."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self.kernels: dict[str, Kernel] = {}
        at = ctypes.addressof(ctypes.c_char.in_dll(self._library, "gpusim_table"))
        while (entry := _Entry.from_address(at)).name:
            self.kernels[entry.name.decode()] = Kernel(entry)
            at += ctypes.sizeof(_Entry)

    def __getitem__(self, name: str) -> Kernel:
        return self.kernels[name]

    def __getattr__(self, name: str) -> Kernel:
        try:
            return self.__dict__["kernels"][name]
        except KeyError:
            raise AttributeError(
                f"no kernel {name!r}; there are {sorted(self.__dict__.get('kernels', ()))}"
            ) from None


def compile(
    source: str | os.PathLike,
    options: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    sanitize: bool | None = None,
    watch: bool | None = None,
) -> Module:
    """Compile a .cu file, or CUDA C text (anything with a line break or a brace), for the host.

    ``names`` are template instances, such as "scale<float>". ``sanitize`` asks for the address and
    undefined-behaviour sanitizers (default: $GPUSIM_SANITIZE); the process must then run under
    ``python -m gpusim.sanitize``. ``watch`` looks for races (default: $GPUSIM_WATCH); see watch.h.
    """
    if isinstance(source, str) and re.search(r"[\n{]", source):
        text, filename = source, "kernel.cu"
    else:
        text, filename = Path(source).read_text(), str(source)
    if sanitize is None:
        sanitize = _options.flag("GPUSIM_SANITIZE")
    if sanitize:
        from .sanitize import require

        require()
    if watch is None:
        watch = _options.flag("GPUSIM_WATCH")
    kinds = {"sanitize": sanitize, "watch": watch}
    return Module(build(text, options, names, filename=filename, **kinds))
