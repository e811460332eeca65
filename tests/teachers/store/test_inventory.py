"""Stores can be listed, looked at and removed, whatever state they are in."""

from __future__ import annotations

import pytest
from filelock import FileLock

from limbeck.errors import StoreError
from limbeck.teachers.store import inspect, list_stores, open_store, remove, store_key


def test_the_list_holds_complete_incomplete_and_damaged_stores(
    teacher, other_teacher, pool, preprocessing, key, fill
):
    assert list_stores() == []
    fill(key)
    halves = store_key(teacher, pool, preprocessing)
    damaged = fill(halves).folder.path
    other_teacher.fail_at = 9
    theirs = store_key(other_teacher, pool, preprocessing)
    with pytest.raises(KeyboardInterrupt):
        fill(theirs, teacher=other_teacher)
    (damaged / "manifest.json").write_text("{")
    found = {summary.name: summary for summary in list_stores()}
    assert set(found) == {key.digest, halves.digest, theirs.digest}
    assert (found[key.digest].complete, found[key.digest].held, found[key.digest].problem) == (True, 50, None)
    assert (found[theirs.digest].complete, found[theirs.digest].held) == (False, 24)
    assert "is damaged" in found[halves.digest].problem


def test_a_summary_says_what_is_kept_and_what_it_costs(teacher, pool, preprocessing, key, fill):
    exact, halves = fill(key), fill(store_key(teacher, pool, preprocessing))
    summary = inspect(halves.folder.path)
    assert summary.problem is None
    assert summary.key == halves.key
    assert summary.data == "squares"
    assert 0 < summary.error.largest < 1e-2
    assert inspect(exact.folder.path).error.largest == 0
    assert summary.bytes == sum(file.stat().st_size for file in halves.folder.path.iterdir())
    assert summary.model_dump(mode="json")["records"] == 50


def test_the_list_compares_lengths(key, fill):
    folder = fill(key).folder
    folder.answers.write_bytes(folder.answers.read_bytes()[:-5])
    assert "is truncated" in list_stores()[0].problem


def test_inspecting_compares_checksums(key, fill):
    folder = fill(key).folder
    data = bytearray(folder.answers.read_bytes())
    data[5] ^= 1
    folder.answers.write_bytes(data)
    assert list_stores()[0].problem is None
    assert "corrupt" in inspect(folder.path).problem


def test_removing_frees_the_bytes_and_the_store_is_gone(key, fill):
    path = fill(key).folder.path
    expected = inspect(path).bytes
    assert remove(path) == expected
    assert not path.exists()
    with pytest.raises(StoreError, match="no store yet"):
        open_store(key)


def test_nothing_but_a_store_is_removed(tmp_path):
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(StoreError, match="holds no target store"):
        remove(tmp_path)
    with pytest.raises(StoreError, match="holds no target store"):
        inspect(tmp_path / "nowhere")
    assert (tmp_path / "thesis.txt").exists()


def test_a_store_that_is_being_filled_is_not_removed(key, fill):
    path = fill(key).folder.path
    with FileLock(path.with_name(f".{path.name}.lock")), pytest.raises(StoreError, match="another process"):
        remove(path)
    assert path.exists()
