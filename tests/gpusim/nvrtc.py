"""Compile kernels with the real NVRTC for each architecture; no GPU, no CuPy.

python -m gpusim.nvrtc kernels/ --arch 80 90
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ARCHS = (70, 75, 80, 86, 89, 90, 100, 120)
OPTIONS = (
    "-std=c++17",
    "-ftz=true",
    "--device-as-default-execution-space",
)  # what CuPy adds to a RawModule


@dataclasses.dataclass
class KernelReport:
    """One file on one architecture; ``kernel`` is empty where the file did not compile."""

    file: str
    arch: int
    kernel: str = ""
    registers: int = 0
    spill_bytes: int = 0
    shared_bytes: int = 0
    error: str = ""
    warnings: tuple[str, ...] = ()


def library() -> ctypes.CDLL:
    """NVRTC from the nvidia-cuda-nvrtc package, else from the system."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or []) if spec else []
    names = [str(p) for r in roots for p in sorted(Path(r).glob("*/lib/libnvrtc.so.*"))]
    for name in [*names, "libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeError("gpusim: NVRTC is not installed (pip install 'nplenet[sim]')")


def supported_archs(lib: ctypes.CDLL | None = None) -> list[int]:
    lib = lib or library()
    n = ctypes.c_int()
    lib.nvrtcGetNumSupportedArchs(ctypes.byref(n))
    archs = (ctypes.c_int * n.value)()
    lib.nvrtcGetSupportedArchs(archs)
    return list(archs)


def _compile(
    lib: ctypes.CDLL, source: str, name: str, options: Sequence[str], names: Sequence[str]
) -> tuple[bool, str]:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    if lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None):
        raise RuntimeError("nvrtcCreateProgram failed")
    try:
        for n in names:
            lib.nvrtcAddNameExpression(program, n.encode())
        ok = (
            lib.nvrtcCompileProgram(
                program,
                len(options),
                (ctypes.c_char_p * len(options))(*(o.encode() for o in options)),
            )
            == 0
        )
        lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetProgramLog(program, log)
        return ok, log.value.decode(errors="replace")
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _files(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    given = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(p) for p in paths]
    return [f for p in given for f in (sorted(p.rglob("*.cu")) if p.is_dir() else [p])]


def check_kernels(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    archs: Sequence[int] = ARCHS,
    *,
    options: Sequence[str] = (),
    names: Sequence[str] = (),
    verbose: bool = True,
) -> list[KernelReport]:
    """Compile .cu files (or folders of them) for each architecture.

    Reports registers, spills and static shared memory. One line per kernel is printed: the lowest
    and the highest number over the architectures, and every error and warning. ``names`` are name
    expressions of template kernels, of which each file takes those it has.

    It is done in a process of its own: where the simulated device has once had NVRTC compile
    quickly, NVRTC 12.9 takes other registers for all that follows, whatever its options.
    """
    known = supported_archs()
    unknown = sorted(set(archs) - set(known))
    if unknown:
        raise ValueError(f"this NVRTC does not know {unknown}, only {known}")
    task = [[str(f) for f in _files(paths)], list(archs), list(options), list(names)]
    done = subprocess.run(
        [sys.executable, "-c", "from gpusim import nvrtc; nvrtc.answer()"],
        input=json.dumps(task),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"gpusim: NVRTC's process failed\n{done.stderr}")
    reports = [
        KernelReport(**{**r, "warnings": tuple(r["warnings"])}) for r in json.loads(done.stdout)
    ]
    if verbose:
        print_reports(reports)
    return reports


def answer() -> None:
    """Do what ``check_kernels`` has written to the input, and print the reports as JSON."""
    files, archs, options, names = json.load(sys.stdin)
    print(json.dumps([dataclasses.asdict(r) for r in _check(files, archs, options, names)]))


def _check(
    files: Sequence[str], archs: Sequence[int], options: Sequence[str], names: Sequence[str]
) -> list[KernelReport]:
    lib = library()

    def compiled(file: Path, arch: int) -> list[KernelReport]:
        source = file.read_text(encoding="utf-8")
        wanted = [n for n in names if re.search(rf"\b{re.escape(_base_name(n))}\b", source)]
        flags = [*OPTIONS, *options, f"-arch=sm_{arch}", "--ptxas-options=-v"]
        return _reports(str(file), arch, *_compile(lib, source, file.name, flags, wanted))

    return [r for file in files for arch in archs for r in compiled(Path(file), arch)]


def _base_name(expression: str) -> str:
    return expression.split("<")[0].split("::")[-1]


def _reports(file: str, arch: int, ok: bool, log: str) -> list[KernelReport]:
    """Read NVRTC's log, one report a kernel."""
    warnings = tuple(
        w for w in log.splitlines() if "warning" in w.lower() and "deprecated" not in w
    )
    if not ok:
        return [KernelReport(file, arch, error=log.strip(), warnings=warnings)]

    def number(pattern: str, text: str) -> int:
        found = re.search(pattern, text)
        return int(found[1]) if found else 0

    return [
        KernelReport(
            file,
            arch,
            part.split("'")[0],
            number(r"Used (\d+) registers", part),
            number(r"(\d+) bytes spill stores", part),
            number(r"(\d+) bytes smem", part),
            "",
            warnings,
        )
        for part in log.split("Compiling entry function '")[1:]
    ]


def print_reports(reports: Sequence[KernelReport]) -> None:
    for key in dict.fromkeys((r.file, r.kernel) for r in reports):
        rows = [r for r in reports if (r.file, r.kernel) == key]
        span = lambda f: f"{min(f)}" if min(f) == max(f) else f"{min(f)}-{max(f)}"  # noqa: E731
        archs = " ".join(str(r.arch) for r in rows)
        if rows[0].error:
            print(f"{rows[0].file}: FAILED on {archs}\n{rows[0].error}")
            continue
        print(
            f"{rows[0].file}: {rows[0].kernel}: registers {span([r.registers for r in rows])}, "
            f"spilled bytes {span([r.spill_bytes for r in rows])}, "
            f"static shared bytes {span([r.shared_bytes for r in rows])} (sm {archs})"
        )
        for w in dict.fromkeys(w for r in rows for w in r.warnings):
            print(f"  {w}")


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m gpusim.nvrtc", description=__doc__.splitlines()[0])
    p.add_argument("paths", nargs="+")
    p.add_argument("--arch", type=int, nargs="+", default=list(ARCHS))
    p.add_argument(
        "--name", action="append", default=[], help="name expression of a template kernel"
    )
    p.add_argument("--fail-on-spill", action="store_true")
    a = p.parse_args(argv)
    reports = check_kernels(a.paths, a.arch, names=a.name)
    return int(not reports or any(r.error or (a.fail_on_spill and r.spill_bytes) for r in reports))


if __name__ == "__main__":
    sys.exit(main())
