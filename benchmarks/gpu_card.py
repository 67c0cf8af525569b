"""The graphics card: its name, its versions, and the most it can do in a second."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import Any

from nplenet import get_backend
from nplenet.machine import environment, processor

cupy: Any = get_backend("cupy").xp

# cudaDeviceAttr: the clocks are in kHz; CUDA 13 gives them here only, not among the properties.
CLOCK, MEMORY_CLOCK, MEMORY_BITS, SMS = 13, 36, 37, 16


def describe() -> dict[str, Any]:
    """Return the facts about the current device, and the versions of what drives it."""
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device().id
    properties = runtime.getDeviceProperties(device)
    name, capability = properties["name"].decode(), (properties["major"], properties["minor"])
    sms = attribute(SMS, device) or properties["multiProcessorCount"]
    clock = 1e3 * attribute(CLOCK, device)
    return {
        "name": name,
        "capability": f"{capability[0]}.{capability[1]}",
        "sms": sms,
        "clock_hz": clock or None,
        "memory_bytes": properties["totalGlobalMem"],
        "flop_per_second": 2 * sms * lanes(capability) * clock or None,
        # Twice per clock cycle.
        "bytes_per_second": 2e3
        * attribute(MEMORY_CLOCK, device)
        * attribute(MEMORY_BITS, device)
        / 8
        or None,
        "driver": driver_version() or f"for CUDA {dotted(runtime.driverGetVersion())}",
        "cuda_runtime": dotted(runtime.runtimeGetVersion()),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cupy": cupy.__version__,
        "processor": processor(),
        **environment(),
    }


def lanes(capability: tuple[int, int]) -> int:
    """Return the float32 multiply-adds per cycle of an SM (CUDA C++ Programming Guide, table of
    arithmetic throughput)."""
    return 64 if capability in ((6, 0), (7, 0), (7, 2), (7, 5), (8, 0)) else 128


def attribute(number: int, device: int) -> int:
    """Return an attribute of a device, 0 where CUDA does not give it."""
    with suppress(Exception):
        return int(cupy.cuda.runtime.deviceGetAttribute(number, device))
    return 0


def dotted(version: int) -> str:
    """Return 12090 as 12.9."""
    return f"{version // 1000}.{version % 1000 // 10}"


def driver_version() -> str:
    """Return the version of the driver as nvidia-smi prints it, "" without nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.splitlines()[0].strip() if done.stdout.strip() else ""
    return ""
