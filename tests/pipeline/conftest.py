"""Two small runs on scikit-learn's digits that many tests look at, and how a run is started here."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from limbeck.cli.main import build
from limbeck.files import cache_home
from limbeck.pipeline import students

RECIPE = """\
name: tiny
data: {kind: digits, validation: 200, test: 200, labelled: 60, limit: 300}
augmentation: {shift: 1}
teacher:
  model: {kind: residual, width: 8, depth: 1, stages: 2}
  training:
    steps: 40
    batch_examples: 64
    optimizer: {kind: adamw, learning_rate: 0.02}
    evaluate_every_steps: 20
    checkpoint_seconds: 0.05
student:
  model: {kind: separable, width: 8, depth: 1, stages: 2, stem_stride: 1}
method: {kd: {temperature: 4}, ce: {weight: 0.1}}
training:
  steps: 24
  batch_examples: 64
  labelled_share: 0.25
  optimizer: {kind: adamw, learning_rate: 0.05}
  evaluate_every_steps: 8
  checkpoint_seconds: 0.05
seeds: [0, 1]
evaluation: {bootstrap: 200, latency_repetitions: 3}
export: {formats: [onnx], calibration_examples: 64}
plan: {workers: 2}
"""
QUICK = ("controls=[no-teacher]", "export.formats=[]", "evaluation.robustness=false")
"""Overrides that leave out what takes seconds: files, corruptions, and most controls."""

Limbeck = Callable[..., Result]


@dataclass(frozen=True)
class Place:
    """A recipe, the folder it ran in, and the cache it used."""

    recipe: Path
    out: Path
    cache: Path

    def read(self, name: str) -> Any:
        """A JSON file of the run folder."""
        return json.loads((self.out / name).read_text())

    def weights(self) -> dict[str, str]:
        """The hash of every training's weights, and of the shipped student's."""
        results = sorted(self.out.glob("checkpoints/*/result.json"))
        found = {file.parent.name: json.loads(file.read_text())["weights"] for file in results}
        return {**found, "shipped": self.read("student/model.json")["digest"]}


def started(*arguments: str) -> Result:
    """What became of a command, in this process."""
    return CliRunner().invoke(build(arguments[0]), list(arguments))


@pytest.fixture
def limbeck() -> Limbeck:
    """Run a command in this process."""
    return started


@pytest.fixture(scope="session")
def tiny() -> str:
    """The text of the tiny recipe."""
    return RECIPE


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The tiny recipe in a file."""
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def cache() -> Path:
    """The test's own cache."""
    return cache_home()


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process: a worker's imports alone take longer than these trainings."""
    monkeypatch.setattr(students, "_side_by_side", students._in_turn)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The whole tiny recipe, with two workers; look, don't touch. One for all of pytest's workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place = _place(shared / "finished")
    with FileLock(shared / "finished.lock"):
        if not (place.out / "report.json").exists():
            _run(place)
    return place


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run without files, in this process; look, don't touch."""
    place = _place(tmp_path_factory.mktemp("quick"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(students, "_side_by_side", students._in_turn)
        _run(place, *QUICK)
    return place


@pytest.fixture
def again(quick: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_turn: None) -> Place:
    """A copy of the quick run with a cache of its own, to change."""
    place = Place(tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "cache")
    shutil.copy(quick.out / "recipe.yaml", place.recipe)
    shutil.copytree(quick.out, place.out)
    shutil.copytree(quick.cache, place.cache)
    targets = place.read("targets.json")
    targets["path"] = str(place.cache / "targets" / targets["key"])
    (place.out / "targets.json").write_text(json.dumps(targets))
    monkeypatch.setenv("LIMBECK_CACHE", str(place.cache))
    return place


def _place(base: Path) -> Place:
    base.mkdir(exist_ok=True)
    (base / "tiny.yaml").write_text(RECIPE)
    return Place(base / "tiny.yaml", base / "run", base / "cache")


def _run(place: Place, *overrides: str) -> None:
    changes = [part for override in overrides for part in ("--set", override)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(place.cache))
        result = started("run", str(place.recipe), "--out", str(place.out), *changes)
    assert result.exit_code == 0, result.stderr
