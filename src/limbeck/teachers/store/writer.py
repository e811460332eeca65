"""The files of a store: each is whole or not there, and nothing that is there is asked for again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import StoreError
from limbeck.files import replacing, sha256, write_bytes, write_json
from limbeck.teachers.store.format import Manifest, Note, StoreFolder, id_bytes
from limbeck.teachers.store.kept_error import KeptError
from limbeck.teachers.store.key import differences

_COPY_BYTES: Final = 1 << 24


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
    for name in ("manifest.json", "ids.bin", "answers.bin"):
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
    data = answers.tobytes()
    note = Note(
        store=folder.manifest.key.digest,
        number=number,
        first=folder.records(number).start,
        records=len(folder.records(number)),
        sha256=hashlib.sha256(data).hexdigest(),
        batch_examples=batch_examples,
        error=error,
    )
    keep_shard(folder, data, note)


def shard_bytes(folder: StoreFolder, number: int) -> bytes:
    """One shard's answers, from its own file or from ``answers.bin``; the caller compares the checksum."""
    records = folder.records(number)
    if not folder.answers.exists():
        return folder.shard(number).read_bytes()
    with folder.answers.open("rb") as file:
        file.seek(records.start * folder.record_bytes)
        return file.read(len(records) * folder.record_bytes)


def keep_shard(folder: StoreFolder, data: bytes, note: Note) -> None:
    """Keep a shard that was answered elsewhere, and its note."""
    write_bytes(folder.shard(note.number), data)
    write_json(folder.note_path(note.number), note.model_dump(mode="json"))


def clear(folder: StoreFolder, number: int) -> None:
    """Remove what is left of a shard that is not whole; its claim must be ours."""
    folder.note_path(number).unlink(missing_ok=True)
    for file in (folder.shard(number), folder.note_path(number)):
        _sweep(folder.path, file.name)


def _sweep(path: Path, name: str) -> None:
    """Remove what a kill left half written of a file. Nobody else may be writing it now."""
    for stale in path.glob(f".{name}.*.tmp"):
        stale.unlink(missing_ok=True)


def missing(folder: StoreFolder) -> list[int]:
    """The shards that have to be asked for: all that are not whole, on their own or in ``answers.bin``."""
    if not folder.answers.exists():
        return [number for number in folder.shards if not folder.holds(number)]
    return folder.damaged()


def unseal(folder: StoreFolder) -> None:
    """Take a complete but damaged store apart, so that only its damaged shards are asked for again."""
    if not folder.answers.exists():
        return
    damaged = set(folder.damaged())
    with folder.answers.open("rb") as file:
        for number in folder.shards:
            data = file.read(len(folder.records(number)) * folder.record_bytes)
            if number not in damaged:
                write_bytes(folder.shard(number), data)
    folder.answers.unlink()


def seal(folder: StoreFolder) -> None:
    """Put all shards into one file, which reads fastest, and remove them."""
    if not folder.answers.exists():
        with replacing(folder.answers) as target:
            for number in folder.shards:
                with folder.shard(number).open("rb") as file:
                    while data := file.read(_COPY_BYTES):
                        target.write(data)
    for number in folder.shards:
        folder.shard(number).unlink(missing_ok=True)


def needed_bytes(folder: StoreFolder, numbers: list[int]) -> int:
    """What filling these shards and sealing the store writes, at most, before anything is removed."""
    records = sum(len(folder.records(number)) for number in numbers)
    return (records + folder.manifest.records) * folder.record_bytes
