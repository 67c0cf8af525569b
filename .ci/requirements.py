"""Print what the tests on NumPy need, one requirement per line, as setup.cfg has it.

With --lowest: in the lowest versions that setup.cfg admits.
"""

import configparser
import sys
from pathlib import Path

setup = configparser.ConfigParser()
setup.read(Path(__file__).parents[1] / "setup.cfg")
lines = setup["options"]["install_requires"] + setup["options.extras_require"]["test"]
for requirement in filter(None, lines.splitlines()):
    name, marker, condition = requirement.partition(";")
    if "--lowest" in sys.argv:
        name = name.partition(",")[0].replace(">=", "==")
    print(name + marker + condition)
