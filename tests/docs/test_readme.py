"""README's example and recipe do what it says; so do the readers in the other pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.data import Digits
from limbeck.pipeline.distill import load as load_run
from limbeck.recipe import load as load_recipe

ROOT = Path(__file__).resolve().parents[2]

_RUN_RECIPE = """
import limbeck as lb
few = ["training.steps=60", "tuning=[{}]", "seeds=[0]", "controls=[]", "gate.retention=null"]
quick = [*few, "plan={}", "evaluation.robustness=false", "export.formats=[safetensors]"]
lb.run("recipe.yaml", out="runs/digits", overrides=quick)
"""


def block(page: str, language: str, mark: str) -> str:
    """The fenced block that follows a mark."""
    found = re.search(rf"<!-- {mark} -->\n```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found, f"{page} has no {language} block marked {mark}"
    return found[1]


def executed(code: str, folder: Path, cache: Path) -> str:
    environment = {**os.environ, "LIMBECK_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where README's example, and then its recipe with fewer steps, were run in one fresh process."""
    place = tmp_path_factory.mktemp("readme")
    (place / "recipe.yaml").write_text(block("README.md", "yaml", "recipe"))
    code = block("README.md", "python", "example") + _RUN_RECIPE
    (place / "printed.txt").write_text(executed(code, place, place / "cache"))
    return place


def test_the_example_distils_digits(folder: Path) -> None:
    report = load_run(folder / "runs" / "digits-in-python").report
    assert report.summary in (folder / "printed.txt").read_text()
    assert report.retention.value is not None
    assert report.retention.value > 0.9
    assert {control.name for control in report.controls} == {"no-teacher", "pseudo-labels"}


def test_the_recipe_runs(folder: Path) -> None:
    run = load_run(folder / "runs" / "digits")
    assert run.report.student.metrics["accuracy"] > 0.8
    assert run.folder.page.exists()


def test_the_recipe_is_short_and_whole() -> None:
    text = block("README.md", "yaml", "recipe")
    assert len(text.splitlines()) <= 15
    recipe = load_recipe(text)
    assert isinstance(recipe.data, Digits)
    assert recipe.gate.retention is not None


def test_the_example_is_short() -> None:
    assert len(block("README.md", "python", "example").splitlines()) <= 24


@pytest.mark.parametrize("page", ["docs/export.md", "docs/target-store.md"])
def test_another_program_reads_what_a_run_wrote(page: str, folder: Path) -> None:
    code = block(page, "python", "example")
    assert "limbeck" not in code
    assert executed(code, folder / "runs" / "digits-in-python", folder / "cache").strip()
