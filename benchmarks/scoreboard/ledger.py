"""What is done: one line a training in a file that several processes append to."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from benchmarks.form import RESULTS
from limbeck.files import cache_home

LEDGER: Final = RESULTS / "scoreboard.shards.jsonl"

Record = Mapping[str, Any]


def ledger(path: Path = LEDGER) -> dict[str, Record]:
    """What is written down, by key: results, and errors of trainings that failed.

    The last line of a key counts, but an error never replaces a result. A line that a kill cut short does not
    count.
    """
    found: dict[str, Record] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if "error" not in record or "error" in found.get(record["key"], record):
            found[record["key"]] = record
    return found


def finished(records: Mapping[str, Record]) -> dict[str, Record]:
    """The results among what is written down."""
    return {key: record for key, record in records.items() if "error" not in record}


def write_down(record: Record, path: Path = LEDGER) -> None:
    """Append one line, on a line of its own even after a writer that was killed within its line."""
    with _locked(path), path.open("ab+") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            whole = file.read(1) == b"\n"
        else:
            whole = True
        file.write((b"" if whole else b"\n") + json.dumps(record).encode() + b"\n")


@contextmanager
def claimed(key: str) -> Iterator[bool]:
    """Hold a training for the block; False where another process holds it. A dead process holds nothing."""
    folder = cache_home() / "scoreboard" / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def packed(right: NDArray[np.bool_]) -> str:
    """Whether a student is right about each test sample, as text."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def right(record: Record) -> NDArray[np.float64]:
    """1 for each test sample that the student of a training was right about, 0 for the others."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(record["right"]), dtype=np.uint8))
    return bits.astype(np.float64)


def _locked(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = cache_home() / "scoreboard"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{path.name}.lock")
