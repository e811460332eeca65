"""Parts of a recipe that contradict each other are refused, where they are best put right."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from limbeck.errors import RecipeError
from limbeck.recipe import Recipe, load

BASE = """\
data: {kind: digits, labelled: 100}
augmentation: {shift: 1}
teacher: {model: {kind: mlp}}
student: {model: {kind: linear}}
training: {steps: 10, labelled_share: 0.5}
"""

CONFLICTS = {
    "seeds": ["seeds=[1, 1]"],
    "controls": ["controls=[linear, linear]"],
    "tuning": ["tuning=[{}, {}]"],
    "training.schedule.warmup_steps": ["training.schedule={kind: cosine, warmup_steps: 10}"],
    "teacher.training.schedule.warmup_steps": [
        "teacher.training={steps: 5, schedule: {kind: cosine, warmup_steps: 5}}"
    ],
    "training.accumulation": ["training.batch_examples=4", "training.accumulation=5"],
    "training.labelled_share": ["data.labelled=all"],
    "teacher.training.labelled_share": ["teacher.training.labelled_share=0.5"],
    "method": ["method=ce"],
    "teacher.pretrained": ["teacher.pretrained=true"],
    "teacher.folds": ["teacher={model: {kind: mlp}, folds: 3, weights: x.safetensors}"],
    "augmentation": ["preprocessing.kind=features"],
    "teacher.view": ["teacher.view={views: 2}", "augmentation.shift=0"],
    "assistants.0.training.schedule.warmup_steps": [
        "assistants=[{model: {kind: linear}, training: {steps: 5, schedule: {kind: cosine, warmup_steps: 5}}}]"
    ],
    "assistants.0.training.labelled_share": [
        "assistants=[{model: {kind: linear}, training: {labelled_share: 0}}]"
    ],
    "teacher.weights": [
        "teacher={weights: x.pt, model: {kind: ensemble, members: [{model: {kind: mlp}, weights: a.pt}]}}"
    ],
    "teacher.model.members.1.weights": [
        "teacher.model={kind: ensemble, members: [{model: {kind: mlp}, weights: a.pt}, {model: {kind: linear}}]}"
    ],
    "teacher.model.members.0.pretrained": [
        "teacher.model={kind: ensemble, members: [{model: {kind: mlp}, pretrained: true}]}"
    ],
    "teacher.model.members.0.model": [
        "teacher.model={kind: ensemble, members: [{model: {kind: object, name: Net, digest: a}, weights: a.pt}]}"
    ],
    "assistants.1.method": ["assistants=[{model: {kind: linear}}, {model: {kind: linear}, method: ce}]"],
}


@pytest.mark.parametrize("path", CONFLICTS)
def test_a_contradiction_is_reported_at_its_path(path: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(BASE, overrides=CONFLICTS[path])
    assert [problem.path for problem in caught.value.problems] == [path]


def test_folds_have_no_one_teacher_to_read_inside() -> None:
    with pytest.raises(RecipeError, match=r"teacher\.folds.*reads inside the teacher"):
        load(BASE, overrides=["teacher.folds=3", "method={hint: {}}"])
    with pytest.raises(RecipeError, match=r"teacher\.folds.*teacher\.keep_taps"):
        load(BASE, overrides=["teacher.folds=3", "teacher.keep_taps={places: [penultimate]}"])
    assert load(BASE, overrides=["teacher.folds=3"]).teacher.folds == 3


def test_without_contradictions_it_loads() -> None:
    assert load(BASE).training.labelled_share == 0.5


def test_several_contradictions_are_reported_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        load(BASE, overrides=["seeds=[1, 1]", "method=ce", "teacher.pretrained=true"])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "overrides",
    [
        ["data={kind: images, folder: a, unlabelled_folder: b}"],
        ["data={kind: arrays, path: a.npz}"],
        ["training.labelled_share=0", "method=kd"],
        ["teacher.weights=a.pt", "teacher.training={steps: 5, schedule: {kind: cosine, warmup_steps: 5}}"],
    ],
)
def test_what_may_make_sense_is_accepted(overrides: list[str]) -> None:
    load(BASE, overrides=overrides)


def test_a_recipe_built_in_python_is_checked_alike() -> None:
    good = load(BASE).model_dump(mode="json")
    with pytest.raises(ValidationError, match="seeds must not repeat"):
        Recipe.model_validate({**good, "seeds": [1, 1]})


def test_the_direct_control_is_for_runs_with_assistants() -> None:
    with pytest.raises(RecipeError, match="without assistants") as caught:
        load(BASE, overrides=["controls=[direct]"])
    assert [problem.path for problem in caught.value.problems] == ["controls"]
    load(BASE, overrides=["controls=[direct]", "assistants=[{model: {kind: mlp}}, {model: {kind: mlp}}]"])
