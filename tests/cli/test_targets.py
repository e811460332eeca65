"""Stores are listed, inspected, verified and removed by name, and damage is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from limbeck.cli.main import build
from limbeck.data import Arrays, Preprocessing
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import label, list_stores, store_key


def targets(*arguments: str, keys: str = "") -> Result:
    return CliRunner().invoke(build("targets"), ["targets", *arguments], input=keys)


@pytest.fixture
def store() -> Path:
    inputs = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    source = Arrays(inputs, torch.arange(30) % 3, classes=("a", "b", "c"))
    preprocessing = Preprocessing(kind="features").fitted(source)
    teacher = LiveTeacher(nn.Linear(4, 3), classes=3, shape=(4,))
    for _ in label(
        teacher, source, preprocessing, store_key(teacher, source, preprocessing), batch_examples=10
    ):
        pass
    (summary,) = list_stores()
    return summary.path


def test_an_empty_cache_is_said_so() -> None:
    assert "No store" in targets("list").stdout
    assert json.loads(targets("list", "--json").stdout) == []


def test_a_store_is_listed_inspected_and_verified_by_the_start_of_its_name(store: Path) -> None:
    assert store.name in targets("list").stdout
    shown = json.loads(targets("inspect", store.name[:6], "--json").stdout)
    assert (shown["held"], shown["complete"]) == (30, True)
    plain = targets("inspect", store.name).stdout
    assert shown["teacher"] == "Linear"
    assert all(part in plain for part in ("Linear", shown["data"], shown["key"]["teacher"]))
    assert "checksum is right" in targets("verify", store.name).stdout


def test_a_store_is_found_by_its_folder_too(store: Path) -> None:
    assert store.name in targets("inspect", str(store)).stdout


def test_a_store_of_an_older_format_is_listed_as_such(store: Path) -> None:
    file = store / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    assert targets("list").stdout.rstrip().endswith("format 2")
    assert "limbeck targets remove" in str(json.loads(targets("list", "--json").stdout)[0]["problem"])


def test_damage_is_the_exit_code_of_verify_and_inspect(store: Path) -> None:
    answers = store / "answers.bin"
    answers.write_bytes(answers.read_bytes()[:-2])
    for verb in ("verify", "inspect"):
        found = targets(verb, store.name)
        assert found.exit_code == 2
        assert store.name in found.stderr


def test_remove_asks_first(store: Path) -> None:
    assert "Nothing is deleted" in targets("remove", store.name, keys="n\n").stdout
    unanswered = targets("remove", store.name, keys="")
    assert unanswered.exit_code == 2
    assert "add --yes" in unanswered.stderr
    assert store.exists()
    assert targets("remove", store.name, "--yes").exit_code == 0
    assert not store.exists()


def test_an_unknown_store_or_run_is_the_users_mistake(store: Path, tmp_path: Path) -> None:
    assert targets("inspect", "zzz").exit_code == 2
    assert "not a run" in targets("verify", store.name, "--run", str(tmp_path)).stderr


def test_a_store_travels_by_its_name_and_verify_says_so_in_json(store: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/share"
    assert f"1 of 1 shards lie at {url}" in targets("push", store.name[:6], url).stdout
    assert targets("remove", store.name, "--yes").exit_code == 0
    assert "fits 0 stores" in targets("pull", "zzz", url).stderr
    assert "all 1 shards are here" in targets("pull", store.name[:6], url).stdout
    facts = json.loads(targets("verify", store.name, "--json").stdout)
    assert facts == {
        "name": store.name, "held": 30, "records": 30, "checksums": True, "asked_again": None,
    }  # fmt: skip
