"""Python objects and a recipe give the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import limbeck as lb
from limbeck.errors import UserError
from limbeck.models import Together, save_student, state_digest
from limbeck.pipeline.objects import identity
from limbeck.pipeline.run import Run
from limbeck.recipe import load

RECIPE = """\
name: objects
data: {{kind: arrays, path: {data}, validation: 100, test: 100, labelled: 50, seed: 3}}
teacher:
  model: {{kind: residual, width: 8, depth: 1, stages: 2}}
  weights: {weights}
student:
  model: {{kind: separable, width: 8, depth: 1, stages: 2, stem_stride: 1}}
method: {{kd: {{temperature: 4}}, ce: {{weight: 0.1}}}}
training:
  steps: 12
  batch_examples: 32
  labelled_share: 0.25
  optimizer: {{kind: adamw, learning_rate: 0.05}}
  evaluate_every_steps: 4
seeds: [0, 1]
controls: [no-teacher]
evaluation: {{bootstrap: 100, robustness: false}}
export: {{formats: []}}
plan: {{}}
"""
STUDENT = lb.Separable(width=8, depth=1, stages=2, stem_stride=1)
TRAINING = lb.Training(
    steps=12,
    batch_examples=32,
    labelled_share=0.25,
    optimizer=lb.AdamW(learning_rate=0.05),
    evaluate_every_steps=4,
)

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def digits() -> Pair:
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:500, :, :, None]
    return images, bunch.target[:500].astype(np.int64)


@pytest.fixture
def teacher() -> nn.Module:
    """Not trained; its BatchNorm has seen something."""
    torch.manual_seed(5)
    module = lb.Residual(width=8, depth=1, stages=2).build((1, 8, 8), 10)
    module.train()(torch.randn(64, 1, 8, 8))
    return module


def distilled(digits: Pair, teacher: Any, student: Any, out: Path, **changes: Any) -> Run:
    settings: dict[str, Any] = {
        "method": lb.KD(temperature=4) + 0.1 * lb.CE(),
        "labelled": 50,
        "training": TRAINING,
        "seeds": (0, 1),
        "controls": ("no-teacher",),
        "evaluation": lb.Evaluation(bootstrap=100, robustness=False),
        "export": lb.Exports(formats=()),
        "plan": lb.Plan(),
        "data_seed": 3,
    }
    bounds = [slice(0, 300), slice(300, 400), slice(400, 500)]
    train, validation, test = ((digits[0][part], digits[1][part]) for part in bounds)
    return lb.distill(
        teacher=teacher,
        student=student,
        train=train,
        validation=validation,
        test=test,
        out=out,
        **settings | changes,
    )


def weights(run: Run) -> dict[str, str]:
    files = run.folder.checkpoints.glob("*/result.json")
    return {file.parent.name: json.loads(file.read_text())["weights"] for file in files}


@pytest.mark.parametrize(
    "student", [STUDENT, lambda: STUDENT.build((1, 8, 8), 10)], ids=["family", "function"]
)
def test_objects_give_the_weights_that_the_command_gives(
    digits: Pair, teacher: nn.Module, student: Any, tmp_path: Path, limbeck: Any, in_turn: None
) -> None:
    bounds = {"train": slice(0, 300), "validation": slice(300, 400), "test": slice(400, 500)}
    for name, part in bounds.items():
        np.savez(tmp_path / f"{name}.npz", inputs=digits[0][part], labels=digits[1][part])
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    text = RECIPE.format(data=tmp_path / "train.npz", weights=tmp_path / "teacher.pt")
    parts = f"validation_path: {tmp_path / 'validation.npz'}, test_path: {tmp_path / 'test.npz'}"
    (tmp_path / "recipe.yaml").write_text(text.replace("validation: 100, test: 100", parts))
    result = limbeck("run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "command"))
    assert result.exit_code == 0, result.stderr

    run = distilled(digits, teacher, student, tmp_path / "objects")
    command = lb.load(tmp_path / "command")
    assert weights(run) == weights(command)
    mine, theirs = (part.report.model_dump() for part in (run, command))
    for name in (
        "student",
        "baseline",
        "verdict",
        "retention",
        "gap",
        "fidelity",
        "calibration",
        "per_class",
    ):
        assert without_seconds(mine[name]) == without_seconds(theirs[name]), name


def without_seconds(value: Any) -> Any:
    """A part of a report without what a clock measured."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in ("seconds", "cpu_seconds")}
        return {key: without_seconds(part) for key, part in kept.items()}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def test_a_run_leaves_the_users_objects_as_they_were(
    digits: Pair, teacher: nn.Module, tmp_path: Path
) -> None:
    student = STUDENT.build((1, 8, 8), 10)
    before = [state_digest(module) for module in (teacher, student)]
    requires = [parameter.requires_grad for parameter in teacher.parameters()]
    teacher.train()
    run = distilled(digits, teacher, student, tmp_path / "run", seeds=(0,))
    assert [state_digest(module) for module in (teacher, student)] == before
    assert [parameter.requires_grad for parameter in teacher.parameters()] == requires
    assert state_digest(run.student.module) != before[1]
    assert set(run.student.module.state_dict()) == set(student.state_dict())


