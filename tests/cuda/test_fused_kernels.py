"""The device code of a fused step: what NVRTC says of it, and the house rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gpusim import nvrtc
from gpusim._install import QUICKLY

from nplenet.compiled.cuda.fused import Device
from nplenet.compiled.cuda.fused.choose import make_program
from nplenet.compiled.cuda.fused.program import FILES
from nplenet.compiled.cuda.fused.update import Update
from nplenet.layers.sequential import leaves
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import AdamW

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "kernels" / "fused").glob("*.cu"))
H100 = Device(shared=232448, processors=132)
B200 = Device(shared=232448, processors=148)
RTX_5080 = Device(shared=101376, processors=84)
RTX_5090 = Device(shared=101376, processors=170)

# What NVRTC said of a text on an architecture: from 1024 images on a step has the same text.
REPORTS: dict[tuple[str, int], list[nvrtc.KernelReport]] = {}

every_file = pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)


def reports_on_lenet5(
    folder: Path,
    device: Device,
    batch_size: int,
    architectures: Sequence[int],
    moments: bool,
    only: str = "",
    anew: bool = False,
) -> list[nvrtc.KernelReport]:
    """Return what NVRTC says of the step's kernels, or of one only; it is asked once of a text."""
    try:
        known = nvrtc.supported_archs()
    except RuntimeError as error:
        pytest.skip(str(error))
    model, file = LeNet5(seed=0), folder / "lenet5.cu"
    arguments = ([layer for _, layer in leaves(model)], (1, 32, 32), np.dtype(np.float32))
    update = Update(AdamW(model.parameters()))
    program = make_program(*arguments, CrossEntropyLoss(), batch_size, device, update, moments)
    text = program.text("uint8")
    for kernel in program.kernels:
        if only not in ("", kernel.name):
            text = text.replace(kernel.text, "")
    file.write_text(text, encoding="utf-8")
    archs = [arch for arch in architectures if arch in known]
    for arch in archs:
        if anew or (text, arch) not in REPORTS:
            REPORTS[text, arch] = nvrtc.check_kernels(file, [arch])  # prints them: pytest -s
    reports = [replace(report, file=str(file)) for arch in archs for report in REPORTS[text, arch]]
    assert len(reports) == (1 if only else 6) * len(archs)
    return reports


def assert_clean(reports: Sequence[nvrtc.KernelReport]) -> None:
    assert [r.error for r in reports if r.error] == []
    assert {w for r in reports for w in r.warnings} == set()
    assert [(r.kernel, r.arch, r.spill_bytes) for r in reports if r.spill_bytes] == []


@pytest.mark.parametrize(
    ("batch_size", "architectures"),
    [(64, (70, 80, 90, 120)), (1024, (80, 90)), (4096, (80,))],
    ids=str,
)
@pytest.mark.parametrize("moments", [False, True], ids=["any images", "bytes"])
def test_nvrtc_takes_lenet5_without_warnings_or_spills(
    tmp_path: Path, batch_size: int, architectures: tuple[int, ...], moments: bool
) -> None:
    """Images of bytes have four kernels a step and two more, any images have six."""
    assert_clean(reports_on_lenet5(tmp_path, H100, batch_size, architectures, moments))


def test_what_was_compiled_quickly_before_changes_no_report(tmp_path: Path) -> None:
    """NVRTC does not forget the option with which the simulated device has it compile."""
    file = tmp_path / "kernel.cu"
    file.write_text('extern "C" __global__ void k(float* a) { a[threadIdx.x] = expf(a[0]); }')
    before = reports_on_lenet5(tmp_path, H100, 64, [80], True)
    assert [r.error for r in nvrtc._check([str(file)], [80], QUICKLY, [])] == [""]
    assert reports_on_lenet5(tmp_path, H100, 64, [80], True, anew=True) == before
    assert_clean(before)


@pytest.mark.parametrize("batch_size", [256, 512, 1024])
@pytest.mark.parametrize(
    ("device", "architecture"),
    [(B200, 100), (RTX_5080, 120), (RTX_5090, 120)],
    ids=("B200", "RTX 5080", "RTX 5090"),
)
def test_the_pass_with_most_registers_spills_none_on_newer_cards(
    tmp_path: Path, device: Device, architecture: int, batch_size: int
) -> None:
    """The dense layers, forward and backward, with as many images as such a card gives a block."""
    assert_clean(
        reports_on_lenet5(tmp_path, device, batch_size, [architecture], False, only="pass3")
    )


def test_each_file_is_in_the_list_of_the_program() -> None:
    assert sorted(file.stem for file in SOURCES) == sorted(FILES)


def code(file: Path) -> str:
    """Return the text of a file without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.S)


@every_file
def test_device_code_includes_nothing_and_uses_no_atomics(file: Path) -> None:
    assert "#include" not in code(file)
    assert not re.search(r"\batomic\w+\s*\(", code(file))
    assert [
        a for a in re.findall(r"\basm\b.*", code(file)) if not a.startswith('asm volatile("" :')
    ] == []
    assert "__global__" not in code(file)  # kernels are generated


@every_file
def test_a_file_says_what_its_threads_do_and_which_function_it_must_equal(file: Path) -> None:
    if file.stem == "common":
        return
    comment, _, _ = file.read_text(encoding="utf-8").partition("\n\n")
    lines = [line.removeprefix("//").strip() for line in comment.splitlines()]
    assert any(line.startswith("Threads") for line in lines)
    text = " ".join(lines).partition("NumPy twin")[2]
    named = re.findall(r"([\w ,]+?) in (nplenet/[\w/]+\.py)", text.partition(":")[2])
    assert named, "name the NumPy twins and their files on top"
    for names, module in named:
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        found = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        assert set(re.findall(r"\w+", names)) - {"and", "with"} <= found
