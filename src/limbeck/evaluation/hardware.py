"""The machine that numbers were measured on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from limbeck.threads import cores

_PACKAGES: Final = ("torch", "numpy", "onnx", "onnxruntime")


def hardware() -> dict[str, Any]:
    """The machine and the versions that speed depends on.

    Returns:
        ``cpu`` (its name), ``cores`` (those this process may use), ``memory_gb``, ``os``, ``machine``,
        ``python``, and ``versions`` of torch, numpy, onnx and onnxruntime (None where one is absent).
    """
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "os": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
