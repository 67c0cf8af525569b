"""How Sphinx builds the book: `sphinx-build -W --keep-going docs docs/_build/html`.

Every code cell of every chapter is run; an error in one, or any warning, fails the build. Nothing
comes from the network, neither while building nor while reading: MathJax is a part of the pages.
"""

from __future__ import annotations

import inspect
from typing import Any

import nplenet

project = "nplenet"
author = "the nplenet authors"
copyright = author
version = release = nplenet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "*.ipynb"]  # notebooks that a reader made of the chapters

# ------------------------------------------------------------------ chapters

nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide it"
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

# ------------------------------------------------------------------ reference

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings say shapes and dtypes, which a type can't
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shapes", ("Attributes", "params_style")]

# ------------------------------------------------------------------ pages

html_theme = "furo"
html_title = "nplenet: the book"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "native"


def keep_formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make literal blocks of the formulas in docstrings, which stand indented in plain text.

    A formula is what follows an empty line and is indented deeper than the text before it.
    Sections such as Parameters are indented too, but without an empty line in front.
    """
    result: list[str] = []
    text_indent, in_formula = 0, False
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            result.append(line)
            continue
        if in_formula:
            in_formula = indent > text_indent
        elif i and not lines[i - 1].strip() and indent > text_indent:
            result += [" " * text_indent + ".. code-block:: text", ""]
            in_formula = True
        if not in_formula:
            text_indent = indent
        result.append(line if in_formula else line.replace("|", r"\|"))
    lines[:] = result


def leave_out_constants(
    app: Any, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Keep a module's constants out of the reference: they are for those who read the source."""
    is_code = inspect.isclass(obj) or inspect.isroutine(obj) or inspect.ismodule(obj)
    return True if what == "module" and not is_code else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", leave_out_constants)
    app.connect("autodoc-process-docstring", keep_formulas, priority=100)  # before napoleon
    app.config.mathjax_path = "mathjax/tex-svg.js"  # needs no font files, which file:// may forbid
    # It only copies files at the end, but does not say so; then `-j` would read page after page.
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True
