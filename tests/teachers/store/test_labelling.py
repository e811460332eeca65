"""Nothing is asked twice, no answer is lost, and the bytes do not depend on what happened between."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from limbeck.errors import DiskError, StoreError, TeacherError
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import label, labelling, list_stores, open_store, store_key
from limbeck.teachers.store.format import StoreFolder, targets_home
from limbeck.types import Batch, Outputs

SAMPLES, BATCH, SHARD = 50, 4, 12


def _bytes(store):
    return store.folder.answers.read_bytes()


def _asked(teacher):
    return Counter(teacher.asked)


def test_every_sample_is_asked_about_once_and_progress_says_so(teacher, pool, preprocessing, key):
    seen = list(label(teacher, pool, preprocessing, key, batch_examples=BATCH, shard_records=SHARD))
    assert _asked(teacher) == Counter(pool.ids.tolist())
    assert [step.done for step in seen] == [0, *range(4, 50, 4), 50]
    assert all(step.total == SAMPLES and step.asked == step.done for step in seen)


def test_a_complete_store_is_not_asked_again(teacher, pool, key, fill):
    fill(key)
    questions = teacher.questions
    fill(key)
    assert teacher.questions == questions


def test_a_complete_store_needs_no_lock_so_that_a_read_only_cache_will_do(key, fill, monkeypatch):
    fill(key)
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: pytest.fail("locked"))
    fill(key)


@pytest.mark.parametrize("question", [1, 3, 4, 5, 9, 13])
def test_an_interrupted_labeller_loses_its_current_shard_only(
    question, teacher, pool, key, fill, tmp_path, other_teacher
):
    whole = _bytes(fill(key, cache=tmp_path))
    teacher.asked.clear()
    teacher.questions, teacher.fail_at = 0, question
    with pytest.raises(KeyboardInterrupt):
        fill(key)
    with pytest.raises(StoreError, match="incomplete"):
        open_store(key)
    kept = (question - 1) * BATCH // SHARD * SHARD
    assert list_stores()[0].held == kept
    teacher.fail_at = None
    teacher.asked.clear()
    assert _bytes(fill(key)) == whole
    assert len(teacher.asked) == SAMPLES - kept
    assert max(_asked(teacher).values()) == 1


_KILLED = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from conftest import Counting, make_model
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
for step in label(teacher, pool, preprocessing, key, batch_examples=4, shard_records=12):
    if step.asked >= 32:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_real_kill_the_rest_is_asked_and_the_bytes_are_the_same(teacher, pool, key, fill, tmp_path):
    script = _KILLED.format(tests=str(Path(__file__).parents[1]))
    source = Path(labelling.__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert list_stores()[0].held == 24
    store = fill(key)
    assert len(teacher.asked) == SAMPLES - 24
    assert _bytes(store) == _bytes(fill(key, cache=tmp_path))


def test_what_a_kill_left_half_written_is_swept(key, fill, teacher):
    teacher.fail_at = 5
    with pytest.raises(KeyboardInterrupt):
        fill(key)
    folder = targets_home() / key.digest
    (folder / ".notes.jsonl.abcd.tmp").write_bytes(b"half")
    teacher.fail_at = None
    fill(key)
    files = {file.name for file in folder.iterdir()}
    assert files == {"manifest.json", "ids.bin", "answers.bin", "notes.jsonl"}


def test_the_order_of_the_source_and_of_the_shards_does_not_change_the_bytes(pool, key, fill, tmp_path):
    turned = pool.subset(torch.arange(SAMPLES).flip(0))
    assert _bytes(fill(key)) == _bytes(fill(key, source=turned, cache=tmp_path))


@pytest.mark.parametrize("where", ["answers", "note", "ids", "truncated"])
def test_damage_is_repaired_by_asking_for_the_damaged_shard_only(where, teacher, key, fill):
    store = fill(key)
    whole = _bytes(store)
    teacher.asked.clear()
    expected = {"answers": 12, "note": 12, "ids": 0, "truncated": 2}[where]
    _harm(store.folder, where)
    with pytest.raises(StoreError, match="Run `limbeck label` again"):
        open_store(key)
    assert _bytes(fill(key)) == whole
    assert len(teacher.asked) == expected


def _harm(folder, where):
    file = {"note": folder.notes_path, "ids": folder.ids}.get(where, folder.answers)
    data = bytearray(file.read_bytes())
    data[20 * folder.record_bytes if where == "answers" else 3] ^= 1
    file.write_bytes(data[:-1] if where == "truncated" else data)
    if where == "truncated":
        file.write_bytes(_flipped_back(data)[:-1])


def _flipped_back(data):
    data[3] ^= 1
    return data


@pytest.mark.parametrize("harm", ["truncated", "flipped"])
def test_a_shard_that_was_harmed_while_filling_is_asked_for_again(harm, teacher, key, fill):
    teacher.fail_at = 9
    with pytest.raises(KeyboardInterrupt):
        fill(key)
    folder = StoreFolder.read(targets_home() / key.digest)
    data, last = bytearray(folder.part.read_bytes()), sum(folder.place(1)) - 1
    data[last] ^= 1
    folder.part.write_bytes(data[:last] if harm == "truncated" else data)
    teacher.fail_at = None
    teacher.asked.clear()
    fill(key)
    assert len(teacher.asked) == SAMPLES - SHARD


def test_a_note_that_a_full_disk_tore_costs_its_own_shard_only(teacher, key, fill):
    teacher.fail_at = 9
    with pytest.raises(KeyboardInterrupt):
        fill(key)
    notes = StoreFolder.read(targets_home() / key.digest).notes_path
    os.truncate(notes, notes.stat().st_size - 5)
    teacher.fail_at = None
    teacher.asked.clear()
    whole = _bytes(fill(key))
    assert len(teacher.asked) == SAMPLES - SHARD
    assert [json.loads(line)["number"] for line in notes.read_bytes().splitlines()] == [0, 1, 2, 3, 4]
    assert whole == _bytes(open_store(key))


def test_a_shard_of_another_store_is_not_taken_for_ours(
    teacher, other_teacher, pool, preprocessing, key, fill
):
    theirs = store_key(other_teacher, pool, preprocessing, keep="float32")
    for asked, name in ((teacher, key), (other_teacher, theirs)):
        asked.fail_at = 9
        with pytest.raises(KeyboardInterrupt):
            fill(name, teacher=asked)
        asked.fail_at = None
    held, given = (StoreFolder.read(targets_home() / name.digest) for name in (key, theirs))
    with held.notes_path.open("ab") as notes:
        notes.write(given.notes_path.read_bytes())
    with held.part.open("r+b") as file:
        file.write(given.answers_of(0))
    teacher.asked.clear()
    fill(key)
    assert len(teacher.asked) == SAMPLES - SHARD


def test_a_key_of_another_teacher_is_refused_before_the_first_question(other_teacher, key, fill):
    with pytest.raises(StoreError, match=r"teacher is .* \(its weights, its code"):
        fill(key, teacher=other_teacher)
    assert other_teacher.questions == 0


def test_a_folder_that_holds_another_store_is_refused(teacher, other_teacher, pool, preprocessing, key, fill):
    theirs = store_key(other_teacher, pool, preprocessing, keep="float32")
    shutil.copytree(fill(key).folder.path, targets_home() / theirs.digest)
    with pytest.raises(StoreError, match=r"holds another store: teacher is .*limbeck targets remove"):
        fill(theirs, teacher=other_teacher)
    with pytest.raises(StoreError, match="is another store: teacher is"):
        open_store(theirs)


class Broken:
    """Answers one sample with something that cannot be kept."""

    def __init__(self, teacher, sample, value):
        self.teacher, self.sample, self.value = teacher, sample, value

    @property
    def offer(self):
        return self.teacher.offer

    @property
    def digest(self):
        return self.teacher.digest

    def __call__(self, batch: Batch) -> Outputs:
        logits = self.teacher(batch).logits
        logits[batch.ids == self.sample] = self.value
        return Outputs(logits)


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "Check its weights"), (70000.0, "keep to float32")]
)
def test_an_answer_that_cannot_be_kept_names_the_sample(value, words, teacher, pool, preprocessing, fill):
    sample = int(pool.ids[17])
    key = store_key(teacher, pool, preprocessing)
    with pytest.raises(TeacherError, match=rf"sample {sample}\..*{words}"):
        fill(key, teacher=Broken(teacher, sample, value))


@pytest.mark.parametrize("refused", [3, 4])
def test_a_disk_that_refuses_when_all_is_answered_loses_nothing(refused, teacher, key, fill, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == refused:  # ids, manifest, all answers, all notes
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="the disk is full"):
        fill(key)
    assert (list_stores()[0].held, list_stores()[0].complete) == (SAMPLES, False)
    assert not list((targets_home() / key.digest).glob(".*.tmp"))
    teacher.asked.clear()
    fill(key)
    assert not teacher.asked


def test_places_of_answers_that_are_to_come_take_no_space(teacher, key, fill, monkeypatch):
    monkeypatch.setattr(teacher, "fail_at", 1)
    with pytest.raises(KeyboardInterrupt):
        fill(key)
    folder = StoreFolder.read(targets_home() / key.digest)
    assert folder.part.stat().st_size == folder.size
    assert list_stores()[0].bytes < folder.size + 2000


def test_a_disk_that_is_too_small_is_refused_before_the_first_question(teacher, key, fill, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DiskError, match="MB are free"):
        fill(key)
    assert teacher.questions == 0


def test_a_labeller_that_is_given_up_lets_the_next_one_in(teacher, pool, preprocessing, key, fill):
    first = label(teacher, pool, preprocessing, key, batch_examples=BATCH)
    next(first)
    first.close()
    fill(key)


def test_the_caller_keeps_gradients_and_number_format_between_batches(teacher, pool, preprocessing, key):
    def execution():
        return torch.autocast("cpu", torch.bfloat16)

    for _ in label(teacher, pool, preprocessing, key, batch_examples=BATCH, execution=execution):
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_the_execution_is_used_for_asking(model, pool, preprocessing, key, tmp_path):
    def execution():
        return torch.autocast("cpu", torch.bfloat16)

    teacher = LiveTeacher(model, classes=3, shape=(1, 8, 8))
    stores = []
    for chosen, name in ((None, "plain"), (execution, "halved")):
        settings = {} if chosen is None else {"execution": chosen}
        list(
            label(teacher, pool, preprocessing, key, batch_examples=BATCH, cache=tmp_path / name, **settings)
        )
        stores.append(_bytes(open_store(key, cache=tmp_path / name)))
    assert stores[0] != stores[1]
