"""Build JupyterLite with the book's notebooks: a folder of files that any web server can serve.

    pip install -e '.[lite]'
    python tools/make_lite.py build/lite          # or: make lite
    python -m http.server --directory build/lite

The notebooks then run in the reader's browser, on Pyodide (Python compiled to WebAssembly), with
nothing installed. Pyodide itself, with NumPy and Matplotlib, 40 MB, is loaded from its CDN by the
reader's browser; ``--pyodide`` names a distribution of it (the file ``pyodide-314.0.6.tar.bz2`` of
its release page, or a URL of one) to serve along, for a room without a network.

What cannot run in a browser is left out, and the page README.md there says so.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import make_notebooks

ROOT = Path(__file__).parents[1]
PURE = ("comm", "filelock", "idx2numpy")  # the kernel or nplenet needs them; not part of Pyodide
PART_OF_PYODIDE = (
    *("ipython", "jedi", "micropip"),  # the kernel needs these
    *("numpy", "platformdirs", "safetensors", "six", "threadpoolctl", "tqdm"),  # nplenet
    *("matplotlib", "pillow"),  # the cells
)
LEFT_OUT = {
    "compiled": "its cells measure times and use several cores",
    "cuda": "its cells compile CUDA C with g++",
    "graphs": "its cells run CuPy on a simulated device, which is compiled with g++",
}
INSTALL = "%pip install -q nplenet matplotlib pillow"
KERNEL = {"display_name": "Python (Pyodide)", "language": "python", "name": "python"}


def write_contents(folder: Path) -> None:
    """Write the notebooks that can run there, with a first cell that installs nplenet."""
    make_notebooks.write(folder)
    for chapter in make_notebooks.chapters():
        file = folder / make_notebooks.file_name(chapter)
        if chapter in LEFT_OUT:
            file.unlink()
            continue
        notebook: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        first = {"cell_type": "code", "id": "install", "metadata": {}, "outputs": []}
        notebook["cells"].insert(0, {**first, "execution_count": None, "source": INSTALL})
        notebook["metadata"]["kernelspec"] = KERNEL  # another name makes JupyterLab ask for one
        file.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    readme = folder / "README.md"
    lines = readme.read_text(encoding="utf-8").splitlines()
    for chapter, reason in LEFT_OUT.items():
        name = make_notebooks.file_name(chapter)
        (row,) = [i for i, line in enumerate(lines) if name in line]
        title = lines[row].split("](")[0].removeprefix("- [")
        lines[row] = f"- {title}: not in a browser, because {reason}"
    readme.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_wheels(folder: Path) -> list[Path]:
    """Make wheels of nplenet and of what it needs beyond Pyodide; all are pure Python."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT), *PURE], check=True)
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        if not wheel.name.endswith("-none-any.whl"):
            raise SystemExit(f"{wheel.name} is not pure Python and can't run in a browser")
    return wheels


def asked_of_pypi(site: Path) -> set[str]:
    """Return what the site's wheels need that is neither among them nor a part of Pyodide."""
    kernel = site / "extensions" / "@jupyterlite" / "pyodide-kernel-extension" / "static"
    known, needed = set(PART_OF_PYODIDE), set()
    for wheel in [*site.glob("pypi/*.whl"), *kernel.glob("pypi/*.whl")]:
        known.add(wheel.name.split("-")[0].replace("_", "-"))
        with zipfile.ZipFile(wheel) as archive:
            (file,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            text = archive.read(file).decode()
        needed.update(re.findall(r"^Requires-Dist: ([\w-]+)\b(?!.*\bextra ==)", text, re.M))
    return needed - known


def missing_files(pyodide: Path) -> list[str]:
    """Return what a distribution of Pyodide lacks of ``PART_OF_PYODIDE`` and of what that needs."""
    packages = json.loads((pyodide / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]
    found: dict[str, bool] = {}
    names = list(PART_OF_PYODIDE)
    while names:
        name = names.pop().lower().replace("_", "-")
        if name not in found:
            package = packages.get(name, {"file_name": "", "depends": []})
            found[name] = (pyodide / package["file_name"]).is_file()
            names += package["depends"]
    return sorted(name for name in found if not found[name])


def check(site: Path) -> None:
    """End with a message if the site asks for more of the network than it must."""
    if asked := asked_of_pypi(site):
        names = ", ".join(sorted(asked))
        raise SystemExit(f"the browser would ask PyPI for {names}: in PURE or PART_OF_PYODIDE?")
    pyodide = site / "static" / "pyodide"
    if pyodide.is_dir() and (missing := missing_files(pyodide)):
        names = ", ".join(missing)
        raise SystemExit(f"this distribution of Pyodide is not the one with packages: no {names}")


def located(pyodide: str) -> str:
    """Return a URL as it is, and a file with its whole path, which JupyterLite needs."""
    if "://" in pyodide:
        return pyodide
    if not Path(pyodide).is_file():
        raise SystemExit(f"{pyodide} is no file; expected pyodide-VERSION.tar.bz2")
    return str(Path(pyodide).resolve())


def build(folder: Path, pyodide: str | None = None) -> None:
    """Build the site into ``folder``, which is emptied before."""
    pyodide = located(pyodide) if pyodide else None
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        contents, wheels, lite = (Path(place) / name for name in ("contents", "wheels", "lite"))
        for path in (contents, wheels, lite):
            path.mkdir()
        write_contents(contents)
        command = [sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", str(lite)]
        command += ["--contents", str(contents), "--output-dir", str(folder.resolve())]
        for wheel in make_wheels(wheels):
            command += ["--piplite-wheels", str(wheel)]
        if pyodide is not None:
            command += ["--pyodide", pyodide]
        subprocess.run(command, check=True, cwd=lite)
    check(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="build JupyterLite with the book's notebooks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pyodide", help="a distribution of Pyodide to serve along: file or URL")
    arguments = parser.parse_args()
    build(arguments.folder, arguments.pyodide)
    print(f"python -m http.server --directory {arguments.folder}")


if __name__ == "__main__":
    main()
