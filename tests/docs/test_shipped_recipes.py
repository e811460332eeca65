"""Every shipped recipe loads, and those for a user's own data run once they have some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limbeck.pipeline.run import events
from limbeck.recipe import load

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_loads_and_is_commented(recipe: Path) -> None:
    assert load(recipe).name
    assert recipe.read_text().startswith("# ")


def test_the_recipe_for_arrays_trains_and_asks_its_teacher(tmp_path: Path) -> None:
    recipe = next(path for path in RECIPES if path.name == "arrays.yaml")
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    inputs = (rng.normal(size=(120, 5)) + labels[:, None]).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=labels)
    quick = (f"data.path={tmp_path / 'data.npz'}", "teacher.training.steps=3", "training.steps=3", "plan={}")
    quick = (*quick, "export.formats=[]", "controls=[]", "seeds=[0]")
    stages = [
        type(event).__name__
        for event in events(load(recipe, overrides=quick), tmp_path / "run", until="label")
    ]
    assert stages.count("Ended") == 4
    assert (tmp_path / "run" / "targets.json").exists()