def test_objects_that_live_only_in_python_are_recorded_so(
    digits: Pair, teacher: nn.Module, tmp_path: Path
) -> None:
    run = distilled(digits, teacher, lambda: STUDENT.build((1, 8, 8), 10), tmp_path / "run", seeds=(0,))
    assert run.report.provenance["rebuildable"] is False
    assert load(run.folder.recipe).data.kind == "object"


def test_the_same_call_again_does_nothing(digits: Pair, teacher: nn.Module, tmp_path: Path) -> None:
    first = distilled(digits, teacher, STUDENT, tmp_path / "run", seeds=(0,))
    written = first.folder.report.stat().st_mtime_ns
    again = distilled(digits, teacher, STUDENT, tmp_path / "run", seeds=(0,))
    assert again.folder.report.stat().st_mtime_ns == written


def test_a_teacher_may_be_a_saved_folder(digits: Pair, teacher: nn.Module, tmp_path: Path) -> None:
    config = lb.Residual(width=8, depth=1, stages=2)
    save_student(tmp_path / "teacher", teacher, config=config, shape=(1, 8, 8), classes=10)
    folder = distilled(digits, tmp_path / "teacher", STUDENT, tmp_path / "a", seeds=(0,))
    module = distilled(digits, teacher, STUDENT, tmp_path / "b", seeds=(0,))
    assert weights(folder) == weights(module)


def test_several_teachers_are_one_which_is_asked_once_and_named(
    digits: Pair, teacher: nn.Module, tmp_path: Path
) -> None:
    torch.manual_seed(6)
    other = lb.MLP(width=16).build((1, 8, 8), 10).eval()
    listed = distilled(digits, [teacher, other], STUDENT, tmp_path / "a", seeds=(0,))
    module = Together([teacher, other], temperature=4.0)  # the method's
    assert weights(listed) == weights(distilled(digits, module, STUDENT, tmp_path / "b", seeds=(0,)))
    cooler = Together([teacher, other])
    assert weights(listed) != weights(distilled(digits, cooler, STUDENT, tmp_path / "c", seeds=(0,)))
    assert listed.report.teacher.name == "Together(Network, Network)"
    assert listed.report.teacher.parameters == sum(each.numel() for each in module.parameters())


def test_confident_teachers_read_each_of_several(digits: Pair, teacher: nn.Module, tmp_path: Path) -> None:
    method = lb.ConfidentTeachers() + lb.CE()
    run = distilled(digits, [teacher, teacher], STUDENT, tmp_path / "run", seeds=(0,), method=method)
    assert run.report.student.parameters == sum(each.numel() for each in run.student.module.parameters())


def test_a_folder_without_a_teacher_is_refused(digits: Pair, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing"):
        distilled(digits, tmp_path / "nothing", STUDENT, tmp_path / "run")


def test_a_teacher_with_other_classes_is_refused_before_anything_is_trained(
    digits: Pair, tmp_path: Path
) -> None:
    other = lb.Residual(width=8, depth=1, stages=2).build((1, 8, 8), 7)
    with pytest.raises(UserError, match="7") as raised:
        distilled(digits, other, STUDENT, tmp_path / "run")
    assert "10" in str(raised.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_code_that_a_teacher_only_calls_is_part_of_what_it_is() -> None:
    class Net(nn.Module):
        def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.activation = activation

        def forward(self, inputs: Tensor) -> Tensor:
            return self.activation(self.layer(inputs))

    kinds = {identity(lambda act=act: Net(act), (4,)) for act in (torch.relu, torch.sigmoid)}
    assert len(kinds) == 2
    assert identity(lambda: Net(torch.relu), (4,)) in kinds
