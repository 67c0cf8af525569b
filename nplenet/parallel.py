"""Moved to ``nplenet.group`` and ``nplenet.mpi``."""

from .deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "ALONE": "nplenet.group.ALONE",
        "Group": "nplenet.group.Group",
        "sharing": "nplenet.group.sharing",
        "MpiGroup": "nplenet.mpi.MpiGroup",
        "Nccl": "nplenet.mpi.Nccl",
        "join": "nplenet.mpi.join",
        "launch": "nplenet.mpi.launch",
    },
)
