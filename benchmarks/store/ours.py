"""Limbeck's store of the likeliest classes, written and read through its own interface."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.store.rows import BATCH, CLASSES, K, Taken
from limbeck.teachers.store import Store, StoreKey, TopKAnswers
from limbeck.teachers.store.format import Manifest, StoreFolder, id_bytes
from limbeck.teachers.store.keeping import keep_of
from limbeck.teachers.store.kept_error import KeptError
from limbeck.teachers.store.sparse_kinds import known
from limbeck.teachers.store.writer import begin, make_room, seal, write_shard
from limbeck.types import CLEAN

SHARD_ROWS = 8192
"""As labelling keeps them."""


def key() -> StoreKey:
    """Of a store that keeps sixteen of a thousand classes."""
    keep = keep_of(TopKAnswers(k=K))
    return StoreKey(teacher="0" * 16, data="1" * 16, preprocessing="2" * 16, classes=CLASSES, keep=keep)


def sample_ids(count: int) -> Tensor:
    """Sorted ids as content gives them: anywhere among the int64."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator).sort().values


def written(rows: NDArray[Any], ids: NDArray[np.int64], path: Path) -> StoreFolder:
    """A complete store of some rows: shards with checksums and notes, all on the disk at the end."""
    manifest = Manifest(
        key=key(), records=len(rows), shard_records=SHARD_ROWS, teacher_name="benchmark", source_name="benchmark",
        ids_sha256=hashlib.sha256(id_bytes(ids)).hexdigest(), created="2026-01-01T00:00:00+00:00", versions={},
    )  # fmt: skip
    folder = begin(path, manifest, ids)
    make_room(folder)
    answers = rows.view(folder.dtype).reshape(len(rows), 1)
    for number in folder.shards:
        records = folder.records(number)
        write_shard(
            folder,
            number,
            answers[records.start : records.stop],
            batch_examples=256,
            error=KeptError(answers=len(records)),
        )
    seal(folder)
    return folder


def reader(rows: NDArray[Any], path: Path) -> tuple[Tensor, Callable[[Tensor], Taken]]:
    """The ids that the samples have, and what reads by them."""
    store = Store.open(written(rows, sample_ids(len(rows)).numpy(), path).path, key=key())
    clean = torch.full((BATCH,), CLEAN)

    def read(ids: Tensor) -> Taken:
        found = known(store.outputs(ids, clean if len(ids) == BATCH else clean[: len(ids)]))
        return found.classes, found.log_probs, found.tail

    return store.ids, read
