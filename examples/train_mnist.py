"""Train the enhanced LeNet-5 on MNIST: the command ``nplenet train``, started from a script.

python examples/train_mnist.py                      # MNIST; without it, the bundled digits
python examples/train_mnist.py --backend cupy       # on an NVIDIA GPU
python examples/train_mnist.py --output run --resume auto      # resumes a stopped run
python examples/train_mnist.py --help

The run itself (load, model, loss, optimizer, loop, result) is the function ``train`` in
``nplenet/commands/train.py``, which reads from top to bottom.
"""

import sys

from nplenet.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
