"""The files of a store: a shard counts once its note is there, and nothing that is there is asked for again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import StoreError
from limbeck.files import append_line, disk_errors, sha256, write_bytes, write_json
from limbeck.teachers.store.format import Manifest, Note, StoreFolder, checksum, id_bytes
from limbeck.teachers.store.kept_error import KeptError
from limbeck.teachers.store.key import differences


def begin(path: Path, manifest: Manifest, ids: NDArray[np.int64]) -> StoreFolder:
    """A store ready to be filled: a new one, or the one that is there, whatever it holds already.

    Args:
        path: Its folder.
        manifest: What it should be. Of a store that is there, the size of the shards is kept.
        ids: Sorted.

    Raises:
        StoreError: If what is there is damaged, or of another key.
    """
    if not (path / "manifest.json").exists():
        write_bytes(path / "ids.bin", id_bytes(ids))
        write_json(path / "manifest.json", manifest.model_dump(mode="json"))
        return StoreFolder(path, manifest)
    for name in ("manifest.json", "ids.bin", "notes.jsonl"):
        _sweep(path, name)
    folder = StoreFolder.read(path)
    differing = differences(folder.manifest.key, manifest.key)
    if differing or folder.manifest.ids_sha256 != manifest.ids_sha256:
        raise StoreError(
            f"{path} holds another store: {'; '.join(differing) or 'the ids differ'}. Remove it with "
            f"`limbeck targets remove {path.name}` and label again."
        )
    if not folder.ids.is_file() or sha256(folder.ids) != manifest.ids_sha256:
        write_bytes(folder.ids, id_bytes(ids))
    return folder


def write_shard(
    folder: StoreFolder,
    number: int,
    answers: NDArray[Any],
    *,
    batch_examples: int,
    error: KeptError,
) -> None:
    """Keep one shard's answers, then its note; without the note the shard does not count. Its claim must be ours.

    Args:
        folder: Where.
        number: Which shard.
        answers: ``[records, views]``, as the store's ``dtype`` lays them out.
        batch_examples: In what blocks the teacher was asked.
        error: What keeping them costs.
    """
    data = np.ascontiguousarray(answers).reshape(-1).view(np.uint8).data
    note = Note(
        store=folder.manifest.key.digest,
        number=number,
        first=folder.records(number).start,
        records=len(folder.records(number)),
        xxh3=checksum(data),
        batch_examples=batch_examples,
        error=error,
    )
    keep_shard(folder, data, note)


def keep_shard(folder: StoreFolder, data: bytes | memoryview, note: Note) -> None:
    """Keep a shard at its place, and then its note.

    Nothing waits for the disk: a kill loses neither, and what a power failure takes is found by its checksum.
    """
    start, _ = folder.place(note.number)
    with disk_errors(folder.part), folder.part.open("r+b") as file:
        file.seek(start)
        file.write(data)
    append_line(folder.notes_path, note.model_dump_json().encode())


def _sweep(path: Path, name: str) -> None:
    """Remove what a kill left half written of a file. Nobody else may be writing it now."""
    for stale in path.glob(f".{name}.*.tmp"):
        stale.unlink(missing_ok=True)


def missing(folder: StoreFolder) -> list[int]:
    """The shards that have to be asked for: all that are not whole."""
    if not folder.answers.exists():
        notes = folder.notes()
        return [number for number in folder.shards if not folder.holds(number, notes.get(number))]
    return folder.damaged()


def make_room(folder: StoreFolder) -> None:
    """Give every shard its place, which takes no space before it is written; those that are there stay.

    A complete store that is damaged is taken apart, so that only its damaged shards are asked for again.
    """
    if folder.answers.exists():
        folder.answers.replace(folder.part)
    with disk_errors(folder.part), folder.part.open("ab") as file:
        if file.tell() != folder.size:
            file.truncate(folder.size)


def seal(folder: StoreFolder) -> None:
    """Say that all answers are there, once they and their notes are on the disk."""
    if folder.answers.exists():
        return
    with disk_errors(folder.part), folder.part.open("r+b") as file:
        os.fsync(file.fileno())
    lines = "".join(f"{note.model_dump_json()}\n" for note in folder.notes().values())
    write_bytes(folder.notes_path, lines.encode())
    folder.part.replace(folder.answers)


def needed_bytes(folder: StoreFolder, numbers: list[int]) -> int:
    """What filling these shards writes."""
    return sum(folder.place(number)[1] for number in numbers)
