"""A store that is not whole, or not the one asked for, is refused with the cure."""

from __future__ import annotations

import json
import os

import pytest
import torch

from limbeck.errors import StoreError
from limbeck.teachers.store import Store, list_stores, open_store, reader, store_key
from limbeck.teachers.store import key as key_module
from limbeck.teachers.store.key import FORMAT
from limbeck.types import CLEAN


def _edit(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_truncation_is_detected_with_both_lengths(key, fill):
    file = fill(key).folder.answers
    os.truncate(file, 300)
    with pytest.raises(StoreError, match=r"truncated: answers.bin has 300 bytes, expected 600"):
        open_store(key)


def test_missing_notes_are_told_without_reading_the_answers(key, fill):
    folder = fill(key).folder
    folder.notes_path.write_bytes(b"".join(folder.notes_path.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(
        StoreError, match=r"damaged: notes.jsonl tells of 3 of 5 shards\. Run `limbeck label`"
    ):
        open_store(key)
    assert "3 of 5" in str(list_stores()[0].problem)


@pytest.mark.parametrize("place", [0, 143, 144, 599])
def test_one_flipped_bit_anywhere_is_detected_and_the_shard_named(place, key, fill):
    file = fill(key).folder.answers
    data = bytearray(file.read_bytes())
    data[place] ^= 0x40
    file.write_bytes(data)
    with pytest.raises(StoreError, match=rf"1 of 5 shards .*\(shard {place // 144}\)"):
        open_store(key)


def test_another_teacher_is_told_in_what_the_nearest_store_differs(
    other_teacher, pool, preprocessing, key, fill
):
    with pytest.raises(StoreError, match="There is no store yet"):
        open_store(key)
    fill(key)
    changed = store_key(other_teacher, pool, preprocessing, keep="float32")
    with pytest.raises(StoreError) as caught:
        open_store(changed)
    message = str(caught.value)
    assert f"teacher is {key.teacher} in the store and {changed.teacher} is asked for" in message
    assert "data is" not in message
    assert "limbeck label" in message


@pytest.mark.parametrize(("number", "cure"), [(0, "limbeck targets remove"), (99, "Upgrade Limbeck")])
def test_another_format_is_named_with_the_cure(number, cure, key, fill):
    folder = fill(key).folder.path
    _edit(folder / "manifest.json", lambda value: value.update(format=number))
    with pytest.raises(StoreError, match=rf"has format {number}, .*{cure}"):
        open_store(key)


def test_after_an_upgrade_of_the_format_the_teacher_is_asked_anew_beside_the_older_store(
    key, fill, monkeypatch
):
    with monkeypatch.context() as older:
        older.setattr(key_module, "FORMAT", FORMAT - 1)
        before = fill(key).folder.path
        _edit(before / "manifest.json", lambda value: value.update(format=FORMAT - 1))
    after = fill(key).folder.path
    assert after != before
    assert open_store(key).folder.path == after
    assert {summary.path: summary.problem is None for summary in list_stores()} == {
        before: False,
        after: True,
    }


def test_a_damaged_manifest_is_named_with_the_cure(key, fill):
    file = fill(key).folder.path / "manifest.json"
    file.write_text(file.read_text()[:-40])
    with pytest.raises(StoreError, match=r"manifest.json is damaged. .*limbeck targets remove"):
        open_store(key)


def test_a_store_larger_than_memory_is_mapped_and_answers_the_same(key, fill, pool, monkeypatch):
    held = fill(key)
    monkeypatch.setattr(reader, "_MEMORY_BYTES", 0)
    mapped = Store.open(held.folder.path)
    clean = torch.full((len(pool),), CLEAN)
    assert torch.equal(held.answers(pool.ids, clean), mapped.answers(pool.ids, clean))


def test_answers_are_a_copy_that_cannot_harm_the_store(key, fill, pool):
    store = fill(key)
    clean = torch.full((len(pool),), CLEAN)
    first = store.answers(pool.ids, clean)
    before = first.clone()
    first.zero_()
    assert torch.equal(store.answers(pool.ids, clean), before)
