"""Whole stores between this machine and a URL, shard by shard; a transfer that was cut short goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from limbeck.errors import StoreError
from limbeck.files import disk_errors
from limbeck.teachers.store.claims import claimed, forget_claims, store_lock, waits
from limbeck.teachers.store.format import Note, StoreFolder, targets_home
from limbeck.teachers.store.remote import Remote
from limbeck.teachers.store.writer import make_room, missing, seal

Moved = tuple[int, int]
"""How many shards are where they should be, and of how many."""


def push(path: Path, url: str) -> Iterator[Moved]:
    """Put a store, or what there is of it, on a URL; only what is not there yet travels.

    Args:
        path: The store's folder.
        url: Anything that fsspec opens. The store gets a folder of its name there.

    Yields:
        How far it has come.

    Raises:
        StoreError: If the folder holds no store, or a damaged one, or the URL cannot be written.
    """
    folder = StoreFolder.read(path)
    absent, notes = set(missing(folder)), folder.notes()
    if absent and folder.answers.exists():
        raise StoreError(f"{path} is damaged, so it is not pushed. Run `limbeck label` to repair it first.")
    remote = Remote(url, folder.manifest.key.digest)
    yield from push_lacking(remote, folder, [note for number, note in notes.items() if number not in absent])


def push_lacking(remote: Remote, folder: StoreFolder, held: Iterable[Note]) -> Iterator[Moved]:
    """Put those shards on the URL that are held here and not there."""
    remote.push_head(folder)
    lacking = set(remote.lacking(folder))
    todo = [note for note in held if note.number in lacking]
    total = len(folder.shards)
    yield total - len(lacking), total
    for sent, note in enumerate(todo, 1):
        remote.push(folder, note)
        yield total - len(lacking) + sent, total


def pull(url: str, name: str, *, cache: Path | None = None) -> Iterator[Moved]:
    """Bring a complete store from a URL; every checksum is compared, and what is here already stays.

    Args:
        url: Where it was pushed, or labelled.
        name: The store's name.
        cache: Where stores lie; by default the user's cache.

    Yields:
        How far it has come.

    Raises:
        StoreError: If it is not there, not complete there, or damaged.
    """
    path, remote = targets_home(cache) / name, Remote(url, name)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = store_lock(path)
        try:
            for _ in waits(lock):
                yield 0, 1
            yield from _pulled(remote, path, name)
        finally:
            lock.release()


def _pulled(remote: Remote, path: Path, name: str) -> Iterator[Moved]:
    if not (path / "manifest.json").is_file() and not remote.fetch_head(path):
        raise StoreError(
            f"{remote.url} holds no target store. Push one with `limbeck targets push STORE URL`."
        )
    folder = StoreFolder.read(path)
    if folder.manifest.key.digest != name:
        (path / "manifest.json").unlink()
        raise StoreError(
            f"{remote.url} holds another store, {folder.manifest.key.digest}. Pull it by its name."
        )
    left, total = missing(folder), len(folder.shards)
    yield total - len(left), total
    if not left and folder.answers.exists():
        return
    make_room(folder)
    absent: list[int] = []
    for seen, number in enumerate(left, 1):
        if not _fetched(remote, folder, number):
            absent.append(number)
        yield total - len(left) + seen - len(absent), total
    if absent:
        named = ", ".join(map(str, absent[:5]))
        raise StoreError(
            f"{remote.url} is incomplete: {len(absent)} of {total} shards are missing there or damaged (shard "
            f"{named}). Run `limbeck label` with teacher.store set to that URL: it asks for those alone."
        )
    seal(folder)
    forget_claims(folder)


def _fetched(remote: Remote, folder: StoreFolder, number: int) -> bool:
    with claimed(folder, number) as ours:
        if not ours:
            raise StoreError(
                f"{folder.path} is being filled by another process. Wait until it ends, then pull again."
            )
        return folder.holds(number, folder.notes().get(number)) or remote.fetch(folder, number)
