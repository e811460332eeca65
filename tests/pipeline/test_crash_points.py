"""Killed just before any renaming of a file, a run is completed by the same command, with the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("crash_points.py")
CHANGES = {
    "    steps: 40": "    steps: 6",
    "  steps: 24": "  steps: 4",
    "evaluate_every_steps: 20": "evaluate_every_steps: 3",
    "evaluate_every_steps: 8": "evaluate_every_steps: 2",
    "checkpoint_seconds: 0.05": "checkpoint_seconds: 1.0e-9",  # after every step: the moments are always the same
    "formats: [onnx]": "formats: [safetensors]",
    "seeds: [0, 1]": "seeds: [0, 1]\ncontrols: [no-teacher]",
    "bootstrap: 200": "bootstrap: 100, robustness: false",
}


@pytest.fixture
def small(recipe: Path) -> Path:
    text = recipe.read_text()
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return recipe


def tried(recipe: Path, folder: Path, share: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """How many moments there are, and what became of some."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(recipe), str(folder), share],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *rest = map(json.loads, done.stdout.splitlines())
    assert first["trainings"] == 1 + 2 * 2 + 1
    for line in rest:
        assert line["killed"] == -9, line
        assert line["resumed"] == 0, (line, done.stderr)
        assert line["equal"], line
    return first, rest


@pytest.mark.long
def test_a_few_moments(small: Path, tmp_path: Path) -> None:
    first, rest = tried(small, tmp_path / "arms", "0/37")
    assert len(rest) == len(range(0, first["moments"], 37)) >= 3


@pytest.mark.long
@pytest.mark.parametrize("start", [0, 1])
def test_every_second_moment(small: Path, tmp_path: Path, start: int) -> None:
    first, rest = tried(small, tmp_path / "arms", f"{start}/2")
    assert len(rest) == len(range(start, first["moments"], 2)) >= 50
