"""Compiler calls and the cache directory."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

CSRC = Path(__file__).resolve().parent / "csrc"
NCCL = "libnccl.so.2"


def cache_dir() -> Path:
    """$GPUSIM_CACHE, else ~/.cache/gpusim"""
    return Path(os.environ.get("GPUSIM_CACHE") or Path.home() / ".cache" / "gpusim").expanduser()


def digest(*parts: str | bytes) -> str:
    h = hashlib.sha256()
    for p in parts:
        h.update(p.encode() if isinstance(p, str) else p)
        h.update(b"\0")
    return h.hexdigest()[:20]


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX") or "g++")


def run(command: list[str]) -> str:
    """Run a tool, without a preloaded sanitizer; RuntimeError with its messages if it fails."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    try:
        r = subprocess.run(command, capture_output=True, text=True, env=env)
    except FileNotFoundError:
        raise RuntimeError(
            f"gpusim needs {command[0]!r} on the PATH (g++ 12 and binutils)"
        ) from None
    if r.returncode:
        raise RuntimeError(f"{' '.join(command[:1])} failed:\n{r.stderr or r.stdout}")
    return r.stdout


@functools.cache
def compiler_version() -> str:
    return run([*compiler(), "--version"]).splitlines()[0]


def cupy_version() -> str:
    for name in ("cupy-cuda12x", "cupy-cuda13x", "cupy"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            pass
    raise RuntimeError("gpusim: CuPy is not installed (pip install 'nplenet[sim]')")


def sources(*paths: Path) -> list[bytes]:
    return [p.read_bytes() for p in paths]


@contextlib.contextmanager
def aside(target: Path) -> Iterator[Path]:
    """Give a path to write, and rename it to ``target`` when that went well: safe in parallel."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _undefined(library: Path, prefix: str) -> list[str]:
    lines = run(["nm", "-D", "--undefined-only", str(library)]).splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines}
    return sorted(name for name in names if name.startswith(prefix))


def _stubs(library: Path, prefix: str, source: str) -> str:
    """Return a function that reports itself for each name that is wanted and not in ``source``."""
    return "".join(
        f'API {n}() {{ return not_simulated("{n}"); }}\n'
        for n in _undefined(library, prefix)
        if f" {n}(" not in source
    )


def native_libraries(cupy_backends: Path) -> tuple[Path, str]:
    """Build driver, runtime, cuBLAS and NCCL, simulated, once; return folder and name of cuBLAS."""
    extension = next((cupy_backends / "cuda" / "libs").glob("cublas*.so"))
    nccl_extension = next((cupy_backends / "cuda" / "libs").glob("nccl*.so"))
    names = ("driver.cpp", "runtime.cpp", "blas.cpp", "nccl.cpp")
    soname = (
        "libcublas.so.13" if b"libcublas.so.13" in extension.read_bytes() else "libcublas.so.12"
    )
    key = digest(
        *sources(*(CSRC / name for name in names), Path(__file__)),
        compiler_version(),
        cupy_version(),
        sys.version,
        soname,
    )
    target = cache_dir() / f"native-{key}"
    if target.is_dir():
        return target, soname
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=target.parent
    ) as work:  # built aside, then renamed: safe with parallel tests
        out = Path(work) / "native"
        out.mkdir()
        for name, library, prefix, source in (
            ("stubs.inc", extension, "cublas", "blas.cpp"),
            ("nccl_stubs.inc", nccl_extension, "nccl", "nccl.cpp"),
        ):
            (out / name).write_text(_stubs(library, prefix, (CSRC / source).read_text()))
        (out / "blas.map").write_text(soname + " { global: cublas*; local: *; };\n")
        flags = ["-std=c++17", "-g", "-shared", "-fPIC", "-fvisibility=hidden"]
        link = [f"-L{out}", "-lgpusim_driver", "-Wl,-rpath,$ORIGIN"]
        lt = soname.replace("cublas", "cublasLt")
        run(
            [
                *compiler(),
                *flags,
                "-O2",
                "-Wl,-soname,libgpusim_driver.so",
                "-o",
                str(out / "libgpusim_driver.so"),
                str(CSRC / "driver.cpp"),
                "-ldl",
            ]
        )
        run(
            [
                *compiler(),
                *flags,
                "-O2",
                "-I" + sysconfig.get_path("include"),
                "-o",
                str(out / "_gpusim_runtime.so"),
                str(CSRC / "runtime.cpp"),
                *link,
            ]
        )
        run(
            [
                *compiler(),
                *flags,
                "-O3",
                f"-I{out}",
                f"-Wl,-soname,{soname}",
                f"-Wl,--version-script={out / 'blas.map'}",
                "-o",
                str(out / soname),
                str(CSRC / "blas.cpp"),
                *link,
            ]
        )
        run(
            [
                *compiler(),
                *flags,
                "-O2",
                f"-I{out}",
                f"-Wl,-soname,{NCCL}",
                "-o",
                str(out / NCCL),
                str(CSRC / "nccl.cpp"),
                "-lrt",
                *link,
            ]
        )
        (out / "empty.cpp").write_text("int gpusim_empty;\n")
        run([*compiler(), *flags, f"-Wl,-soname,{lt}", "-o", str(out / lt), str(out / "empty.cpp")])
        try:
            os.rename(out, target)
        except OSError:
            if not target.is_dir():
                raise
    return target, soname
