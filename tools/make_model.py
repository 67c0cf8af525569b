"""Make the trained model that comes with the library, from a run on MNIST.

    nplenet train --seed 0 --output run && python tools/make_model.py run

It writes architecture and weights to ``nplenet.checkpoint.DEFAULT_MODEL``, without the state of
the run.
"""

import sys
from pathlib import Path

from nplenet.checkpoint import DEFAULT_MODEL, LATEST, load_model, save_model

save_model(load_model(Path(sys.argv[1]) / LATEST), DEFAULT_MODEL)
