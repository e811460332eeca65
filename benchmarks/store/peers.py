"""Other ways to keep rows that are asked for by number, each read in the quickest way that it has.

A number is a row's place here. What has no keys of its own is also read by ids, as :func:`by_id` does.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.store.rows import ROW, K, Taken, taken, taken_rows

Rows = NDArray[Any]
Numbers = NDArray[np.int64]
Read = Callable[[Numbers], Taken]

_FOLDER_ROWS: Final = 1000
_GROUP_ROWS: Final = 1024


def memmap(rows: Rows, home: Path) -> Read:
    """One file, mapped by numpy."""
    rows.tofile(home / "rows.bin")
    held = np.asarray(
        np.memmap(home / "rows.bin", ROW, "r")
    )  # the same pages without the subclass's overhead
    return lambda numbers: taken_rows(held.take(numbers))


def arrow(rows: Rows, home: Path) -> Read:
    """An Arrow IPC file, mapped; its columns are numpy arrays without a copy."""
    import pyarrow as pa

    table = _table(rows)
    with pa.OSFile(str(home / "rows.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    mapped = pa.ipc.open_file(pa.memory_map(str(home / "rows.arrow"))).read_all()
    held = {name: _flat(mapped[name]) for name in ROW.names or ()}
    return lambda numbers: taken(
        *(held[name].take(numbers, axis=0) for name in ("classes", "log_probs", "tail"))
    )


def parquet(rows: Rows, home: Path) -> Read:
    """A Parquet file without compression: the groups of rows that a batch touches are read."""
    import pyarrow.parquet as pq

    path = str(home / "rows.parquet")
    pq.write_table(_table(rows), path, row_group_size=_GROUP_ROWS, compression="none", use_dictionary=False)
    file = pq.ParquetFile(path, memory_map=True)

    def read(numbers: Numbers) -> Taken:
        groups, within = np.divmod(numbers, _GROUP_ROWS)
        touched, place = np.unique(groups, return_inverse=True)
        table = file.read_row_groups(touched.tolist(), use_threads=False)
        chosen = table.take(place * _GROUP_ROWS + within).combine_chunks()
        return taken(*(_flat(chosen[name]) for name in ("classes", "log_probs", "tail")))

    return read


def lmdb(rows: Rows, home: Path) -> Read:
    """LMDB: a key of four bytes for each row, many of them in one call."""
    import lmdb as database

    environment = database.open(str(home / "lmdb"), map_size=1 << 30, sync=False, readahead=False)
    with environment.begin(write=True) as writing:
        cursor = writing.cursor()
        cursor.putmulti((number.to_bytes(4, "big"), row.tobytes()) for number, row in enumerate(rows))
    environment.sync()
    reading = environment.begin(buffers=True)

    def read(numbers: Numbers) -> Taken:
        keys = numbers.astype(">u4").tobytes()
        names = [keys[start : start + 4] for start in range(0, len(keys), 4)]
        found = reading.cursor().getmulti(names)
        return taken_rows(np.frombuffer(b"".join(value for _, value in found), ROW))

    return read


def sqlite(rows: Rows, home: Path) -> Read:
    """SQLite: an integer primary key, one statement for a batch."""
    connection = sqlite3.connect(home / "rows.sqlite")
    connection.execute("PRAGMA mmap_size = 1073741824")
    connection.execute("CREATE TABLE answers (number INTEGER PRIMARY KEY, row BLOB)")
    connection.executemany(
        "INSERT INTO answers VALUES (?, ?)", ((n, row.tobytes()) for n, row in enumerate(rows))
    )
    connection.commit()

    def read(numbers: Numbers) -> Taken:
        marks = ",".join("?" * len(numbers))
        found = connection.execute(
            f"SELECT row FROM answers WHERE number IN ({marks}) ORDER BY number",  # noqa: S608 - marks are marks
            numbers.tolist(),
        ).fetchall()
        ordered = np.frombuffer(b"".join(itertools.chain.from_iterable(found)), ROW)
        return taken_rows(ordered[np.argsort(np.argsort(numbers))])

    return read


def sample_files(rows: Rows, home: Path) -> Read:
    """A file for each sample, as torch.save writes it."""
    for number, row in enumerate(rows):
        place = _sample_file(home, number)
        place.parent.mkdir(exist_ok=True)
        columns = taken_columns(row)
        torch.save(columns, place)

    def read(numbers: Numbers) -> Taken:
        found = [torch.load(_sample_file(home, number), weights_only=False) for number in numbers.tolist()]
        classes, log_probs, tail = (torch.stack([one[name] for one in found]) for name in ROW.names or ())
        return classes.long(), log_probs.float(), tail.float()

    return read


def taken_columns(row: Any) -> Mapping[str, torch.Tensor]:
    """One row as the tensors that a sample's file holds."""
    classes = torch.from_numpy(row["classes"].astype(np.int16))
    return {
        "classes": classes,
        "log_probs": torch.from_numpy(row["log_probs"].copy()),
        "tail": torch.tensor(float(row["tail"]), dtype=torch.float16),
    }


PEERS: Final[dict[str, Callable[[Rows, Path], Read]]] = {
    "numpy memmap": memmap,
    "Arrow IPC": arrow,
    "LMDB": lmdb,
    "SQLite": sqlite,
    "Parquet": parquet,
    "sample files": sample_files,
}


BY_PLACE: Final = ("numpy memmap", "Arrow IPC", "Parquet")
"""What cannot find a row by its id, only by its place; the others have keys, which may as well be ids."""


def by_id(read: Read, ids: Numbers) -> Read:
    """The same for rows whose ids are anything: sorted ids, and numpy's search in them."""
    return lambda wanted: read(np.searchsorted(ids, wanted))


def _sample_file(home: Path, number: int) -> Path:
    return home / f"samples-{number // _FOLDER_ROWS:03}" / f"{number}.pt"


def _table(rows: Rows) -> Any:
    import pyarrow as pa

    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(rows[name].reshape(-1)), K)
        for name in ("classes", "log_probs")
    }
    return pa.table({**columns, "tail": pa.array(rows["tail"].copy())})


def _flat(column: Any) -> NDArray[Any]:
    """A column without gaps as a numpy array over the same memory."""
    chunk = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not str(chunk.type).startswith("fixed_size_list"):
        return chunk.to_numpy(zero_copy_only=True)
    return chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, K)


def written_by_numpy(blocks: Sequence[Rows], path: Path, *, each: bool) -> None:
    """Blocks one after another into one file, which is on the disk at the end; or each as soon as it is written."""
    with path.open("wb") as file:
        for number, block in enumerate(blocks, 1):
            block.tofile(file)
            if each or number == len(blocks):
                file.flush()
                os.fsync(file.fileno())
