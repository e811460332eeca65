"""Run as a script in a process of its own: load an ONNX file, answer some requests, print the memory used.

It imports nothing of Limbeck: torch would hide what a session of onnxruntime needs. So the options of the session are
said here again, as :mod:`limbeck.threads` says them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

_TYPES = {
    "tensor(float)": "float32",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(double)": "float64",
}


def peak_bytes() -> int:
    """The most memory that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Let the peak start again from what is resident now, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak then includes what imports needed, in the baseline as in the total


def main(model: str, batch_examples: int, threads: int, requests: int) -> dict[str, int]:
    """Resident bytes before the session and at the highest point after it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    forget_peak()
    before = peak_bytes()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {}
    for entry in session.get_inputs():
        shape = [size if isinstance(size, int) else batch_examples for size in entry.shape]
        feeds[entry.name] = np.zeros(shape, dtype=_TYPES.get(entry.type, "float32"))
    for _ in range(requests):
        session.run(None, feeds)
    return {"before": before, "peak": peak_bytes()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *(int(word) for word in sys.argv[2:5]))))
