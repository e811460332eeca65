"""Several given teachers in a recipe: one run, the same as with the modules passed from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import limbeck as lb
from limbeck.models import Together, load_student
from limbeck.pipeline.check import findings
from limbeck.pipeline.preview import preview
from limbeck.recipe import load

QUICK = (
    "training.steps=3",
    "seeds=[0]",
    "controls=[no-teacher]",
    "export.formats=[]",
    "evaluation.robustness=false",
)


@pytest.fixture
def members(tmp_path: Path) -> tuple[str, list[nn.Module]]:
    """What a recipe says of two models, and the models."""
    torch.manual_seed(0)
    configs = (lb.Residual(width=8, depth=1, stages=2), lb.MLP(width=16, depth=1))
    modules = [config.build((1, 8, 8), 10).eval() for config in configs]
    for module, name in zip(modules, "ab", strict=True):
        save_file(module.state_dict(), tmp_path / f"{name}.safetensors")
    written = (
        f"[{{model: {{kind: residual, width: 8, depth: 1, stages: 2}}, weights: {tmp_path}/a.safetensors}}, "
        f"{{model: {{kind: mlp, width: 16, depth: 1}}, weights: {tmp_path}/b.safetensors}}]"
    )
    return written, modules


def given(written: str, temperature: int = 4) -> str:
    return f"teacher={{model: {{kind: ensemble, temperature: {temperature}, members: {written}}}}}"


def test_they_are_measured_asked_and_reported_as_one(
    recipe: Path, tmp_path: Path, members: tuple[str, list[nn.Module]], in_turn: None
) -> None:
    written, modules = members
    run = lb.run(load(recipe, overrides=(given(written), *QUICK)), out=tmp_path / "run")
    assert run.report.teacher.name == "ensemble (residual, mlp)"
    assert run.report.teacher.parameters == sum(
        weight.numel() for module in modules for weight in module.parameters()
    )
    inputs = torch.randn(4, 1, 8, 8)
    again = load_student(tmp_path / "run" / "teacher")
    with torch.no_grad():
        assert torch.equal(again(inputs), Together(modules, temperature=4.0).eval()(inputs))


def test_the_check_says_how_they_answer(recipe: Path, members: tuple[str, list[nn.Module]]) -> None:
    def said(*overrides: str) -> list[Any]:
        found = findings(preview(load(recipe, overrides=(*overrides, "export.formats=[]"))))
        return [finding for finding in found if "answer as one" in finding.text]

    [same] = said(given(members[0]))
    assert (same.level, same.text) == ("ok", "2 models answer as one, by mean-probability")
    [other] = said(given(members[0], temperature=1))
    assert other.level == "warning"
    assert "at temperature 1, and the method compares at 4" in other.text
    confident = said(given(members[0]), "method={confident-teachers: {temperature: 4}, ce: {}}")
    assert [finding.level for finding in confident] == ["ok"]
