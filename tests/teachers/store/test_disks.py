"""A disk that is full, or cannot be written: one clear error, and what was kept stays."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from limbeck.data import Augmentation
from limbeck.errors import DiskError
from limbeck.teachers.store import FixedViews, label, labelling, list_stores, open_store, store_key

SHARD = 12
VIEWS = 40  # so that a shard is larger than a page


@pytest.fixture
def disk(tmp_path):
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here; root can")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill_up(disk: Path) -> Path:
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free))
    return filler


def test_a_disk_that_fills_up_while_asking_keeps_whole_shards_and_the_rest_is_asked_later(
    disk, teacher, pool, preprocessing, monkeypatch
):
    views = FixedViews(views=VIEWS, seed=0, augmentation=Augmentation(shift=1))
    key = store_key(teacher, pool, preprocessing, view=views, keep="float32")
    monkeypatch.setattr(labelling, "_check_space", lambda *_: None)  # somebody else fills it after that
    given = {"batch_examples": 4, "shard_records": SHARD, "cache": disk}
    working = label(teacher, pool, preprocessing, key, **given)
    while next(working).done < 2 * SHARD:
        pass
    filler = fill_up(disk)
    with pytest.raises(DiskError, match=r"disk/targets/.* could not be written: the disk is full; free some"):
        list(working)
    filler.unlink()
    assert list_stores(disk)[0].held == 2 * SHARD
    teacher.asked.clear()
    list(label(teacher, pool, preprocessing, key, **given))
    assert len(teacher.asked) == VIEWS * (len(pool) - 2 * SHARD)
    assert len(open_store(key, cache=disk)) == len(pool)


def test_a_read_only_disk_is_said_before_the_first_question_and_a_whole_store_on_it_is_used(
    disk, teacher, pool, preprocessing, key
):
    given = {"batch_examples": 4, "shard_records": SHARD, "cache": disk}
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(DiskError, match="the file system is read-only; choose another folder"):
        list(label(teacher, pool, preprocessing, key, **given))
    assert not teacher.asked
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    list(label(teacher, pool, preprocessing, key, **given))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert list(label(teacher, pool, preprocessing, key, **given))[-1].asked == 0
    assert len(open_store(key, cache=disk)) == len(pool)
