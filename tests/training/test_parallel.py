"""A student in DistributedDataParallel: its taps fire, and its gradients are those of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import limbeck

SCRIPT = Path(__file__).with_name("parallel_student.py")
pytestmark = pytest.mark.long


def found(folder: Path, processes: int, method: str) -> list[Any]:
    source = str(Path(limbeck.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(processes), str(folder), method], env=environment
        )
        for rank in range(processes)
    ]
    assert [process.wait(timeout=120) for process in running] == [0] * processes
    return [torch.load(folder / f"{method}.{processes}.{rank}.pt") for rank in range(processes)]


@pytest.mark.parametrize("method", ["attention", "hint"])
def test_gradients_are_those_of_one_process(tmp_path: Path, method: str) -> None:
    (alone,) = found(tmp_path, 1, method)
    together = found(tmp_path, 2, method)
    assert any(name.startswith("connector") for name in alone) == (method == "hint")
    for gradients in together:
        assert gradients.keys() == alone.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, alone[name], msg=lambda text, name=name: f"{name}: {text}")


def test_a_tap_that_does_not_fire_is_named_in_the_first_step(tmp_path: Path) -> None:
    for message in found(tmp_path, 2, "bonus"):
        assert "'bonus'" in message
        assert "does not run" in message
