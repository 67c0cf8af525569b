"""The lab: right answers get full points, wrong ones a sentence, none a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lab_answers import RIGHT, WRONG
from lab_answers.cuda import KERNEL
from make_lab import skeleton

from nplenet.__main__ import main
from nplenet.lab import ASSIGNMENTS, Result, grade
from nplenet.lab.compare import WrongAnswer, compare
from nplenet.lab.grader import LOAD_SECONDS, PartResult
from nplenet.lab.handout import start
from nplenet.lab.source import KEYS, key
from nplenet.lab.worker import results

NO_COMPILER = shutil.which("g++") is None
TASKS = [name for name in ASSIGNMENTS if name != "cuda" or not NO_COMPILER]


def says(name: str, source: str) -> dict[str, str]:
    """Return what is wrong with each part of an answer, graded in this process."""
    assignment = ASSIGNMENTS[name]
    path = Path(os.devnull).parent / assignment.file  # errors name it; it is not read
    loaded, *wrong = results(assignment, path, source, assignment.parts)
    assert not loaded
    return {p.name: text for p, text in zip(assignment.parts, wrong, strict=True)}


def needs_compiler(name: str) -> None:
    if name == "cuda" and NO_COMPILER:
        pytest.skip("no g++, which compiles kernels for the simulated device")


# ------------------------------------------------------------------------------ right and wrong


@pytest.mark.parametrize(
    ("name", "title"), [(name, title) for name, table in RIGHT.items() for title in table]
)
def test_a_right_but_unusual_answer_gets_full_points(name: str, title: str) -> None:
    needs_compiler(name)
    text = RIGHT[name][title]
    source = KERNEL + text if name == "cuda" else key(ASSIGNMENTS[name].file) + text
    assert not any(says(name, source).values()), says(name, source)


@pytest.mark.parametrize(("name", "old", "new", "part", "words"), WRONG)
def test_a_likely_mistake_loses_points_with_a_sentence_that_names_it(
    name: str, old: str, new: str, part: str, words: str
) -> None:
    needs_compiler(name)
    text = key(ASSIGNMENTS[name].file)
    assert old in text
    wrong = says(name, text.replace(old, new))
    assert words in wrong[part], wrong


def test_there_are_enough_mistakes_and_unusual_answers_and_each_part_can_be_lost() -> None:
    assert len(WRONG) >= 60
    assert RIGHT.keys() == ASSIGNMENTS.keys()
    assert min(map(len, RIGHT.values())) >= 5
    lost = {(name, part) for name, _, _, part, _ in WRONG}
    assert lost == {(a.name, part.name) for a in ASSIGNMENTS.values() for part in a.parts}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_a_skeleton_is_the_key_without_what_lies_in_the_blanks(name: str) -> None:
    assignment = ASSIGNMENTS[name]
    text = key(assignment.file)
    assert assignment.skeleton == skeleton(text), "run python tools/make_lab.py"
    assert assignment.skeleton.count("Your code:") == text.count("End of your code") > 0
    assert "End of your code" not in assignment.skeleton
    assert assignment.points == 10
    assert {path.name for path in KEYS.glob("*.[pc][yu]")} == {a.file for a in ASSIGNMENTS.values()}


# ------------------------------------------------------------------------------ from start to grade


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "blank"
    start(list(ASSIGNMENTS), folder)
    return folder


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "solved"
    start(TASKS, folder, solved=True)
    return folder


def test_a_folder_with_the_key_gets_full_points_in_under_20_seconds_of_cpu(solved: Path) -> None:
    before = os.times()
    graded = grade(solved)
    after = os.times()
    assert [result.name for result in graded] == TASKS
    assert all(result.points == result.of == 10 for result in graded), "\n".join(map(str, graded))
    spent = [b - a for a, b in zip(before[:4], after[:4], strict=True)]
    assert sum(spent) < 2 * 20  # of two cores; seconds of the clock depend on what else runs


def test_blank_skeletons_score_0_without_a_traceback(
    blank: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "grade", str(blank)]) == 1
    out, err = capsys.readouterr()
    assert f"0 of {10 * len(ASSIGNMENTS)} points" in out
    assert "Traceback" not in out + err
    assert out.count("is blank") >= sum(len(a.parts) for a in ASSIGNMENTS.values())


def test_start_writes_a_notebook_that_saves_the_answer_and_grades_it(blank: Path) -> None:
    for assignment in ASSIGNMENTS.values():
        notebook = json.loads((blank / f"{assignment.name}.ipynb").read_text(encoding="utf-8"))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        cells = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
        magic, _, code = cells["answer"].partition("\n")
        assert magic == f"%%writefile {assignment.file}"
        assert code + "\n" == assignment.skeleton
        assert f'grade("{assignment.file}")' in cells["grade"]
        text = (blank / f"{assignment.name}.md").read_text(encoding="utf-8")
        assert cells["instructions"] + "\n" == text
        assert all(f"| {part.name} | {part.points} |" in text for part in assignment.parts)


def test_the_notebook_runs_and_grades_what_it_holds(
    blank: Path, solved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = map(pytest.importorskip, ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    said = []
    for folder in (blank, solved):
        notebook = nbformat.read(folder / "pooling.ipynb", as_version=4)
        nbformat.validate(notebook)
        client = nbclient.NotebookClient(
            notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
        said.append("".join(o.get("text", "") for o in notebook.cells[3].outputs))
    assert "pooling.py: 0 of 10 points" in said[0]
    assert "pooling.py: 10 of 10 points" in said[1]
    assert (tmp_path / "pooling.py").read_text() == key("pooling.py")


def test_start_overwrites_nothing(blank: Path) -> None:
    before = (blank / "conv.py").read_bytes()
    with pytest.raises(FileExistsError, match=r"conv\.py exists and is not overwritten"):
        start(["conv"], blank)
    assert (blank / "conv.py").read_bytes() == before
    with pytest.raises(ValueError, match="unknown assignment 'convolution', expected one of dense"):
        start(["convolution"], blank)


# ------------------------------------------------------------------------------ whatever is written

HOSTILE = {
    "a syntax error": ("def (:\n", "is not Python: invalid syntax in line 1"),
    "a loop without end": ("while True: pass\n", "needs more than 1 seconds, the limit"),
    "sys.exit": ("import sys; sys.exit(3)\n", "ends the program with sys.exit in line 1"),
    "os._exit": ("import os; os._exit(0)\n", "ends the process with exit status 0"),
    "a signal": ("import os; os.kill(os.getpid(), 9)\n", "ends the process by SIGKILL"),
    "input": ("input('x?')\n", "waits for input in line 1"),
    "another library": ("import PIL\n", "imports PIL: an answer uses NumPy only"),
    "another library, in a function": (
        "def f():\n    from scipy import signal\n",
        "imports scipy: an answer uses NumPy only",
    ),
    "an error": ("\n1 / 0\n", "raises ZeroDivisionError in line 2: division by zero"),
    "recursion": ("def f(): return f()\nf()\n", "calls itself without end"),
    "a null byte": ("x = 1\0\n", "null bytes"),
    "bytes of no text": ("\udcff\udcfe\n", "is not Python"),
    "a class of errors of its own": ("class E(BaseException): pass\nraise E('no')\n", "raises E"),
    "nothing": ("", "has no Dense; keep the skeleton's names"),
    "an error without words": (
        "class E(Exception):\n    def __str__(self): raise self\nraise E\n",
        "raises E in line 3",
    ),
    "a large file": ("#" * (1 << 20) + "\n", "the file is larger than 1 MiB"),
    "a fork": ("import os\nos.fork()\n", "has no Dense; keep the skeleton's names"),
    "a module in place of a class": ("import os as Dense\n", "must be a function, found module"),
    "the library's layer": ("from nplenet.layers import Dense\n", "is nplenet's own"),
    "a class below the library's": (
        "import nplenet.layers as l\nclass Dense(l.Dense): pass\n",
        "is nplenet's own",
    ),
}


def graded(folder: Path, source: str, file: str = "dense.py") -> Result:
    folder.mkdir(exist_ok=True)
    (folder / file).write_bytes(source.encode("utf-8", "surrogateescape"))
    (result,) = grade(folder)
    return result


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("title", HOSTILE)
def test_a_file_that_cannot_be_loaded_is_a_sentence(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if title == "a loop without end":  # in 1 second no more than in 8
        monkeypatch.setattr("nplenet.lab.grader.LOAD_SECONDS", 1.0)
    source, words = HOSTILE[title]
    result = graded(tmp_path, source)
    assert result.points == 0
    assert all(words in part.wrong for part in result.parts), str(result)
    assert "Traceback" not in str(result)


def test_the_reference_says_how_long_a_file_and_a_part_may_take() -> None:
    page = Path(__file__).parents[1] / "docs" / "api" / "lab.md"
    limits = LOAD_SECONDS, ASSIGNMENTS["dense"].seconds, ASSIGNMENTS["cuda"].seconds
    words = "Running the file may take {:g} seconds, a part {:g} (a CUDA kernel {:g}, because"
    assert words.format(*limits) in page.read_text(encoding="utf-8")


FORWARD = "        # Your code: compute y from x"
IN_A_PART = {
    "while True: pass": "needs more than 1 seconds",
    "import sys; sys.exit()": "forward with 5 inputs and 5 outputs: ends the program with sys.exit",
    "raise KeyboardInterrupt": "raises KeyboardInterrupt in line",
    "import os; os._exit(7)": "ends the process with exit status 7",
    "np.ones((1 << 20, 1 << 20))": "needs more memory than the limit",
    "a = [b'x' * (1 << 24)]\n        while True: a.append(bytes(1 << 24))": "needs more memory",
    "import ctypes; ctypes.string_at(0)": "ends the process by SIGSEGV",
    "return None": "returns None",
    "return 'y'": "expected an array, found a str",
    "return [1.0]": "expected an array, found a list",
    "return np.array(['a'])": "expected an array of numbers",
    "return x[:2]": "expected an array of shape (5, 5), found (2, 5)",
    "return x * np.nan": "25 of 25 values are NaN or infinite",
    "x += 1": "writes over an array that it was given",
    "self.weight.data *= 2": "changes weight, which only a step may do",
    "x.nonsense": "raises AttributeError in line",
    "assert False, 'so' + chr(10) + chr(27) + 'there'": "raises AssertionError",
    "import nplenet.layers as l; return l.Dense(5, 5)(x)": "runs nplenet's own",
    "from nplenet.layers.products import matrix_product as m; return m(np, x, x)": "runs nplenet's",
}


@pytest.mark.skipif(os.name != "posix", reason="signals, limits of memory")
@pytest.mark.parametrize("code", IN_A_PART)
def test_whatever_a_part_does_is_a_sentence(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code.startswith("while True"):  # in 1 second no more than in 4, nor the parts after it
        monkeypatch.setitem(ASSIGNMENTS, "dense", replace(ASSIGNMENTS["dense"], seconds=1.0))
        monkeypatch.setattr("nplenet.lab.grader.AFTER_SECONDS", 0.3)
    source = key("dense.py").replace(FORWARD, f"        {code}\n{FORWARD}")
    result = graded(tmp_path, source)
    assert result.points < 10
    assert IN_A_PART[code] in result.parts[0].wrong, str(result)
    assert "Traceback" not in str(result)


def test_a_part_that_never_ends_costs_only_its_own_points_and_a_flood_of_prints_none(
    tmp_path: Path,
) -> None:
    source = key("activations.py").replace(
        "y = np.tanh(x)", "while True: print('x' * 100, flush=True)"
    )
    source = f"print('y' * 100000)\n{source}"
    began = time.monotonic()
    result = graded(tmp_path, source, "activations.py")
    assert time.monotonic() - began < 120
    assert {part.name: part.points for part in result.parts if not part.points} == {
        "Tanh, forward": 0,
        "Tanh, backward": 0,
    }
    assert "needs more than 4 seconds" in result.parts[-2].wrong
    assert "needs more than 1.5 seconds" in result.parts[-1].wrong


def test_processes_that_an_answer_starts_are_ended(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("groups of processes")
    beat = tmp_path / "beat"
    child = f"import time\\nwhile True: open({str(beat)!r}, 'a').write('x'); time.sleep(0.05)"
    source = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', \"{child}\"])\n"
    source += "import time\ntime.sleep(1)\n"
    assert graded(tmp_path, source + key("dense.py")).points == 10
    size = beat.stat().st_size
    time.sleep(0.5)
    assert beat.stat().st_size == size > 0


def test_files_beside_an_answer_are_neither_imported_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("1 / 0\n")
    (tmp_path / "queue.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    source = "open('written', 'w').write('x')\n" + key("dense.py")
    assert graded(tmp_path, source).points == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense.py", "queue.py", "random.py"]


def test_in_the_browser_an_answer_runs_in_the_same_process(
    solved: Path, blank: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nplenet.lab.grader.NO_PROCESSES", True)
    monkeypatch.setattr("subprocess.Popen", None)
    assert [r.points for r in grade(solved / "conv.py")] == [10]
    assert [r.points for r in grade(blank / "conv.py")] == [0]
    main(["lab", "grade", str(solved / "conv.py")])
    assert "in the browser nothing is limited" in capsys.readouterr().out


def test_in_the_browser_a_notebook_installs_nplenet_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for browser, first in ((False, "# "), (True, "%pip install -q nplenet")):
        monkeypatch.setattr("nplenet.lab.handout.IN_BROWSER", browser)
        start(["dense"], tmp_path / str(browser))
        text = (tmp_path / str(browser) / "dense.ipynb").read_text(encoding="utf-8")
        assert json.loads(text)["cells"][0]["source"][0].startswith(first)


def test_an_answer_with_lines_of_windows_and_a_mark_at_its_beginning_is_read(
    tmp_path: Path,
) -> None:
    text = "\ufeff" + key("dense.py").replace("\n", "\r\n")
    assert graded(tmp_path, text).points == 10


@pytest.mark.skipif(NO_COMPILER, reason="no g++")
def test_a_kernel_that_never_ends_or_writes_anywhere_is_a_sentence(tmp_path: Path) -> None:
    text = key("kernel.cu").replace("y[i] =", "y[1ll << 40] =")
    wrong = {part.wrong for part in graded(tmp_path, text, "kernel.cu").parts}
    assert any("SIGSEGV" in sentence for sentence in wrong), wrong


# ------------------------------------------------------------------------------ the command


def test_the_list_names_each_assignment_with_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "list"]) == 0
    out = capsys.readouterr().out
    for assignment in ASSIGNMENTS.values():
        assert f"10  {assignment.file:<18} {assignment.title}" in out


def test_a_class_is_graded_as_json(
    blank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good"
    start(["dense"], good, solved=True)
    arguments = ["lab", "grade", str(good), str(tmp_path / "absent"), "--json"]
    assert main(arguments) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["folder"], first["points"], first["of"]) == (str(good), 10, 10)
    (assignment,) = first["assignments"]
    assert assignment["assignment"] == "dense"
    assert [part["points"] for part in assignment["parts"]] == [3, 2, 3, 2]
    assert second["points"] == 0
    assert "does not exist" in second["error"]
    assert main(["lab", "grade", str(good)]) == 0


def test_a_missing_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "grade", str(tmp_path)]) == 2
    assert "holds no file of an assignment; expected one of dense.py" in capsys.readouterr().err
    assert main(["lab", "grade", str(tmp_path), "--assignment", "dense"]) == 1
    assert "the file is missing" in capsys.readouterr().out


def test_the_key_is_shown_to_a_teacher_only_where_the_source_is(
    blank: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["lab", "grade", str(blank / "dense.py"), "--key"]
    assert main(arguments) == 1
    assert "self.weight.grad += dy.T @ x" in capsys.readouterr().out
    monkeypatch.setattr("nplenet.lab.source.KEYS", tmp_path)
    assert main(arguments) == 2
    assert "the key is in the source tree only" in capsys.readouterr().err
    assert main(["lab", "start", "conv", "--key", "--output", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def test_a_network_of_a_students_layers_learns_and_says_whose_they_are(
    solved: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--dataset", "digits", "--limit", "600", "--epochs", "3"]
    assert main(["lab", "train", str(solved), *arguments]) == 0
    out = capsys.readouterr().out
    assert "features.0     Conv2d            conv.py           conv_backward.py" in out
    assert "18 of 18 parts are a student's" in out
    assert "nplenet" not in out.partition("18 of 18")[0].replace("nplenet lab", "")
    assert float(out.split()[-1].rstrip("%")) > 70  # 10 by chance

    (tmp_path / "conv.py").write_text(key("conv.py"), encoding="utf-8")
    wrong = key("dense.py").replace("dy.T @ x", "-dy.T @ x")
    (tmp_path / "dense.py").write_text(wrong, encoding="utf-8")
    assert main(["lab", "train", str(tmp_path), *arguments]) == 0
    out = capsys.readouterr().out
    assert "features.0     Conv2d            conv.py           nplenet" in out
    assert "classifier.1   Dense             nplenet           nplenet" in out
    assert "dense.py has 7 of 10 points, so nplenet's own is used" in out
    right = float(out.split()[-1].rstrip("%"))
    assert main(["lab", "train", str(tmp_path), "--all", *arguments]) in (0, 2)
    out = capsys.readouterr().out
    assert "classifier.1   Dense             dense.py          dense.py" in out
    broken = float(out.split()[-1].rstrip("%")) if out.rstrip().endswith("%") else 0.0
    (tmp_path / "dense.py").write_text("1 / 0\n", encoding="utf-8")
    blank = ASSIGNMENTS["activations"].skeleton
    (tmp_path / "activations.py").write_text(blank, encoding="utf-8")
    assert main(["lab", "train", str(tmp_path), "--all", *arguments]) == 2
    out, err = capsys.readouterr()
    assert "dense.py can't be used: loading the file: raises ZeroDivisionError" in out
    assert "an answer raises NotImplementedError in training" in err
    assert broken < right - 20  # a backward with the wrong sign matters: it is the one that runs


def test_the_lab_runs_in_a_process_without_this_checkout_on_its_path(solved: Path) -> None:
    """The worker finds nplenet where its caller has found it."""
    root, environment = str(Path(__file__).parents[1]), dict(os.environ)
    environment.pop("PYTHONPATH")
    code = f"import sys; sys.path.insert(0, {root!r}); from nplenet.lab import grade; "
    code += f"print(sum(r.points for r in grade({str(solved)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=solved,
        env=environment,
    )
    assert done.stdout.strip() == str(10 * len(TASKS)), done.stderr


# ------------------------------------------------------------------------------ the comparison


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (-np.eye(3) - 1.0, "has the wrong sign"),
        (np.zeros((3, 3)), "is zero everywhere"),
        (4 * (np.eye(3) + 1), "is 4 times too large; 4 is N"),
        ((np.eye(3) + 1) / -4, "is 4 times too small and has the wrong sign; 4 is N"),
        (3 * (np.eye(3) + 1), "is 3 times the right values"),
        (np.eye(3) + 2, "differs by the same number everywhere"),
        (np.eye(3)[::-1] + 1, "is flipped along the last axis"),
        (
            np.eye(3) + 1 + np.diag([0, 0, 1e-3]),
            "1 of 9 values are wrong, all at 2 of 3 on axis 0, all at 2 of 3 on axis 1; "
            "at [2, 2] expected 2, found 2.001",
        ),
        (
            np.eye(3) + 1 + [0.1, 0.2, 0],
            "6 of 9 values are wrong, all at 0 or 1 of 3 on axis 1; at [",
        ),
    ],
)
def test_usual_mistakes_are_named(found: np.ndarray, words: str) -> None:
    with pytest.raises(WrongAnswer) as caught:
        compare("y", found, np.eye(3) + 1, (), {"N": 4})
    assert words in str(caught.value)


def test_rounding_of_float32_is_no_mistake() -> None:
    right = np.random.default_rng(0).standard_normal((4, 5))
    compare("y", right.astype(np.float32), right)


def test_wrong_values_without_a_cause_point_to_the_part_above() -> None:
    parts = (
        PartResult("a", 0, 1, "a: 2 of 3 values are wrong; at [0] expected 1, found 2"),
        PartResult("b", 0, 1, "b: 2 of 3 values are wrong; at [0] expected 1, found 2"),
        PartResult("c", 0, 1, "c: the bias is missing"),
    )
    lines = str(Result("dense", "dense.py", parts)).splitlines()
    assert ["correct the part above first" in line for line in lines[2::2]] == [False, True, False]


def test_part_names_are_unique() -> None:
    for assignment in ASSIGNMENTS.values():
        assert max(Counter(part.name for part in assignment.parts).values()) == 1
