"""Files that are either whole or not there: written beside, flushed, and renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from limbeck.errors import DiskError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` and rename it over ``path`` when the block ends well.

    Raises:
        DiskError: If the disk is full, read-only, or not ours to write; ``path`` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what a disk can refuse into one clear error that names the place and the cure."""
    cures = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.EACCES: "permission denied; choose another folder or change its owner",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in cures:
            raise
        raise DiskError(f"{path} could not be written: {cures[error.errno]}.") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` whole or not at all; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(data)


def append_line(path: Path, line: bytes) -> None:
    """Add a line in one write, as several processes may at once on a local disk.

    It begins with its newline, so that what a full disk left of another stays a line of its own.
    """
    data = b"\n" + line
    with disk_errors(path):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            if os.write(file, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all. Refuses numbers that are not finite."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_with(path: Path, save: Callable[[Path], object]) -> None:
    """Let ``save`` write a file of its own (a library's format), then rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    with disk_errors(path):
        try:
            save(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The JSON value in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_home() -> Path:
    """Where data and target stores are shared between runs: LIMBECK_CACHE, else XDG_CACHE_HOME/limbeck."""
    if chosen := os.environ.get("LIMBECK_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "limbeck"
