"""Which stores there are, what they hold and cost, and how to be rid of one."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import Timeout

from limbeck.errors import StoreError
from limbeck.files import disk_errors
from limbeck.teachers.store.claims import being_filled, store_lock
from limbeck.teachers.store.format import StoreFolder, targets_home, written_format
from limbeck.teachers.store.kept_error import KeptError, joined
from limbeck.teachers.store.key import StoreKey
from limbeck.teachers.store.reader import check_length, check_whole
from limbeck.types import Frozen


class Summary(Frozen):
    """One store, for a table."""

    name: str
    """Its folder's name."""

    path: Path
    """Its folder."""

    bytes: int
    """On disk, everything."""

    format: int | None = None
    """Of its files; ``None`` where its manifest does not tell."""

    problem: str | None = None
    """Why it cannot be used as it is, and the cure."""

    teacher: str = ""
    """What the teacher is called."""

    data: str = ""
    """What the pool is called."""

    key: StoreKey | None = None
    """Who was asked about what."""

    records: int = 0
    """Samples in the pool."""

    held: int = 0
    """Samples that are answered."""

    complete: bool = False
    """Whether all are."""

    unit_bytes: int = 0
    """Bytes of one answer: of one sample in one view, its taps included."""

    error: KeptError | None = None
    """What keeping the answers costs, measured against the teacher's own when they were given."""

    created: str = ""
    """UTC, ISO 8601."""


def list_stores(cache: Path | None = None) -> list[Summary]:
    """All stores, the newest first; lengths are compared, checksums are not.

    Args:
        cache: Where stores lie; by default the user's cache.
    """
    found = [_summary(file.parent) for file in targets_home(cache).glob("*/manifest.json")]
    return sorted(found, key=lambda summary: summary.created, reverse=True)


def inspect(path: Path) -> Summary:
    """One store, with every checksum compared; what is wrong with it stands in ``problem``.

    Raises:
        StoreError: If the folder holds no store.
    """
    if not (path / "manifest.json").is_file():
        StoreFolder.read(path)
    summary = _summary(path)
    if summary.problem is not None:
        return summary
    try:
        check_whole(StoreFolder.read(path))
    except StoreError as error:
        return summary.model_copy(update={"problem": str(error)})
    return summary


def remove(path: Path) -> int:
    """Delete a store, and nothing that is not one.

    Args:
        path: Its folder.

    Returns:
        How many bytes became free.

    Raises:
        StoreError: If the folder holds no store, or a process is filling it.
    """
    if not (path / "manifest.json").is_file():
        StoreFolder.read(path)
    freed, busy = (
        _bytes(path),
        f"{path} is being filled by another process. Stop that, or wait until it ends.",
    )
    with disk_errors(path):
        try:
            with store_lock(path).acquire(timeout=0):
                if being_filled(path):
                    raise StoreError(busy)
                (path / "manifest.json").unlink()  # first, so that what a kill leaves is no store
                shutil.rmtree(path)
        except Timeout as error:
            raise StoreError(busy) from error
    return freed


def _summary(path: Path) -> Summary:
    size = _bytes(path)
    try:
        folder = StoreFolder.read(path)
    except StoreError as error:
        return Summary(name=path.name, path=path, bytes=size, format=written_format(path), problem=str(error))
    manifest, complete = folder.manifest, folder.answers.is_file()
    notes = folder.notes()
    errors = [note.error for note in notes.values()]
    return Summary(
        name=path.name,
        path=path,
        bytes=size,
        format=manifest.format,
        problem=_problem(folder),
        teacher=manifest.teacher_name,
        data=manifest.source_name,
        key=manifest.key,
        records=manifest.records,
        held=sum(note.records for note in notes.values()),
        complete=complete,
        unit_bytes=int(folder.dtype.itemsize),
        error=joined(errors) if errors else None,
        created=manifest.created,
    )


def _problem(folder: StoreFolder) -> str | None:
    try:
        check_length(folder)
    except StoreError as error:
        return str(error)
    return None


def _bytes(path: Path) -> int:
    """What the files take of the disk; the places of answers that are still to come take nothing."""
    found = [file.stat() for file in path.iterdir() if file.is_file()]
    return sum(min(file.st_size, file.st_blocks * 512) for file in found)
