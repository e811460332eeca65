"""How a store lies on disk, and how it is known to be whole.

A folder named by its key's digest holds ``manifest.json``, ``ids.bin`` (sorted int64), and, while it is being
filled, ``shard-00000.bin`` with a note beside it, ``shard-00000.json``, that says what its checksum is. A
complete store has one ``answers.bin`` (the shards one after another, which reads fastest) and the notes.
Records are of one width, one for each view, in the order of the ids; numbers are little-endian. What a record holds
follows from ``key.keep`` in the manifest; see :mod:`limbeck.teachers.store.keeping`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt, ValidationError

from limbeck.errors import StoreError
from limbeck.files import cache_home, read_json, sha256
from limbeck.teachers.store.kept_error import KeptError
from limbeck.teachers.store.key import StoreKey
from limbeck.types import Frozen

FORMAT: Final = 2
"""Changes whenever an older Limbeck could not read a newer store, or the other way round."""

IDS: Final = np.dtype("<i8")


class Manifest(Frozen):
    """What a store is; written once, before the first question."""

    format: int = FORMAT
    """Version of the form on disk."""

    key: StoreKey
    """Who was asked about what."""

    records: PositiveInt
    """Samples."""

    shard_records: PositiveInt
    """Samples a shard; the last shard may have fewer."""

    ids_sha256: str
    """Of ``ids.bin``."""

    teacher_name: str
    """For people."""

    source_name: str
    """For people."""

    created: str
    """UTC, ISO 8601."""

    versions: dict[str, str]
    """Of the packages that asked."""


class Note(Frozen):
    """What one shard holds; written after it."""

    store: str
    """Digest of the key, so that a shard of another store is not taken for one of this."""

    number: NonNegativeInt
    """From 0."""

    first: NonNegativeInt
    """Its first record."""

    records: PositiveInt
    """Samples."""

    sha256: str
    """Of its bytes."""

    batch_examples: PositiveInt
    """In what blocks the teacher was asked: the same blocks give the same bits."""

    error: KeptError
    """What keeping the answers costs, measured when they were given."""


@dataclass(frozen=True, slots=True)
class StoreFolder:
    """A store's folder and manifest: where each part lies and how long it is."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, path: Path) -> StoreFolder:
        """The store in a folder.

        Raises:
            StoreError: If there is none, its manifest is damaged, or it is of another format.
        """
        file = path / "manifest.json"
        if not file.is_file():
            raise StoreError(
                f"{path} holds no target store. `limbeck targets list` shows those that there are."
            )
        try:
            value = read_json(file)
            _check_format(path, value)
            return cls(path, Manifest.model_validate(value))
        except (ValueError, ValidationError) as error:
            raise StoreError(
                f"{file} is damaged. Remove the store with `limbeck targets remove {path.name}` and "
                "label again."
            ) from error

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Of one answer on disk: the fields of its parts."""
        return self.manifest.key.keep.layout(self.manifest.key.classes)

    @property
    def record_bytes(self) -> int:
        """Of one sample's answers, in every view."""
        return self.manifest.key.views * int(self.dtype.itemsize)

    @property
    def shards(self) -> range:
        """The numbers of the shards."""
        return range(-(-self.manifest.records // self.manifest.shard_records))

    @property
    def answers(self) -> Path:
        """All the answers, once there are all."""
        return self.path / "answers.bin"

    @property
    def ids(self) -> Path:
        """The sorted ids."""
        return self.path / "ids.bin"

    def shard(self, number: int) -> Path:
        """One shard's answers, until there are all."""
        return self.path / f"shard-{number:05}.bin"

    def note_path(self, number: int) -> Path:
        """One shard's note."""
        return self.path / f"shard-{number:05}.json"

    def records(self, number: int) -> range:
        """Which records one shard holds."""
        start = number * self.manifest.shard_records
        return range(start, min(start + self.manifest.shard_records, self.manifest.records))

    def note(self, number: int) -> Note | None:
        """One shard's note; ``None`` where it is missing, damaged, or of another store or shard."""
        try:
            value = read_json(self.note_path(number))
        except (FileNotFoundError, ValueError):
            return None
        return self.accepted(value, number)

    def accepted(self, value: object, number: int) -> Note | None:
        """A note as it was read; ``None`` where it is damaged, or of another store or shard."""
        try:
            note = Note.model_validate(value)
        except ValidationError:
            return None
        records = self.records(number)
        found = (note.store, note.number, note.first, note.records)
        return note if found == (self.manifest.key.digest, number, records.start, len(records)) else None

    def kept(self, number: int) -> bool:
        """Whether one shard's own file and note are there; nothing is read."""
        return self.note_path(number).is_file() and self.shard(number).is_file()

    def holds(self, number: int) -> bool:
        """Whether one shard's own file is there, as long as it should be, and unharmed."""
        note, file = self.note(number), self.shard(number)
        if note is None or not file.is_file():
            return False
        expected = len(self.records(number)) * self.record_bytes
        try:
            return file.stat().st_size == expected and sha256(file) == note.sha256
        except FileNotFoundError:  # another process has sealed the store meanwhile
            return False

    def damaged(self) -> list[int]:
        """The shards of a complete store whose part of ``answers.bin`` is not what was written."""
        found = checksums(self.answers, self.manifest.shard_records * self.record_bytes)
        notes = [self.note(number) for number in self.shards]
        return [
            number
            for number, note in enumerate(notes)
            if note is None or number >= len(found) or found[number] != note.sha256
        ]


def targets_home(cache: Path | None = None) -> Path:
    """Where stores lie: ``targets`` in the cache that is given, or in the user's."""
    return (cache or cache_home()) / "targets"


def id_bytes(ids: NDArray[np.int64]) -> bytes:
    """Sorted ids as ``ids.bin`` holds them."""
    return ids.astype(IDS).tobytes()


def checksums(path: Path, block_bytes: int) -> tuple[str, ...]:
    """The SHA-256 of each block of a file; computed once for as long as the file does not change."""
    seen = path.stat()
    return _checksums(path, block_bytes, seen.st_mtime_ns, seen.st_size)


@functools.lru_cache(maxsize=16)
def _checksums(path: Path, block_bytes: int, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    with path.open("rb") as file:
        return tuple(hashlib.sha256(block).hexdigest() for block in iter(lambda: file.read(block_bytes), b""))


def _check_format(path: Path, value: object) -> None:
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found != FORMAT:
        older = (
            f"Run `limbeck label` to ask again, and `limbeck targets remove {path.name}` to free its place."
        )
        newer = "Upgrade Limbeck, or label again with another LIMBECK_CACHE."
        raise StoreError(
            f"The store {path} has format {found}, and this Limbeck reads format {FORMAT}. "
            f"{newer if found > FORMAT else older}"
        )
