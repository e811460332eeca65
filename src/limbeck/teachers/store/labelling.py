"""Asking the teacher once for everything, and keeping what it says."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.data.views import augment
from limbeck.errors import DiskError, StoreError
from limbeck.files import disk_errors
from limbeck.teachers.asking import asked as all_asked
from limbeck.teachers.live import Execution
from limbeck.teachers.store.encoding import accepted, encoded, tapping, views_of
from limbeck.teachers.store.format import Manifest, StoreFolder, id_bytes, targets_home
from limbeck.teachers.store.kept_error import joined
from limbeck.teachers.store.key import StoreKey, differences, store_key
from limbeck.teachers.store.reader import check_whole
from limbeck.teachers.store.writer import begin, missing, needed_bytes, seal, unseal, write_shard
from limbeck.types import ABSENT, Batch, Outputs, Teacher
from limbeck.version import VERSION

_SHARD_RECORDS: Final = 8192
_ROUNDS_KEPT: Final = 4
_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far labelling has come, in samples."""

    done: int
    """Answered, now or before."""

    total: int
    """In the pool."""

    asked: int
    """Asked for by this call."""

    waiting: bool = False
    """Whether another process is labelling the same store just now."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What a teacher is asked, in whatever order."""

    teacher: Teacher
    source: Source
    preprocessing: Preprocessing
    key: StoreKey
    execution: Execution = nullcontext

    def answers(self, rows: Int[Tensor, " batch"]) -> list[Outputs]:
        """What the teacher says to some rows of the source, in each view, in fp32 on the CPU.

        Raises:
            TeacherError: If an answer is not finite or not of the right shape.
        """
        ids = self.source.ids[rows]
        clean = self.preprocessing.apply(self.source.raw(rows))
        return [self._ask(ids, clean, view) for view in views_of(self.key)]

    def _ask(self, ids: Tensor, clean: Tensor, view: int) -> Outputs:
        views, inputs = torch.full_like(ids, view), clean
        if self.key.view != "clean":
            settings = self.key.view
            inputs = augment(clean, ids, views, augmentation=settings.augmentation, seed=settings.seed)
        with torch.no_grad(), self.execution():
            outputs = self.teacher(Batch(ids, inputs, torch.full_like(ids, ABSENT), views))
        return accepted(outputs, ids, self.key)


def label(
    teacher: Teacher,
    source: Source,
    preprocessing: Preprocessing,
    key: StoreKey,
    *,
    batch_examples: int,
    cache: Path | None = None,
    execution: Execution = nullcontext,
    shard_records: int = _SHARD_RECORDS,
) -> Iterator[Progress]:
    """Fill the store of a key; yields after every batch, and the caller logs.

    Samples are asked about in the order of their ids, so that the blocks, and with them the bits, do not
    depend on the order of the source. A kill loses the current shard only; the next call goes on, asks again
    for damaged shards, and asks nothing if the store is complete. Of two processes one asks and one waits.

    Args:
        teacher: Asked without gradients.
        source: The pool.
        preprocessing: Fitted.
        key: From :func:`store_key`, for these three.
        batch_examples: Samples the teacher is asked about at once, in each view.
        cache: Where stores lie; by default the user's cache.
        execution: Makes the block in which the teacher is asked (autocast, threads).
        shard_records: About how many samples are kept at once; rounded to whole batches.

    Yields:
        How far it has come.

    Raises:
        StoreError: If the key is of another teacher or other data, or the folder holds something else.
        TeacherError: If an answer is not finite, also after rounding to the store's number format.
        DiskError: If there is not enough space; what was kept stays.
    """
    _check_key(
        key,
        store_key(teacher, source, preprocessing, view=key.view, keep=key.keep, execution=key.execution),
    )
    path = targets_home(cache) / key.digest
    if _whole(path, key):
        yield Progress(len(source), len(source), 0)
        return
    if teacher.offer.in_flight > 1:  # each answer is dear: fewer of them wait to be kept
        shard_records = min(shard_records, _ROUNDS_KEPT * teacher.offer.in_flight * batch_examples)
    order = torch.argsort(source.ids)
    ids = source.ids[order].numpy()
    manifest = _manifest(key, teacher, source, ids, max(shard_records // batch_examples, 1) * batch_examples)
    questions = Questions(tapping(teacher, key), source, preprocessing, key, execution)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            for _ in _waits(lock):
                yield Progress(0, len(ids), 0, waiting=True)
            yield from _fill(begin(path, manifest, ids), questions, order, batch_examples)
        finally:
            lock.release()


def _fill(
    folder: StoreFolder, questions: Questions, order: Tensor, batch_examples: int
) -> Iterator[Progress]:
    numbers = missing(folder)
    total = folder.manifest.records
    done = total - sum(len(folder.records(number)) for number in numbers)
    asked = 0
    yield Progress(done, total, asked)
    if not numbers and folder.answers.exists():
        return
    _check_space(folder, needed_bytes(folder, numbers))
    unseal(folder)
    for number in numbers:
        kept, errors = [], []
        records = folder.records(number)
        asked_about = [order[block.start : block.stop] for block in blocks(records, batch_examples)]
        answering = all_asked(asked_about, questions.answers, in_flight=questions.teacher.offer.in_flight)
        for rows, answers in zip(asked_about, answering, strict=True):
            part, error = encoded(questions.key, answers, questions.source.ids[rows])
            kept.append(part)
            errors.append(error)
            asked += len(rows)
            yield Progress(done + asked, total, asked)
        error = joined(errors)
        write_shard(folder, number, np.concatenate(kept), batch_examples=batch_examples, error=error)
    seal(folder)


def _whole(path: Path, key: StoreKey) -> bool:
    """Whether there is nothing to do: known without a lock, so that a read-only cache can be shared."""
    if not (path / "answers.bin").is_file():
        return False
    try:
        folder = StoreFolder.read(path)
        check_whole(folder)
    except StoreError:
        return False
    return folder.manifest.key == key


def blocks(records: range, batch_examples: int) -> list[range]:
    """Records in the blocks that the teacher is asked about at once."""
    return [records[start : start + batch_examples] for start in range(0, len(records), batch_examples)]


def _waits(lock: FileLock) -> Iterator[None]:
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
        except Timeout:
            yield
        else:
            return


def _check_key(key: StoreKey, actual: StoreKey) -> None:
    differing = differences(key, actual)
    if differing:
        raise StoreError(
            f"The store's key does not belong to this teacher and data: {'; '.join(differing)}. "
            "Make the key with store_key(teacher, source, preprocessing)."
        )


def _check_space(folder: StoreFolder, needed: int) -> None:
    free = shutil.disk_usage(folder.path).free
    if free < needed:
        raise DiskError(
            f"{folder.path} needs {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free. Free some "
            "space, keep fewer "
            "views, or set LIMBECK_CACHE to another disk; what is kept already stays."
        )


def _manifest(
    key: StoreKey, teacher: Teacher, source: Source, ids: NDArray[np.int64], shard_records: int
) -> Manifest:
    return Manifest(
        key=key,
        records=len(ids),
        shard_records=shard_records,
        ids_sha256=hashlib.sha256(id_bytes(ids)).hexdigest(),
        teacher_name=str(getattr(teacher, "name", type(teacher).__name__)),
        source_name=source.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"limbeck": VERSION, "torch": str(torch.__version__)},
    )
