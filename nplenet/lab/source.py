"""What stands in the source tree only: the key, and the simulated CUDA device."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "lab" / "keys"
SIMULATOR = ROOT / "tests" / "gpusim"
ONLY_THERE = (
    "the source tree only, and this is an installed package: clone the repository and run "
    "`python -m nplenet` in it"
)


def key(file: str) -> str:
    """Return the key of an assignment's file."""
    if not (KEYS / file).is_file():
        raise FileNotFoundError(f"the key is in {ONLY_THERE}")
    return (KEYS / file).read_text(encoding="utf-8")


def simulator() -> Path:
    """Return the folder from which ``gpusim`` is imported."""
    if not (SIMULATOR / "host.py").is_file():
        raise FileNotFoundError(f"the simulated CUDA device is in {ONLY_THERE}")
    return SIMULATOR.parent
