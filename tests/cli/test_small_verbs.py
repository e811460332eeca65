"""The verbs that need no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from limbeck.cli.main import build
from limbeck.methods import METHODS
from limbeck.recipe import PRESETS, json_schema, load


def limbeck(*arguments: str) -> Result:
    return CliRunner().invoke(build(arguments[0]), list(arguments))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_new_writes_a_recipe_that_loads_and_never_overwrites_one(tmp_path: Path) -> None:
    assert limbeck("new", "digits").exit_code == 0
    written = (tmp_path / "digits.yaml").read_text()
    assert load(written).name == "digits"
    again = limbeck("new", "arrays", "--out", "digits.yaml")
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert (tmp_path / "digits.yaml").read_text() == written


def test_new_without_a_name_lists_them_all() -> None:
    assert all(name in limbeck("new").stdout for name in PRESETS)


def test_schema_prints_the_json_schema() -> None:
    assert json.loads(limbeck("schema").stdout) == json_schema()


def test_methods_lists_the_whole_table() -> None:
    listed = json.loads(limbeck("methods", "--json").stdout)
    assert [entry["name"] for entry in listed] == list(METHODS)
    assert all(set(entry) >= {"family", "summary", "reads", "defaults", "paper"} for entry in listed)
    assert all(name in limbeck("methods").stdout for name in METHODS)


def test_methods_describes_one() -> None:
    text = limbeck("methods", "decoupled-kd").stdout
    assert "lb.DecoupledKD" in text
    assert "KL(" in text
    assert "non_target_weight" in text
    assert "When it helps" in text
    assert json.loads(limbeck("methods", "kd", "--json").stdout)["name"] == "kd"


def test_methods_names_the_nearest() -> None:
    refused = limbeck("methods", "decoupled-kt")
    assert refused.exit_code == 2
    assert "'decoupled-kd'" in refused.stderr


def test_layers_of_a_recipe_are_those_of_the_model_asked_for() -> None:
    limbeck("new", "digits")
    student, teacher = (
        json.loads(limbeck("layers", "digits.yaml", role, "--json").stdout) for role in ("student", "teacher")
    )
    assert student[-1]["name"] == teacher[-1]["name"] == "head"
    assert sum(layer["parameters"] for layer in teacher) > sum(layer["parameters"] for layer in student)


def test_layers_of_a_function_need_a_shape_and_its_arguments() -> None:
    model = "python:limbeck.models.linear:Linear.build"
    assert "--shape is missing" in limbeck("layers", model).stderr
    assert "--shape must be" in limbeck("layers", model, "--shape", "3,x").stderr
    assert limbeck("layers", model, "--shape", "3").exit_code == 2
    (Path.cwd() / "layers_model.py").write_text(
        "from torch import nn\ndef net(n): return nn.Sequential(nn.Linear(4, n))\n"
    )
    found = limbeck("layers", "python:layers_model:net", "--shape", "4", "--argument", "n=3")
    assert found.exit_code == 0
    assert "Linear" in found.stdout
    assert "3 width" in found.stdout
    assert "penultimate: 0@in" in found.stdout
    assert "is written python:layers_model:net, with --shape" in limbeck("layers", "layers_model:net").stderr


def test_doctor_names_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limbeck("doctor").exit_code == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file" / "cache"))
    found = limbeck("doctor", "--json")
    assert found.exit_code == 2
    assert [check["name"] for check in json.loads(found.stdout) if check["state"] == "problem"] == ["cache"]


def test_doctor_refuses_dynamic_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    assert limbeck("doctor").exit_code == 2
