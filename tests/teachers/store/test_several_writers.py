"""Several processes fill one store: nothing is asked twice, a killed one loses its shard, the bytes are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pytest
import torch

from limbeck.errors import StoreError
from limbeck.teachers.store import claims, filling, label, labelling, list_stores, open_store, remove
from limbeck.teachers.store.format import StoreFolder, targets_home

SAMPLES, BATCH, SHARD = 50, 4, 12


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    for module in (claims, filling):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which says when it was made."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}


@pytest.fixture
def labeller(teacher, pool, preprocessing, key):
    """One more process's work, as a generator."""

    def begun(**changes):
        return label(teacher, pool, preprocessing, key, batch_examples=BATCH, shard_records=SHARD, **changes)

    return begun


@pytest.mark.parametrize("writers", [1, 2, 3, 7])
def test_writers_in_any_number_ask_once_and_leave_the_same_files(
    writers, teacher, labeller, key, fill, tmp_path
):
    whole = content(fill(key, cache=tmp_path).folder.path)
    teacher.asked.clear()
    steps = list(zip_longest(*(labeller() for _ in range(writers))))
    assert set(Counter(teacher.asked).values()) == {1}
    assert len(teacher.asked) == SAMPLES
    assert content(targets_home() / key.digest) == whole
    last = [[step for step in column if step][-1] for column in zip(*steps, strict=True)]
    assert [step.done for step in last] == [SAMPLES] * writers
    assert sum(step.asked for step in last) == SAMPLES
    assert all(step.done <= SAMPLES for row in steps for step in row if step)


def test_progress_counts_what_others_have_done(labeller):
    first, second = labeller(), labeller()
    assert [next(first).done for _ in range(3)] == [0, 4, 8]
    assert next(second).done == 0
    assert next(first).done == 12
    seen = [next(second) for _ in range(3)]
    assert [(step.done, step.asked) for step in seen[-1:]] == [(24, 12)]
    first.close()
    second.close()


def test_who_has_nothing_left_waits_for_the_others_and_takes_over_from_one_that_died(teacher, labeller):
    first, second = labeller(), labeller()
    next(first), next(first)
    waited = next(step for step in second if step.waiting)
    assert (waited.done, waited.asked) == (SAMPLES - SHARD, SAMPLES - SHARD)
    first.close()
    assert list(second)[-1].done == SAMPLES
    asked = Counter(teacher.asked)
    assert sorted(asked.values()) == [1] * (SAMPLES - BATCH) + [2] * BATCH


def test_a_labeller_waits_while_another_begins_or_seals(labeller, key):
    with claims.store_lock(targets_home() / key.digest):
        late = labeller()
        assert next(late).waiting
    assert list(late)[-1].done == SAMPLES


def test_one_that_is_late_finds_the_store_sealed_and_asks_nothing(teacher, labeller):
    late = labeller()
    next(late)
    list(labeller())
    list(late)
    assert set(Counter(teacher.asked).values()) == {1}


def test_a_store_that_is_being_filled_is_not_removed_and_a_removed_one_is_said(labeller, key):
    path = targets_home() / key.digest
    busy = labeller()
    next(busy), next(busy)
    with pytest.raises(StoreError, match="being filled by another process"):
        remove(path)
    busy.close()
    late = labeller()
    next(late)
    remove(path)
    with pytest.raises(StoreError, match="was removed while it was being filled"):
        list(late)


def test_shards_of_many_views_are_small_enough_to_lose(teacher, pool, preprocessing, key, monkeypatch):
    monkeypatch.setattr(labelling, "_SHARD_BYTES", 10 * 12)
    list(label(teacher, pool, preprocessing, key, batch_examples=BATCH))
    assert StoreFolder.read(targets_home() / key.digest).manifest.shard_records == 2 * BATCH


_WRITER = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from conftest import make_model
from limbeck.data import Arrays, Preprocessing
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import label, store_key

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(1)
images = torch.randint(0, 256, (50, 8, 8, 1), dtype=torch.uint8, generator=generator)
pool = Arrays(images, torch.arange(50) % 3, name="squares")
preprocessing = Preprocessing().fitted(pool)
teacher = LiveTeacher(make_model(), classes=3, shape=(1, 8, 8))
key = store_key(teacher, pool, preprocessing, keep="float32")
print("ready", flush=True)
sys.stdin.readline()
asked = 0
for step in label(teacher, pool, preprocessing, key, batch_examples=4, shard_records=4):
    if step.asked > asked:
        asked = step.asked
        print(asked, flush=True)
        if sys.argv[1] == "slow":
            sys.stdin.readline()
"""


def _writer(speed: str) -> subprocess.Popen[str]:
    script = _WRITER.format(tests=str(Path(__file__).parents[1]))
    environment = os.environ | {
        "PYTHONPATH": str(Path(labelling.__file__).parents[3]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", script, speed], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def _say(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


@pytest.mark.long
def test_of_three_real_processes_one_is_killed_mid_shard_and_the_others_take_over(key, fill, tmp_path):
    writers = [_writer("slow"), _writer("slow"), _writer("fast")]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    killed, slow, fast = writers
    assert _say(killed) == "4\n"
    assert _say(slow) == "4\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    rest, _ = fast.communicate("\n")
    slow.communicate()  # its input ends, so it goes on
    assert (fast.returncode, slow.returncode) == (0, 0)
    (summary,) = list_stores()
    assert summary.complete
    assert int(rest.split()[-1]) >= SAMPLES - 3 * BATCH
    theirs = content(open_store(key).folder.path)
    assert theirs["answers.bin"] == content(fill(key, cache=tmp_path).folder.path)["answers.bin"]
    assert not [name for name in theirs if name.startswith(".")]
    assert torch.is_grad_enabled()
