"""The check says what it looked at, and warns in so many words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from limbeck.pipeline.check import findings
from limbeck.pipeline.preview import preview
from limbeck.recipe import load

QUICK = ("export.formats=[]",)


def found(recipe: Path, *overrides: str) -> dict[str, list[str]]:
    """What the check says, by subject."""
    said: dict[str, list[str]] = {}
    for finding in findings(preview(load(recipe, overrides=(*QUICK, *overrides)))):
        said.setdefault(finding.subject, []).append(f"{finding.level}: {finding.text}")
    return said


def test_everything_is_looked_at(recipe: Path) -> None:
    said = found(recipe)
    assert list(said) == [
        "data", "contamination", "validation", "teacher", "student", "shapes", "gradient", "cost",
    ]  # fmt: skip
    assert (
        "300 to train on (60 with a label the student may see), 200 to choose by, 200 to measure on"
        in said["data"][0]
    )
    assert "all inputs finite" in said["data"][0]
    assert said["validation"][0].startswith("warning: 200 validation examples cannot tell apart")
    assert "to be trained on 300 labels" in said["teacher"][0]
    assert "times fewer than the teacher" in said["student"][0]
    assert (
        "inputs [64, 1, 8, 8], logits [64, 10] on both sides, 16 of 64 labelled in a batch"
        in said["shapes"][0]
    )
    assert "kd" in said["gradient"][0]
    assert "ce" in said["gradient"][0]
    assert "cosine of each two terms (1 the same way, -1 against): kd and ce " in said["gradient"][1]
    assert "9 trainings" in said["cost"][0]


@pytest.mark.parametrize(("slope", "all_count"), [(0.0, True), (20.0, False)])
def test_how_many_samples_count_under_importance_weights(recipe: Path, slope: float, all_count: bool) -> None:
    slopes = [slope, -slope, *[0.0] * 8]
    method = f"method={{importance: {{of: {{kd: {{}}}}, coefficients: {slopes}, largest: 1.0e+9}}, ce: {{}}}}"
    [text] = found(recipe, method)["samples"]
    assert "importance: the 192 samples of a few batches count as " in text
    assert ("count as 192 equally weighted ones" in text) == all_count
    assert text.endswith("(with a teacher that is not trained yet)")


def test_a_term_that_moves_nothing_is_warned_of(recipe: Path) -> None:
    said = found(recipe, "method={kd: {weight: 0}, ce: {}}")["gradient"]
    assert "kd 0%, ce 100%" in said[0]
    assert said[1].startswith(
        "warning: kd moves no weight of the student: what it compares is alike whatever"
    )
    assert not any(text.startswith("warning") for text in found(recipe)["gradient"])


def test_nothing_is_written(recipe: Path, tmp_path: Path, cache: Path) -> None:
    before = set(tmp_path.rglob("*"))
    found(recipe)
    assert set(tmp_path.rglob("*")) == before
    assert not list(cache.rglob("*"))


def test_samples_that_stand_in_two_splits_are_named(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs, labels = generator.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "train.npz", inputs=inputs, labels=labels)
    np.savez(tmp_path / "test.npz", inputs=inputs[[7, 8, 20]], labels=labels[[7, 8, 20]])
    file = tmp_path / "recipe.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "data": {
                    "kind": "arrays",
                    "path": str(tmp_path / "train.npz"),
                    "test_path": str(tmp_path / "test.npz"),
                    "validation": 6,
                },
                "teacher": {"model": {"kind": "mlp", "width": 8, "depth": 1}},
                "student": {"model": {"kind": "linear"}},
                "training": {"batch_examples": 8},
            }
        )
    )
    [text] = found(file)["contamination"]
    assert text.startswith("warning: exact duplicates")
    assert "of test stand in training" in text
    assert "Remove them from training" in text


@pytest.fixture
def labels_swapped(finished: Any) -> tuple[str, ...]:
    """Overrides that give a trained teacher as it is."""
    return (
        "teacher.model={kind: residual, width: 8, depth: 1, stages: 2}",
        f"teacher.weights={finished.out / 'teacher' / 'model.safetensors'}",
    )


def test_a_given_teacher_is_measured_in_this_very_pipeline(
    recipe: Path, finished: Any, labels_swapped: tuple[str, ...]
) -> None:
    [text] = found(recipe, *labels_swapped)["teacher"]
    accuracy = finished.read("teacher.json")["validation"]
    assert f"{accuracy:.4f} accuracy on validation data" in text


def test_a_weak_teacher_is_called_weak(recipe: Path, labels_swapped: tuple[str, ...]) -> None:
    """The same teacher is no better than a majority vote on inputs that it was not trained for."""
    said = found(recipe, *labels_swapped, "preprocessing={kind: image, mean: [40.0], std: [0.05]}")["teacher"]
    assert said[1].startswith("warning: The teacher is weak: ")
    assert "always answering the commonest class" in said[1]


def test_the_command_prints_findings_as_json(limbeck: Any, recipe: Path) -> None:
    result = limbeck("check", str(recipe), "--set", QUICK[0], "--json")
    assert result.exit_code == 0
    subjects = [finding["subject"] for finding in json.loads(result.stdout)]
    assert subjects[0] == "data"
    assert subjects[-1] == "cost"
    plain = limbeck("check", str(recipe), "--set", QUICK[0]).stdout.splitlines()
    assert [line.split(":")[0].split()[-1] for line in plain] == subjects


def test_a_teacher_that_answers_with_probabilities_is_warned_of(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sure.py").write_text(
        "from torch import nn\n"
        "def logits(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "def chances(): return nn.Sequential(logits(), nn.Softmax(1))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, warned in (("logits", False), ("chances", True)):
        given = "teacher={model: {python: 'sure:" + name + "'}, pretrained: true}"
        assert any("Take the softmax away" in text for text in found(recipe, given)["teacher"]) == warned


def test_files_that_are_left_out_are_counted_and_named(recipe: Path, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(30):
            picture = Image.fromarray(draws.integers(0, 255, (8, 8), dtype=np.uint8))
            picture.save(tmp_path / "pets" / name / f"{number:02}.png")
    for number in range(6):
        (tmp_path / "pets/cat" / f"bad{number}.png").write_bytes(b"no image")
    data = f"data={{kind: images, folder: {tmp_path}/pets, on_bad: skip, validation: 10, test: 10}}"
    said = found(recipe, data, "training.labelled_share=null", "seeds=[0]")
    assert said["data"][1].startswith("warning: no readable images, and left out: cat/bad0.png, cat/bad1.png")
    assert said["data"][1].endswith("cat/bad4.png, … (6 in all)")
