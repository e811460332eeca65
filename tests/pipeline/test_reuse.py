"""Nothing is done twice: in the same folder, in another one, or after a change of something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from limbeck.pipeline import students, teacher
from limbeck.pipeline.fit import fit
from limbeck.pipeline.stages import STAGES

NAMES = [stage.name for stage in STAGES if stage.name != "assistants"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trainings that were begun, in order."""
    names: list[str] = []

    def counted(context: Any, name: str) -> Any:
        names.append(name)
        return fit(context, name)

    monkeypatch.setattr(students, "fit", counted)
    monkeypatch.setattr(teacher, "fit", counted)
    return names


def run(limbeck: Any, place: Any, *changes: str) -> tuple[list[str], Result]:
    """Run the recipe of a place again; which stages were found finished, and what was said."""
    given = [part for change in changes for part in ("--set", change)]
    result = limbeck("run", str(place.recipe), "--out", str(place.out), *given)
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    return [line.split()[0] for line in lines if line.endswith("found finished")], result


def test_the_same_command_again_does_nothing(limbeck: Any, again: Any, asked: Sequence[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in again.out.rglob("*") if file.name != ".lock"}
    reused, _ = run(limbeck, again)
    assert reused == NAMES
    assert not asked
    assert {file: file.stat().st_mtime_ns for file in again.out.rglob("*") if file.name != ".lock"} == before


def test_another_seed_trains_only_that_seed(limbeck: Any, again: Any, asked: Sequence[str]) -> None:
    before = again.weights()
    reused, _ = run(limbeck, again, "seeds=[0, 1, 2]")
    assert asked == ["no-teacher.choice0.seed2", "student.choice0.seed2"]
    assert {"plan", "teacher", "label"} <= set(reused)
    after = again.weights()
    assert {name: after[name] for name in before if name != "shipped"}.items() <= before.items()
    assert [seed["seed"] for seed in again.read("report.json")["student"]["seeds"]] == [0, 1, 2]


def test_another_method_keeps_teacher_answers_and_controls(
    limbeck: Any, again: Any, asked: Sequence[str]
) -> None:
    before = again.weights()
    reused, _ = run(limbeck, again, "method={kd: {temperature: 2}}")
    assert asked == ["student.choice0.seed0", "student.choice0.seed1"]
    assert set(reused) == {"plan", "teacher", "label"}
    changed = {name for name, weights in again.weights().items() if weights != before[name]}
    assert changed == {"student.choice0.seed0", "student.choice0.seed1", "shipped"}
    assert again.read("report.json")["method"] == [{"kd": {"weight": 1.0, "temperature": 2.0}}]


def test_another_margin_only_writes_the_report_anew(limbeck: Any, again: Any, asked: Sequence[str]) -> None:
    reused, _ = run(limbeck, again, "evaluation.margin=0.5")
    assert not asked
    assert set(NAMES) - set(reused) == {"check", "report"}
    assert again.read("report.json")["verdict"]["margin"] == 0.5


def test_another_folder_takes_everything_from_the_cache(
    limbeck: Any, again: Any, quick: Any, asked: Sequence[str]
) -> None:
    shutil.rmtree(again.out)
    _, result = run(limbeck, again)
    assert result.stderr.count("found finished in the cache") == 1 + 2 * 2
    assert "(found in the cache)" in result.stderr
    assert again.weights() == quick.weights()
    assert comparable(again.read("report.json")) == comparable(quick.read("report.json"))


def test_a_removed_training_is_taken_from_the_cache(limbeck: Any, again: Any) -> None:
    before = again.weights()
    shutil.rmtree(again.out / "checkpoints" / "student.choice0.seed1")
    shutil.rmtree(again.out / "student")
    run(limbeck, again)
    assert again.weights() == before


def test_a_removed_store_is_asked_for_again(limbeck: Any, again: Any, asked: Sequence[str]) -> None:
    shutil.rmtree(again.cache / "targets")
    reused, result = run(limbeck, again, "seeds=[0, 1, 2]")
    assert "label" not in reused
    assert "300 samples (300 asked)" in result.stderr
    assert asked == ["no-teacher.choice0.seed2", "student.choice0.seed2"]


def test_a_damaged_store_is_mended_by_the_same_command(
    limbeck: Any, again: Any, asked: Sequence[str]
) -> None:
    [answers] = again.cache.glob("targets/*/answers.bin")
    whole = answers.read_bytes()
    answers.write_bytes(whole[:100] + bytes([whole[100] ^ 255]) + whole[101:])
    run(limbeck, again, "seeds=[0, 1, 2]")
    assert answers.read_bytes() == whole
    assert asked == ["no-teacher.choice0.seed2", "student.choice0.seed2"]


def test_asking_for_the_answers_alone_mends_them_though_all_is_trained(limbeck: Any, again: Any) -> None:
    [answers] = again.cache.glob("targets/*/answers.bin")
    whole = answers.read_bytes()
    answers.write_bytes(whole[:100] + bytes([whole[100] ^ 255]) + whole[101:])
    done = limbeck("label", str(again.recipe), "--out", str(again.out))
    assert done.exit_code == 0, done.stderr
    assert answers.read_bytes() == whole


LEFT = {
    "check.json": "check",
    "plan.json": "plan",
    "teacher.json": "teacher",
    "teacher/model.safetensors": "teacher",
    "targets.json": "label",
    "student/model.safetensors": "distil",
    "student/preprocessing.json": "distil",
    "evaluation/logits.npz": "evaluate",
    "evaluation/facts.json": "evaluate",
    "exports.json": "export",
    "report.json": "report",
    "report.html": "report",
    "MODEL_CARD.md": "report",
    "provenance.json": "report",
}


@pytest.mark.parametrize("name", LEFT)
def test_a_stage_whose_file_is_gone_runs_again(limbeck: Any, again: Any, name: str) -> None:
    before = again.weights()
    (again.out / name).unlink()
    reused, _ = run(limbeck, again)
    assert LEFT[name] not in reused
    assert (again.out / name).exists()
    assert again.weights() == before


def test_answers_that_nobody_needs_any_more_may_be_removed(limbeck: Any, again: Any) -> None:
    shutil.rmtree(again.cache)
    reused, _ = run(limbeck, again)
    assert reused == NAMES


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what a clock measured."""
    text = json.dumps({name: part for name, part in report.items() if name not in ("seconds", "advice")})
    kept: dict[str, Any] = json.loads(text)
    kept["teacher"].pop("ms_per_example")
    return kept


def test_comparable_reports_keep_what_matters(quick: Any) -> None:
    assert {"student", "verdict", "retention", "gap"} <= set(comparable(quick.read("report.json")))


def test_a_run_is_the_same_with_one_worker_and_with_two(finished: Any, quick: Any) -> None:
    two, one = finished.weights(), quick.weights()
    assert {name: two[name] for name in one} == one


def test_path_of_a_recipe_is_of_no_matter(limbeck: Any, again: Any, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.yaml"
    shutil.copy(again.recipe, moved)
    result = limbeck("run", str(moved), "--out", str(again.out))
    assert result.stderr.count("found finished") == len(NAMES)
