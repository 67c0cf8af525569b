"""Read the pictures of every condition of tests/scenes; print how many of each are right.

python tools/try_scenes.py                      the conditions except for those held out
python tools/try_scenes.py --held-out           the held-out half of every range, and conditions
python tools/try_scenes.py --pictures 20 plain in_a_box
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("", "tests")]


def main() -> None:
    from scenes import HELD_OUT, SCENES, SEVERAL, made
    from scenes.reader import answers

    from nplenet.checkpoint import DEFAULT_MODEL, load_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conditions", nargs="*", metavar="CONDITION")
    parser.add_argument("--pictures", type=int, default=10, help="pictures per condition")
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args()
    model = load_model(DEFAULT_MODEL)
    names = options.conditions or [n for n in SCENES if options.held_out or n not in HELD_OUT]
    total = {"all": 0, "one": 0}
    print(f"{'condition':34} {'right':>5} {'main digit':>10}   wrong: number=answer")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            right, main_right, wrong = 0, 0, []
            for number in range(options.pictures):
                picture = made(name, number, held_out=options.held_out)
                path = Path(folder) / "picture"
                path.write_bytes(picture.file())
                several, one = answers(model, path)
                right += several == picture.digits
                main_right += one == number % 10
                if several != picture.digits:
                    wrong.append(f"{number}={''.join(map(str, several))}")
            total["all"] += right
            total["one"] += main_right
            mark = " (several)" if name in SEVERAL else ""
            print(f"{name + mark:34} {right:5} {main_right:10}   {' '.join(wrong)}", flush=True)
    count = len(names) * options.pictures
    print(f"{'of ' + str(count):34} {total['all']:5} {total['one']:10}")
    print(f"{'':34} {total['all'] / count:5.1%} {total['one'] / count:10.1%}")


if __name__ == "__main__":
    main()
