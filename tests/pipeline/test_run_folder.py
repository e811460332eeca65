"""A run folder belongs to one run at a time, and never to anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from limbeck.errors import RunError, UserError
from limbeck.pipeline.folder import RunFolder, existing


def test_a_folder_in_use_is_refused(limbeck: Any, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        result = limbeck("run", str(recipe), "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "is in use by another run" in result.stderr


def test_a_folder_with_something_else_is_refused_and_left_alone(
    limbeck: Any, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.png").write_bytes(b"meow")
    result = limbeck("run", str(recipe), "--out", str(folder))
    assert result.exit_code == 2
    assert "is not empty and holds no run" in result.stderr
    assert [file.name for file in folder.iterdir()] == ["cat.png"]


def test_a_file_in_place_of_the_folder_is_the_users_mistake(
    limbeck: Any, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("a file")
    result = limbeck("run", str(recipe), "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "there is a file in its place" in result.stderr


def test_a_mark_adds_to_what_is_known_of_a_stage(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.mark("label", state="running", inputs="abc")
    folder.mark("label", state="done")
    assert folder.stages() == {"label": {"state": "done", "inputs": "abc"}}


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"stages": 3}'])
def test_a_damaged_record_says_what_to_do(tmp_path: Path, content: str) -> None:
    folder = RunFolder(tmp_path)
    folder.record.write_text(content)
    with pytest.raises(RunError, match="Remove it"):
        folder.stages()


def test_a_run_without_its_record_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        existing(tmp_path)


def test_a_damaged_record_can_be_removed_and_nothing_is_lost(limbeck: Any, again: Any) -> None:
    """The cure that the message names works."""
    before = again.weights()
    (again.out / "run.json").write_text("{")
    command = ("run", str(again.recipe), "--out", str(again.out))
    broken = limbeck(*command)
    assert broken.exit_code == 3
    assert "Remove it" in broken.stderr
    (again.out / "run.json").unlink()
    result = limbeck(*command)
    assert result.exit_code == 0, result.stderr
    assert again.weights() == before
