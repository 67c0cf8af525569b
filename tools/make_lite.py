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
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import make_notebooks

ROOT = Path(__file__).parents[1]
PURE = ("filelock", "idx2numpy")  # needed by nplenet and not a part of Pyodide
LEFT_OUT = {
    "compiled": "its cells measure times and use several cores",
    "cuda": "its cells compile CUDA C with g++",
    "graphs": "its cells run CuPy on a simulated device, which is compiled with g++",
}
INSTALL = "%pip install -q nplenet matplotlib pillow"


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


def build(folder: Path, pyodide: str | None = None) -> None:
    """Build the site into ``folder``, which is emptied before."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description="build JupyterLite with the book's notebooks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pyodide", help="a distribution of Pyodide to serve along: file or URL")
    arguments = parser.parse_args()
    build(arguments.folder, arguments.pyodide)
    print(f"python -m http.server --directory {arguments.folder}")


if __name__ == "__main__":
    main()
