"""What a finished run leaves: a folder that explains itself, a teacher that did not change, a student that serves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import limbeck as lb
from limbeck.data import load
from limbeck.errors import DataError, UserError
from limbeck.export import open_onnx
from limbeck.models import load_student
from limbeck.pipeline.run import Run, events
from limbeck.recipe import load as load_recipe

STAGES = ["check", "plan", "teacher", "label", "baseline", "distil", "evaluate", "export", "report"]
ARMS = ("no-teacher", "pseudo-labels", "student", "supervised")


@pytest.fixture
def run(finished: object) -> Run:
    return lb.load(finished.out)  # type: ignore[attr-defined]


@pytest.fixture
def images(run: Run) -> np.ndarray:
    recipe = load_recipe(run.folder.recipe)
    test = load(recipe.data, recipe.preprocessing).test
    return test.raw(torch.arange(len(test))).numpy()


def test_every_stage_is_done_and_says_how_long_it_took(run: Run) -> None:
    stages = run.folder.stages()
    assert list(stages) == STAGES
    assert {stage["state"] for stage in stages.values()} == {"done"}
    assert all(stage["seconds"] >= 0 for stage in stages.values())


def test_every_arm_has_every_seed_and_no_checkpoint_is_left(run: Run) -> None:
    trained = {folder.name for folder in run.folder.checkpoints.iterdir()}
    assert trained == {"teacher.choice0.seed0"} | {
        f"{arm}.choice0.seed{seed}" for arm in ARMS for seed in (0, 1)
    }
    for folder in run.folder.checkpoints.iterdir():
        assert {file.name for file in folder.iterdir()} == {"result.json", "weights.safetensors"}


def test_the_log_has_a_line_for_every_last_step(run: Run) -> None:
    lines = run.folder.metrics.read_text().splitlines()
    for job, step in (("teacher.choice0.seed0", 40), *((f"{arm}.choice0.seed1", 24) for arm in ARMS)):
        assert any(f'"{job}", "step": {step}' in line for line in lines)


def test_the_report_agrees_with_the_trainings(run: Run) -> None:
    report = run.report
    assert report.verdict is not None
    assert {control.name for control in report.controls} == {
        "no-teacher", "pseudo-labels", "supervised", "quantised-teacher", "linear",
    }  # fmt: skip
    assert report.teacher.labels == report.data["train"] == 300
    assert report.data["labelled"] == 60
    assert report.data["left_out"] == []
    assert [seed.seed for seed in report.student.seeds] == [0, 1]
    mean = np.mean([seed.metrics["accuracy"] for seed in report.student.seeds])
    assert report.student.metrics["accuracy"] == pytest.approx(mean)
    best = max(report.student.seeds, key=lambda seed: seed.validation)
    assert report.student.shipped_seed == best.seed
    assert report.provenance["rebuildable"] is True


def test_the_shipped_student_is_the_best_seed(run: Run) -> None:
    shipped = load_student(run.folder.student)
    job = f"student.choice0.seed{run.report.student.shipped_seed}"
    kept = load_file(run.folder.checkpoints / job / "weights.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in shipped.state_dict().items())


def test_the_teacher_is_as_it_was_trained_and_no_part_of_the_student(run: Run) -> None:
    teacher = load_student(run.folder.path / "teacher")
    trained = load_file(run.folder.checkpoints / "teacher.choice0.seed0" / "weights.safetensors")
    assert any("running_mean" in name for name in trained)
    assert all(torch.equal(value, trained[name]) for name, value in teacher.state_dict().items())
    student = load_student(run.folder.student)
    teachers = {value.data_ptr() for value in teacher.state_dict().values()}
    assert set(student.state_dict()) == set(load_file(run.folder.student / "model.safetensors"))
    assert sum(value.numel() for value in student.parameters()) == run.report.student.parameters
    assert not teachers & {value.data_ptr() for value in student.state_dict().values()}


def test_predict_takes_arrays_single_images_paths_and_pictures(
    run: Run, images: np.ndarray, tmp_path: Path
) -> None:
    student = run.student
    many = [student.predict(image)[0] for image in images[:3]]
    picture = Image.fromarray(images[0, :, :, 0])
    picture.save(tmp_path / "digit.png")
    assert [one.label for one in student.predict(images[:3])] == [one.label for one in many]
    for raw in (images[0], images[0, :, :, 0], tmp_path / "digit.png", str(tmp_path / "digit.png"), picture):
        [one] = student.predict(raw)
        assert one == many[0]
    both = student.predict([tmp_path / "digit.png", picture])
    assert both[0] == both[1]
    assert both[0].probabilities == pytest.approx(many[0].probabilities, abs=1e-6)
    assert sum(many[0].probabilities.values()) == pytest.approx(1)
    assert many[0].confidence == many[0].probabilities[many[0].label] == max(many[0].probabilities.values())


def test_predict_refuses_what_it_cannot_take(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be uint8"):
        run.student.predict(np.zeros((2, 8, 8, 1), np.float32))
    with pytest.raises(DataError, match="got dict"):
        run.student.predict({"image": 1})
    with pytest.raises(DataError, match=r"nothing\.png"):
        run.student.predict(tmp_path / "nothing.png")
    with pytest.raises(
        DataError, match=r"must be \[samples, 8, 8, 1\], got \[3, 1, 8, 8\]\. Put the channels last"
    ):
        run.student.predict(np.zeros((3, 1, 8, 8), np.uint8))
    with pytest.raises(DataError, match="got NoneType"):
        run.student.predict(None)


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 8, 8, 1), np.uint8), torch.zeros(0, 8, 8, 1)])
def test_no_sample_has_no_answer(run: Run, nothing: object) -> None:
    assert run.student.predict(nothing) == []


def test_an_unfinished_run_says_so(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder.path, tmp_path / "run")
    (tmp_path / "run" / "report.json").unlink()
    shutil.rmtree(tmp_path / "run" / "student")
    begun = lb.load(tmp_path / "run")
    with pytest.raises(UserError, match=r"is not finished: it has no report\.json"):
        _ = begun.report
    with pytest.raises(UserError, match="holds no finished student"):
        begun.predict([])


def test_the_onnx_file_answers_as_predict_does(run: Run, images: np.ndarray) -> None:
    file = open_onnx(run.folder.exports / "model.onnx")
    np.testing.assert_allclose(file(images[:16]), run.student.logits(images[:16]), atol=1e-4)


def test_a_folder_without_a_run_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        lb.load(tmp_path)


def test_events_come_stage_by_stage(recipe: Path, tmp_path: Path, in_turn: None) -> None:
    small = load_recipe(recipe, overrides=("controls=[]", "export.formats=[]", "evaluation.robustness=false"))
    told = list(events(small, tmp_path / "run", until="distil"))
    kinds = [(type(event).__name__, event.stage) for event in told]
    wanted = STAGES[: STAGES.index("distil") + 1]
    assert [stage for kind, stage in kinds if kind == "Started"] == wanted
    assert [stage for kind, stage in kinds if kind == "Ended"] == wanted
    for stage in wanted:
        assert kinds.index(("Started", stage)) < kinds.index(("Ended", stage))
    done = [event.done for event in told if getattr(event, "job", "") == "student.choice0.seed1"]
    assert done == sorted(done)
    assert done[-1] == 24
