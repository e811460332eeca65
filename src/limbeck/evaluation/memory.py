"""How much memory a file needs to answer, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import RunError

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Memory:
    """The highest resident memory of a process that loads one file and answers with it."""

    model_mb: float
    """What the file adds: the peak less what Python and its packages take before the session is made."""
    total_mb: float
    """The peak of the whole process."""


def peak_memory(
    model: Path,
    *,
    batch_examples: int = 1,
    threads: int = 1,
    requests: int = 20,
    timeout_seconds: float = 120.0,
) -> Memory:
    """Load an ONNX file in a fresh process, answer some requests with zeros, and read the peak.

    Args:
        model: The file.
        batch_examples: What stands in for each size that the file leaves open.
        threads: Of onnxruntime.
        requests: How many to answer; the allocator settles after a few.
        timeout_seconds: After which the process is ended.

    Raises:
        RunError: If the process fails or takes too long; the message ends with its last line.
    """
    probe = Path(__file__).with_name("memory_probe.py")
    words = [str(number) for number in (batch_examples, threads, requests)]
    command = [sys.executable, "-P", str(probe), str(model.resolve()), *words]
    try:
        # our own interpreter and script; the path is an argument, no shell reads it
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=True)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the memory of {model} was not measured within {timeout_seconds:g} s.") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"the memory of {model} could not be measured: {last}") from error
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Memory((found["peak"] - found["before"]) / _MEGABYTE, found["peak"] / _MEGABYTE)
