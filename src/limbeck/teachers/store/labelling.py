"""Asking the teacher once for everything, and keeping what it says."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.errors import DiskError, StoreError
from limbeck.files import disk_errors
from limbeck.teachers.live import Execution
from limbeck.teachers.store.claims import forget_claims, store_lock, waits
from limbeck.teachers.store.encoding import tapping
from limbeck.teachers.store.filling import Filling, Progress
from limbeck.teachers.store.format import Manifest, StoreFolder, id_bytes, targets_home
from limbeck.teachers.store.key import StoreKey, differences, store_key
from limbeck.teachers.store.questions import Questions
from limbeck.teachers.store.reader import check_whole
from limbeck.teachers.store.remote import Remote
from limbeck.teachers.store.transfer import push_lacking
from limbeck.teachers.store.writer import begin, make_room, missing, needed_bytes, seal
from limbeck.types import Teacher
from limbeck.version import VERSION

_SHARD_RECORDS: Final = 8192
_SHARD_BYTES: Final = 64 * 2**20
_ROUNDS_KEPT: Final = 4


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
    url: str | None = None,
) -> Iterator[Progress]:
    """Fill the store of a key; yields after every batch, and the caller logs.

    Samples are asked about in the order of their ids, so that the blocks, and with them the bits, do not
    depend on the order of the source. A kill loses the current shard only; the next call goes on, asks again
    for damaged shards, and asks nothing if the store is complete. Several processes may do this at once: each
    claims a shard that is missing, and goes on with the next. The bytes do not depend on how many there are.

    Args:
        teacher: Asked without gradients.
        source: The pool.
        preprocessing: Fitted.
        key: From :func:`store_key`, for these three.
        batch_examples: Samples the teacher is asked about at once, in each view.
        cache: Where stores lie; by default the user's cache.
        execution: Makes the block in which the teacher is asked (autocast, threads).
        shard_records: About how many samples are kept at once; rounded to whole batches, and fewer where they
            would take more than 64 MB.
        url: Where the store lies as well, for other machines: anything that fsspec opens. What is there is not
            asked for, and what is asked here goes there.

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
    remote = None if url is None else Remote(url, key.digest)
    if not _whole(path, key):
        if teacher.offer.in_flight > 1:  # each answer is dear: fewer of them wait to be kept
            shard_records = min(shard_records, _ROUNDS_KEPT * teacher.offer.in_flight * batch_examples)
        order = torch.argsort(source.ids)
        manifest = _manifest(key, teacher, source, batch_examples, shard_records)
        questions = Questions(tapping(teacher, key), source, preprocessing, key, execution)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield from _fill(path, manifest, questions, order, batch_examples, remote)
    else:
        yield Progress(len(source), len(source), 0)
    if remote is not None:
        folder = StoreFolder.read(path)
        for _ in push_lacking(remote, folder, folder.notes().values()):
            pass


def _fill(
    path: Path,
    manifest: Manifest,
    questions: Questions,
    order: Int[Tensor, " samples"],
    batch_examples: int,
    remote: Remote | None,
) -> Iterator[Progress]:
    lock, last = store_lock(path), Progress(0, manifest.records, 0)
    try:
        for _ in waits(lock):
            yield replace(last, waiting=True)
        folder, left = _begun(path, manifest, questions.source.ids[order].numpy(), remote)
        filling = Filling(folder, questions, order, batch_examples, left, remote)
        lock.release()
        yield filling.progress()
        for last in filling.run():
            yield last
        for _ in waits(lock):
            yield replace(last, waiting=True)
        seal(folder)
        forget_claims(folder)
    finally:
        lock.release()


def _begun(
    path: Path, manifest: Manifest, ids: NDArray[np.int64], remote: Remote | None
) -> tuple[StoreFolder, list[int]]:
    """The store, ready for shards to be claimed, and those that are missing or damaged."""
    if remote is not None and not (path / "manifest.json").exists():
        remote.fetch_head(path)
    folder = begin(path, manifest, ids)
    if remote is not None:
        remote.push_head(folder)
    left = missing(folder)
    if left:
        _check_space(folder, needed_bytes(folder, left))
        make_room(folder)
    return folder, left


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
    key: StoreKey, teacher: Teacher, source: Source, batch_examples: int, shard_records: int
) -> Manifest:
    ids = source.ids.sort().values.numpy()
    manifest = Manifest(
        key=key,
        records=len(ids),
        shard_records=shard_records,
        ids_sha256=hashlib.sha256(id_bytes(ids)).hexdigest(),
        teacher_name=str(getattr(teacher, "name", type(teacher).__name__)),
        source_name=source.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"limbeck": VERSION, "torch": str(torch.__version__)},
    )
    fitting = min(shard_records, _SHARD_BYTES // StoreFolder(Path(), manifest).record_bytes)
    whole_batches = max(fitting // batch_examples, 1) * batch_examples
    return manifest.model_copy(update={"shard_records": whole_batches})
