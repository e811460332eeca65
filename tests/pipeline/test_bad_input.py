"""A mistake of the user's is one clear message with its cure, exit code 2, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

Recipe = dict[str, Any]
Refused = Callable[..., str]

MODELS = """\
import torch
from torch import nn


class Unwritable(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(4, classes)

    def forward(self, inputs):
        return self.head(torch.linalg.svdvals(inputs.view(-1, 4, 1)) * 0 + inputs)


def unwritable(classes=3):
    return Unwritable(classes)


def net(classes=3):
    return nn.Linear(4, classes)


def breaks():
    raise RuntimeError("no such weights")
"""


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "inputs": generator.standard_normal((60, 4), np.float32),
        "labels": np.arange(60, dtype=np.int64) % 3,
    }


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe on an array file in the current folder; nothing is wrong with it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad_input_models.py").write_text(MODELS)
    return {
        "data": {"kind": "arrays", "path": "data.npz", "validation": 12, "test": 12},
        "preprocessing": {"kind": "features"},
        "teacher": {"model": {"kind": "mlp", "width": 8, "depth": 1}, "training": {"steps": 2}},
        "student": {"model": {"kind": "linear"}},
        "training": {"steps": 2, "batch_examples": 8},
        "seeds": [0],
        "controls": [],
        "export": {"formats": []},
        "evaluation": {"bootstrap": 100, "robustness": False},
        "plan": {},
    }


@pytest.fixture
def refused(limbeck: Any, tmp_path: Path) -> Refused:
    """Run (or check) a recipe that cannot work; what is said."""

    def said(recipe: Recipe, *, verb: str = "run") -> str:
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        place = ["--out", "out"] if verb == "run" else []
        result = limbeck(verb, "recipe.yaml", *place)
        assert result.exit_code == 2, result.stderr
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "out" / "checkpoints").exists()
        told = [line for line in result.stderr.splitlines() if not line.startswith(("check ...", "  "))]
        text: str = result.stderr if "mistakes" in result.stderr else "\n".join(told)
        return text

    return said


def test_nothing_is_wrong_with_the_plain_recipe(
    limbeck: Any, plain: Recipe, arrays: dict[str, np.ndarray], tmp_path: Path, in_turn: None
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    result = limbeck("run", "recipe.yaml", "--out", "out")
    assert result.exit_code == 0, result.stderr


def test_three_mistakes_in_a_recipe_are_told_at_once(refused: Refused, plain: Recipe) -> None:
    plain["method"] = {"kd": {"temprature": 4}}
    plain["training"]["steps"] = 0
    plain["seeds"] = "all"
    text = refused(plain)
    assert "3 mistakes" in text
    assert text.count("(line ") == 3
    for part in ("method.kd", "'temprature'; did you mean 'temperature'?", "training.steps", "seeds"):
        assert part in text


def nan(arrays: dict[str, np.ndarray]) -> None:
    arrays["inputs"][17, 2] = np.nan


def infinite(arrays: dict[str, np.ndarray]) -> None:
    arrays["inputs"][5, 0] = np.inf


def too_few_labels(arrays: dict[str, np.ndarray]) -> None:
    arrays["labels"] = arrays["labels"][:50]


def empty_class(arrays: dict[str, np.ndarray]) -> None:
    arrays["labels"][arrays["labels"] == 1] = 2


def outside(arrays: dict[str, np.ndarray]) -> None:
    arrays["labels"][3] = -7


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (nan, ["17"]),
        (infinite, ["5"]),
        (too_few_labels, ["50", "60"]),
        (empty_class, ["no training sample belongs to class", "1"]),
        (outside, ["-7"]),
    ],
)
@pytest.mark.parametrize("verb", ["run", "check"])
def test_spoiled_arrays(
    refused: Refused, plain: Recipe, arrays: dict[str, np.ndarray], spoil: Any, wanted: list[str], verb: str
) -> None:
    spoil(arrays)
    np.savez("data.npz", **arrays)
    text = refused(plain, verb=verb)
    assert text.count("\n") == 0
    assert all(part in text for part in wanted), text


def test_validation_data_without_labels(
    refused: Refused, plain: Recipe, arrays: dict[str, np.ndarray]
) -> None:
    np.savez("data.npz", **arrays)
    np.savez("validation.npz", inputs=arrays["inputs"][:9] + 1, labels=np.full(9, -1))
    plain["data"] = {"kind": "arrays", "path": "data.npz", "validation_path": "validation.npz", "test": 12}
    text = refused(plain)
    assert "validation data must have labels" in text
    assert "Label them" in text


def test_a_file_of_data_that_is_not_there(refused: Refused, plain: Recipe) -> None:
    assert "data.npz" in refused(plain)


@pytest.mark.parametrize("verb", ["run", "check"])
def test_a_teacher_with_another_number_of_classes(
    refused: Refused, plain: Recipe, arrays: dict[str, np.ndarray], verb: str
) -> None:
    np.savez("data.npz", **arrays)
    plain["teacher"] = {
        "model": {"kind": "python", "python": "bad_input_models:net", "arguments": {"classes": 5}},
        "pretrained": True,
    }
    text = refused(plain, verb=verb)
    assert "5" in text
    assert "3" in text


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ({"python": "bad_input_models:nett"}, "'net'"),
        ({"python": "bad_input_modles:net"}, "bad_input_modles"),
        ({"python": "bad_input_models:breaks"}, "no such weights"),
        ({"python": "bad_input_models:net", "arguments": {"clases": 3}}, "clases"),
        ({"python": "bad_input_models:net", "weights": "none.safetensors"}, "none.safetensors"),
    ],
)
def test_a_function_that_gives_no_model(
    refused: Refused, plain: Recipe, arrays: dict[str, np.ndarray], model: Recipe, wanted: str
) -> None:
    np.savez("data.npz", **arrays)
    plain["student"] = {"model": {"kind": "python", **model}}
    assert wanted in refused(plain)


def test_an_operator_that_cannot_be_exported(
    refused: Refused, plain: Recipe, arrays: dict[str, np.ndarray]
) -> None:
    np.savez("data.npz", **arrays)
    plain["student"] = {"model": {"kind": "python", "python": "bad_input_models:unwritable"}}
    plain["export"] = {"formats": ["onnx"]}
    text = refused(plain)
    assert "svd" in text
    assert "onnx" in text.lower()


@pytest.fixture
def pictures(plain: Recipe, tmp_path: Path) -> Recipe:
    """Twelve pictures of each of two classes, and one file that is none."""
    generator = np.random.default_rng(0)
    for number in range(24):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    (tmp_path / "pictures" / "a" / "broken.png").write_bytes(b"not a picture")
    data = {"kind": "images", "folder": "pictures", "validation": 4, "test": 4}
    return {**plain, "data": data, "preprocessing": {"kind": "image", "size": [8, 8], "colour": "grey"}}


def test_an_unreadable_picture_is_named(refused: Refused, pictures: Recipe) -> None:
    text = refused(pictures)
    assert "broken.png" in text
    assert "on_bad" in text


def test_an_unreadable_picture_is_skipped_where_that_is_asked_for(
    limbeck: Any, pictures: Recipe, tmp_path: Path
) -> None:
    pictures["data"]["on_bad"] = "skip"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(pictures))
    result = limbeck("check", "recipe.yaml")
    assert result.exit_code == 0, result.stderr
    assert "no readable images, and left out" in result.output
    assert "broken.png" in result.output


def test_a_gpu_that_is_not_there(refused: Refused, plain: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "torch sees no GPU" in refused({**plain, "device": "cuda"})


def test_threads_that_change_while_they_run(
    refused: Refused, plain: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    assert "OMP_DYNAMIC" in refused(plain)


def test_an_unknown_layer_lists_the_nearest(limbeck: Any, plain: Recipe, tmp_path: Path) -> None:
    result = limbeck("layers", "python:bad_input_models:nett", "--shape", "4")
    assert result.exit_code == 2
    assert "'net'" in result.stderr


def test_a_cache_that_cannot_be_written_is_named(
    limbeck: Any,
    plain: Recipe,
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.savez("data.npz", **arrays)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    result = limbeck("run", "recipe.yaml", "--out", "out")
    assert result.exit_code in (2, 3)
    assert str(tmp_path / "file") in result.stderr.splitlines()[-1]
