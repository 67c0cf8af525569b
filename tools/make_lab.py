"""Cut the blanks of the lab: write the skeletons from the keys in lab/keys.

A blank begins with a comment `Your code:` and ends with `End of your code`. Of what lies between,
the skeleton keeps the comment (its further lines are indented by two more spaces).

    python tools/make_lab.py
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEYS, SKELETONS = ROOT / "lab" / "keys", ROOT / "nplenet" / "lab" / "skeletons"
BLANK = re.compile(
    r"(?P<head> *(?P<mark>#|//) Your code:[^\n]*\n(?: *(?P=mark)   [^\n]*\n)*)"
    r".*?(?P<indent> *)(?P=mark) End of your code\n",
    re.DOTALL,
)


def skeleton(key: str) -> str:
    """Return a key with its blanks cut out."""

    def cut(found: re.Match[str]) -> str:
        python = found["mark"] == "#"
        return found["head"] + (f"{found['indent']}raise NotImplementedError\n" if python else "")

    return BLANK.sub(cut, key)


def main() -> None:
    """Write a skeleton for each key."""
    SKELETONS.mkdir(exist_ok=True)
    for path in sorted(KEYS.iterdir()):
        if path.suffix in (".py", ".cu"):
            text = skeleton(path.read_text(encoding="utf-8"))
            (SKELETONS / f"{path.name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
