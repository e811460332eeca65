"""Who works on what: a lock for a whole store, held for moments, and a claim for each shard, held while it is asked.

Both are locks of the operating system on a file, so that what a killed process held is free at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from limbeck.errors import StoreError
from limbeck.teachers.store.format import StoreFolder, shard_name

POLL_SECONDS: Final = 0.5
"""How long a process waits before it looks again at what the others do."""

_SUFFIX: Final = ".claim"


def store_lock(path: Path) -> FileLock:
    """The lock for beginning, taking apart, sealing and removing a store; not for asking.

    Args:
        path: The store's folder, which need not exist. The lock's file lies beside it.
    """
    return FileLock(path.with_name(f".{path.name}.lock"))


def waits(lock: FileLock) -> Iterator[None]:
    """Acquire a lock; yields each time it was waited for in vain."""
    while True:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            yield
        else:
            return


@contextmanager
def claimed(folder: StoreFolder, number: int) -> Iterator[bool]:
    """Claim a shard for the length of the block.

    Args:
        folder: The store.
        number: Which shard.

    Yields:
        Whether the claim is ours; ``False`` where another process has it.

    Raises:
        StoreError: If the store was removed meanwhile.
    """
    _check_there(folder)
    lock = FileLock(folder.path / f".{shard_name(number)}{_SUFFIX}")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        _check_there(folder)
        yield True
    finally:
        lock.release()


def being_filled(path: Path) -> bool:
    """Whether any process has claimed a shard of the store in a folder just now."""
    for file in path.glob(f".*{_SUFFIX}"):
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
    return False


def forget_claims(folder: StoreFolder) -> None:
    """Remove the files behind the claims, once there is nothing left to claim."""
    for file in folder.path.glob(f".*{_SUFFIX}"):
        file.unlink(missing_ok=True)


def _check_there(folder: StoreFolder) -> None:
    if not (folder.path / "manifest.json").is_file():
        raise StoreError(
            f"The store {folder.path} was removed while it was being filled. Run `limbeck label` again."
        )
