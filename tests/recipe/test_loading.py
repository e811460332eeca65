"""A recipe is read whole or refused with every mistake, and what is written loads to its equal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from limbeck.errors import RecipeError, UserError
from limbeck.recipe import PRESETS, Recipe, dump, json_schema, load, preset
from limbeck.types import digest

GOOD = """\
data: {kind: digits, labelled: 100}
augmentation: {shift: 1}
teacher:
  model: {kind: residual, width: 8}
student: {model: {kind: mlp}}
method: {kd: {temperature: 4}, ce: }
training:
  optimizer: {kind: sgd, learning_rate: 1e-2}
"""


def mistakes(text: str, *overrides: str) -> dict[str, tuple[int | None, str]]:
    with pytest.raises(RecipeError) as caught:
        load(text, overrides=overrides)
    return {problem.path: (problem.line, problem.message) for problem in caught.value.problems}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads_survives_a_round_trip_and_fits_the_json_schema(name: str) -> None:
    recipe = load(preset(name))
    again = load(dump(recipe))
    assert again == recipe
    assert digest(again) == digest(recipe)
    jsonschema.validate(yaml.safe_load(dump(recipe)), json_schema())


@pytest.mark.parametrize(
    "method", ["kd", "{kd: {temperature: 3}, ce: {weight: 0.1}}", "[{kd: }, kd, {ce: }]"]
)
def test_every_form_of_a_method_survives_a_round_trip(method: str) -> None:
    recipe = load(GOOD, overrides=[f"method={method}"])
    assert digest(load(dump(recipe))) == digest(recipe)


def test_a_method_that_stands_once_is_written_as_a_map() -> None:
    written = yaml.safe_load(dump(load(GOOD)))["method"]
    assert written["kd"]["temperature"] == 4
    assert set(written) == {"kd", "ce"}


@pytest.mark.parametrize(
    "override",
    ["name=b", "seeds=[1]", "method.kd.temperature=3", "training.steps=9", "data.seed=1",
     "teacher.keep=float32", "export.formats=[onnx]", "controls=[]", "gate.retention=0.9",
     "student.model.width=8", "view_seed=1"],
)  # fmt: skip
def test_changing_any_field_changes_the_digest(override: str) -> None:
    assert digest(load(GOOD, overrides=[override])) != digest(load(GOOD))


def test_all_mistakes_are_reported_at_once_with_path_line_and_nearest_name() -> None:
    found = mistakes("""\
data: {kind: digts}
teacher:
  model: {kind: residual, width: 0, depht: 3}
  training:
    steps: many
    optimizer: {kind: sgd, learning_rate: -1e-3}
  view: both
student: {model: residual}
method:
  kd: {temprature: 4}
  cee: {}
controls: [no-teachr]
colour: red
""")
    assert found == {
        "data.kind": (1, found["data.kind"][1]),
        "teacher.model.width": (3, "must be greater than 0, got 0"),
        "teacher.model": (3, "has no field 'depht'; did you mean 'depth'?"),
        "teacher.training.steps": (5, "must be a whole number, got 'many'"),
        "teacher.training.optimizer.learning_rate": (6, "must be greater than 0, got -0.001"),
        "teacher.view": (
            7,
            "must be 'clean', 'same', {views: K} for K fixed views, or "
            "{epochs: E} for one an epoch, got 'both'",
        ),
        "student.model": (8, found["student.model"][1]),
        "method.kd": (10, "has no field 'temprature'; did you mean 'temperature'?"),
        "method.cee": (11, found["method.cee"][1]),
        "controls.0": (12, found["controls.0"][1]),
        "recipe": (13, found["recipe"][1]),
    }
    assert found["data.kind"][1].endswith("got 'digts'. Did you mean 'digits'?")
    assert "'separable' or 'vit'), got 'residual'" in found["student.model"][1]
    assert "Did you mean 'no-teacher'?" in found["controls.0"][1]
    assert "has no field 'colour'" in found["recipe"][1]


def test_what_is_missing_is_named_with_what_belongs_there() -> None:
    found = mistakes("data: {labelled: 10}\nteacher: {}\n")
    assert found["data.kind"] == (1, found["data.kind"][1])
    assert "'arrays', 'digits', 'fashion-mnist'" in found["data.kind"][1]
    assert found["teacher.model"] == (2, "is missing: what the teacher is")
    assert found["student"][1].startswith("is missing")


def test_a_value_from_set_is_named_as_such_and_has_no_line() -> None:
    found = mistakes(GOOD, "training.steps=0", "trainig.steps=3")
    assert found["training.steps"] == (None, "must be greater than 0, got 0 (given by --set)")
    assert found["recipe"] == (None, "has no field 'trainig'; did you mean 'training'? (given by --set)")


def test_the_message_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD.replace("shift", "shfit"))
    with pytest.raises(RecipeError, match=r"mine\.yaml has 1 mistake:\n  augmentation \(line 2\): .*'shift'"):
        load(file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_the_users_mistake(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "absent.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"absent\.yaml"):
        load(tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["- 1\n", "\n", "just text\n"])
def test_what_is_not_a_map_is_refused(text: str) -> None:
    assert "must be a map with data" in mistakes(text)["recipe"][1]


def test_loading_imports_nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = load(GOOD, overrides=["teacher.model={python: 'my_models:teacher'}"])
    assert recipe.teacher.model.kind == "python"
    assert "my_models" not in sys.modules


@pytest.mark.parametrize(
    ("change", "given"),
    [("x=1", False), ("weights=a.pt", True), ("pretrained=true", True), ("model.weights=a.pt", True)],
)
def test_a_teacher_is_given_where_its_weights_are(change: str, given: bool) -> None:
    overrides = ["teacher.model={python: 'a:b'}"] + ([] if change == "x=1" else [f"teacher.{change}"])
    assert load(GOOD, overrides=overrides).teacher.given is given


def test_plain_data_loads_as_text_does() -> None:
    plain: dict[str, Any] = yaml.safe_load(GOOD)
    plain["training"]["optimizer"]["learning_rate"] = 0.01  # text for YAML 1.1
    assert load(plain) == load(GOOD)
    assert isinstance(load(plain), Recipe)
