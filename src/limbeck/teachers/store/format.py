"""How a store lies on disk, and how it is known to be whole.

A folder named by the digest of its key and its format holds ``manifest.json``, ``ids.bin`` (sorted int64), and,
while it is being filled, ``answers.part``, in which each shard has its place, and ``notes.jsonl``, to which each
shard that is there adds a line that says what its checksum is. A complete store has ``answers.bin`` instead of
``answers.part``. Records are of one width, one for each view, in the order of the ids; numbers are little-endian.
What a record holds follows from ``key.keep`` in the manifest; see :mod:`limbeck.teachers.store.keeping`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt, ValidationError

from limbeck.errors import StoreError
from limbeck.files import cache_home, read_json
from limbeck.teachers.store.kept_error import KeptError
from limbeck.teachers.store.key import FORMAT, StoreKey
from limbeck.types import Frozen

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

    xxh3: str
    """Of its bytes: XXH3 with 128 bits, in hex."""

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
            _check_format(path)
            return cls(path, Manifest.model_validate(read_json(file)))
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

    @property
    def part(self) -> Path:
        """The answers that there are, each shard at its place, until there are all."""
        return self.path / "answers.part"

    @property
    def notes_path(self) -> Path:
        """The notes of the shards that are there, a line each."""
        return self.path / "notes.jsonl"

    @property
    def size(self) -> int:
        """Bytes of all answers."""
        return self.manifest.records * self.record_bytes

    def place(self, number: int) -> tuple[int, int]:
        """Where one shard begins among all answers, and how many bytes it has."""
        records = self.records(number)
        return records.start * self.record_bytes, len(records) * self.record_bytes

    def records(self, number: int) -> range:
        """Which records one shard holds."""
        start = number * self.manifest.shard_records
        return range(start, min(start + self.manifest.shard_records, self.manifest.records))

    def notes(self) -> dict[int, Note]:
        """The notes of the shards that have one, in their order; of two about the same shard the later counts."""
        lines = self.notes_path.read_bytes().splitlines() if self.notes_path.exists() else []
        found = {note.number: note for line in lines if (note := self.accepted(line)) is not None}
        return dict(sorted(found.items()))

    def accepted(self, text: bytes) -> Note | None:
        """A note as it was read; ``None`` where it is damaged, or of another store."""
        try:
            note = Note.model_validate_json(text)
        except ValidationError:
            return None
        records = self.records(note.number)
        found = (note.store, note.first, note.records)
        return note if found == (self.manifest.key.digest, records.start, len(records)) else None

    def holds(self, number: int, note: Note | None) -> bool:
        """Whether one shard of a store that is being filled is there as its note says."""
        try:
            return note is not None and checksum(self.answers_of(number)) == note.xxh3
        except FileNotFoundError:  # another process has sealed the store meanwhile
            return False

    def answers_of(self, number: int) -> bytes:
        """One shard's answers, whether the store is complete or not; the caller compares the checksum."""
        start, size = self.place(number)
        with (self.answers if self.answers.exists() else self.part).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def damaged(self) -> list[int]:
        """The shards of a complete store whose part of ``answers.bin`` is not what was written."""
        found = checksums(self.answers, self.manifest.shard_records * self.record_bytes)
        whole = {
            number for number, note in self.notes().items() if found[number : number + 1] == (note.xxh3,)
        }
        return [number for number in self.shards if number not in whole]


def targets_home(cache: Path | None = None) -> Path:
    """Where stores lie: ``targets`` in the cache that is given, or in the user's."""
    return (cache or cache_home()) / "targets"


def shard_name(number: int) -> str:
    """What the files of one shard are called, without their ending."""
    return f"shard-{number:05}"


def id_bytes(ids: NDArray[np.int64]) -> bytes:
    """Sorted ids as ``ids.bin`` holds them."""
    return ids.astype(IDS).tobytes()


def checksum(data: bytes | memoryview) -> str:
    """XXH3 with 128 bits, in hex: it finds damage, as fast as memory is read; it is no proof against forgery.

    References:
        Collet, `xxHash specification <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>`_, 2023.
    """
    return xxhash.xxh3_128_hexdigest(data)


def checksums(path: Path, block_bytes: int) -> tuple[str, ...]:
    """The checksum of each block of a file; computed once for as long as the file does not change."""
    seen = path.stat()
    return _checksums(path, block_bytes, seen.st_mtime_ns, seen.st_size)


@functools.lru_cache(maxsize=16)
def _checksums(path: Path, block_bytes: int, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    with path.open("rb") as file:
        return tuple(checksum(block) for block in iter(lambda: file.read(block_bytes), b""))


def written_format(path: Path) -> int | None:
    """The format that a store's manifest names; ``None`` where it names none."""
    try:
        value = read_json(path / "manifest.json")
    except ValueError:
        return None
    found = value.get("format") if isinstance(value, dict) else None
    return found if isinstance(found, int) else None


def _check_format(path: Path) -> None:
    found = written_format(path)
    if found is not None and found != FORMAT:
        older = f"`limbeck targets remove {path.name}` frees its place."
        newer = "Upgrade Limbeck to read it."
        raise StoreError(
            f"The store {path} has format {found}, and this Limbeck reads format {FORMAT}: `limbeck run` and "
            f"`limbeck label` ask the teacher again, beside it. {newer if found > FORMAT else older}"
        )
