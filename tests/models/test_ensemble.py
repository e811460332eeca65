"""Several trained models that a recipe names as one teacher: each with its weights, and their mistakes at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from limbeck.errors import ModelError, RecipeError
from limbeck.models import MLP, EnsembleModel, Linear, Member, Together, load_student, save_student
from limbeck.recipe import dump, json_schema, load

SHAPE, CLASSES = (4,), 3
BASE = {"data": {"kind": "digits"}, "student": {"model": {"kind": "linear"}}}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[EnsembleModel, list[nn.Module]]:
    """An ensemble whose weights lie in files, and its members as they were saved."""
    torch.manual_seed(0)
    families = (MLP(width=8, depth=1), Linear())
    modules = [family.build(SHAPE, CLASSES).eval() for family in families]
    for number, module in enumerate(modules):
        save_file(module.state_dict(), tmp_path / f"{number}.safetensors")
    members = tuple(
        Member(model=family, weights=tmp_path / f"{number}.safetensors")
        for number, family in enumerate(families)
    )
    return EnsembleModel(members=members, temperature=4.0), modules


def test_it_answers_as_its_members_together(saved: tuple[EnsembleModel, list[nn.Module]]) -> None:
    config, modules = saved
    inputs = torch.randn(5, *SHAPE)
    built = config.build(SHAPE, CLASSES).eval()
    assert torch.equal(built(inputs), Together(modules, temperature=4.0)(inputs))
    assert config.name == "ensemble (mlp, linear)"


def test_a_saved_one_is_built_again_without_its_members_files(
    saved: tuple[EnsembleModel, list[nn.Module]], tmp_path: Path
) -> None:
    config, _ = saved
    built = config.build(SHAPE, CLASSES).eval()
    save_student(tmp_path / "teacher", built, config=config, shape=SHAPE, classes=CLASSES)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    inputs = torch.randn(5, *SHAPE)
    assert torch.equal(load_student(tmp_path / "teacher")(inputs), built(inputs))


def test_what_is_wrong_with_each_member_is_said_at_once(
    saved: tuple[EnsembleModel, list[nn.Module]], tmp_path: Path
) -> None:
    config, _ = saved
    good = config.members[0]
    swapped = Member(model=Linear(), weights=good.weights)
    missing = Member(model=Linear(), weights=tmp_path / "9.safetensors")
    with pytest.raises(ModelError) as caught:
        EnsembleModel(members=(swapped, good, missing)).build(SHAPE, CLASSES)
    text = str(caught.value)
    assert "teacher.model.members.0: " in text
    assert "does not fit" in text
    assert "teacher.model.members.2: there is no weights file" in text
    assert "members.1" not in text


def test_a_recipe_comes_back_equal(saved: tuple[EnsembleModel, list[nn.Module]]) -> None:
    config, _ = saved
    recipe = load({**BASE, "teacher": {"model": config.model_dump(mode="json")}})
    assert recipe.teacher.model == config
    assert recipe.teacher.given
    assert load(dump(recipe)) == recipe


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"kind": "ensemble", "members": []}, "teacher.model.members"),
        ({"kind": "ensemble", "members": "abc"}, "teacher.model.members"),
        ({"kind": "ensemble"}, "teacher.model.members"),
        (
            {"kind": "ensemble", "members": [{"model": {"kind": "mlp", "widht": 3}, "weights": "a"}]},
            "teacher.model.members.0.model",
        ),
        (
            {"kind": "ensemble", "members": [{"model": {"kind": "ensemble", "members": []}}]},
            "teacher.model.members.0.model.kind",
        ),
        (
            {
                "kind": "ensemble",
                "combine": "median",
                "members": [{"model": {"kind": "mlp"}, "weights": "a"}],
            },
            "teacher.model.combine",
        ),
    ],
)
def test_a_mistake_has_its_path(model: Any, path: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load({**BASE, "teacher": {"model": model}})
    assert [problem.path for problem in caught.value.problems] == [path]


def test_only_a_teacher_can_be_several_models() -> None:
    several = {"kind": "ensemble", "members": [{"model": {"kind": "mlp"}, "weights": "a"}]}
    with pytest.raises(RecipeError, match=r"student\.model\.kind: must be 'linear'"):
        load({**BASE, "teacher": {"model": several}, "student": {"model": several}})
    assert "EnsembleModel" in json_schema()["$defs"]


def test_what_the_page_shows_is_a_recipe() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    shown = re.search(r"### Several teachers\n.*?```yaml\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    recipe = load({**BASE, **yaml.safe_load(shown[1])})
    assert isinstance(recipe.teacher.model, EnsembleModel)
    assert recipe.teacher.model.temperature == 4
