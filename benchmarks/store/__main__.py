"""``make bench NAME=store``: random reads and sequential writing, all readers in one run, in a warm page cache."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch

from benchmarks.form import peers_versions, ratio, write
from benchmarks.store import ours
from benchmarks.store.peers import BY_PLACE, PEERS, Numbers, by_id, written_by_numpy
from benchmarks.store.rows import BATCH, BYTES_BY_HAND, ROW, ROWS, K, many_rows

REPETITIONS: Final = 15
PIECE_SECONDS: Final = 0.1
WRITES: Final = 9
LIMBECK: Final = "limbeck"
_FEWEST_BATCHES: Final = 2
_MOST_BATCHES: Final = 400
_NEAR: Final = round(1 / 1.3, 3)

Reader = Callable[[Any], object]
Seconds = dict[str, dict[str, list[float]]]
"""By name and clock, in each repetition."""


def main() -> None:
    """Measure and write ``results/store.json``."""
    torch.set_num_threads(1)
    rows = many_rows()
    with TemporaryDirectory() as home:
        readers, questions = prepared(rows, Path(home))
        reads = read_seconds(readers, questions, len(rows))
        writes = write_seconds(rows, Path(home))
        sizes = bytes_per_row(Path(home) / LIMBECK, len(rows))
    figures = {**_read_figures(reads), **_write_figures(writes), **_size_figures(sizes)}
    path = write(
        "store", figures,
        versions=peers_versions("pyarrow", "lmdb"),
        tables=[
            _table("Reading a batch, microseconds", reads, 1e6),
            _table("Writing all rows, milliseconds", writes, 1e3),
        ],
        notes=_notes(reads),
        setting={"rows": ROWS, "batch": BATCH, "top_k": K, "bytes_by_hand": BYTES_BY_HAND, "threads": 1},
    )  # fmt: skip
    print(path.read_text())


def prepared(rows: Any, home: Path) -> tuple[dict[str, Reader], Callable[[str, Numbers], Any]]:
    """Every reader, with its files written; and what a reader is asked for some places."""
    place = home / LIMBECK
    ids, read = ours.reader(rows, place)
    readers: dict[str, Reader] = {LIMBECK: read}
    sorted_ids = ids.numpy()
    for name, make in PEERS.items():
        folder = home / name.replace(" ", "-")
        folder.mkdir()
        found = make(rows, folder)
        readers[f"{name}, told the place" if name in BY_PLACE else name] = found
        if name in BY_PLACE:
            readers[name] = by_id(found, sorted_ids)

    def asked(name: str, places: Numbers) -> Any:
        if name == LIMBECK:
            return ids[torch.from_numpy(places)]
        return sorted_ids[places] if name in BY_PLACE else places

    return readers, asked


def read_seconds(
    readers: Mapping[str, Reader],
    asked: Callable[[str, Numbers], Any],
    rows: int,
    repetitions: int = REPETITIONS,
) -> Seconds:
    """Seconds of one batch of distinct random samples, in each repetition; the first of each reader warms up."""
    draw = np.random.default_rng(0)

    def batches(name: str, count: int) -> list[Any]:
        return [asked(name, draw.choice(rows, BATCH, replace=False)) for _ in range(count)]

    counts = {name: _batches_a_piece(read, batches(name, _FEWEST_BATCHES)) for name, read in readers.items()}
    found: Seconds = {name: {"cpu": [], "wall": []} for name in readers}
    order = random.Random(0)  # noqa: S311
    for repetition in range(repetitions + 1):
        for name in order.sample(sorted(readers), len(readers)):
            spent = _timed(readers[name], batches(name, counts[name]))
            if repetition:
                _note(found[name], *spent)
    return found


def write_seconds(rows: Any, home: Path, writes: int = WRITES) -> Seconds:
    """Seconds of writing all rows, in each repetition."""
    ids = ours.sample_ids(len(rows)).numpy()
    blocks = [rows[start : start + ours.SHARD_ROWS] for start in range(0, len(rows), ours.SHARD_ROWS)]
    place = home / "writing"
    ways: dict[str, Callable[[], object]] = {
        LIMBECK: lambda: ours.written(rows, ids, place / LIMBECK),
        "numpy": lambda: written_by_numpy(blocks, place / "rows.bin", each=False),
        "numpy, each block on the disk": lambda: written_by_numpy(blocks, place / "rows.bin", each=True),
    }
    found: Seconds = {name: {"cpu": [], "wall": []} for name in ways}
    order = random.Random(0)  # noqa: S311
    for repetition in range(writes + 1):
        for name in order.sample(sorted(ways), len(ways)):
            place.mkdir()
            cpu, wall = time.process_time(), time.perf_counter()
            ways[name]()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            shutil.rmtree(place)
            if repetition:
                _note(found[name], *spent)
    return found


def bytes_per_row(store: Path, rows: int) -> dict[str, float]:
    """Bytes of the answers alone, and of everything that the store's folder holds, for each row."""
    everything = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    return {"answers": (store / "answers.bin").stat().st_size / rows, "everything": everything / rows}


def fastest(seconds: Seconds, *, told: bool) -> str:
    """The quickest peer: of those that are asked by id, or of those that are told the place."""
    peers = [name for name in seconds if name != LIMBECK and name.endswith("told the place") == told]
    return min(peers, key=lambda name: median(seconds[name]["cpu"]))


def _read_figures(reads: Seconds) -> dict[str, Any]:
    pairs = {
        "fastest_over_random_read": (fastest(reads, told=False), _NEAR),
        "fastest_told_the_place_over_random_read": (fastest(reads, told=True), _NEAR),
        "sample_files_over_random_read": ("sample files", 50),
    }
    found = {}
    for name, (peer, goal) in pairs.items():
        cpu, wall = (
            ratio(reads[peer][clock], reads[LIMBECK][clock], better="higher") for clock in ("cpu", "wall")
        )
        found[name] = {**cpu, "goal": goal, "peer": peer}
        found[f"{name}_wall"] = {**wall, "peer": peer}
    return found


def _write_figures(writes: Seconds) -> dict[str, Any]:
    found = {}
    for name, peer in (
        ("write_over_numpy", "numpy"),
        ("write_over_numpy_each_block", "numpy, each block on the disk"),
    ):
        found[name] = ratio(writes[LIMBECK]["cpu"], writes[peer]["cpu"], better="lower", goal=1.5)
        found[f"{name}_wall"] = ratio(writes[LIMBECK]["wall"], writes[peer]["wall"], better="lower")
    return found


def _size_figures(sizes: Mapping[str, float]) -> dict[str, Any]:
    form = {"unit": "bytes", "better": "lower"}
    return {
        "bytes_per_row": {"value": round(sizes["answers"], 3), **form, "goal": BYTES_BY_HAND},
        "bytes_per_row_with_ids_and_checksums": {"value": round(sizes["everything"], 3), **form},
    }


def _notes(reads: Seconds) -> list[str]:
    ours_median = median(reads[LIMBECK]["cpu"])
    slower = [
        f"{name} needs {median(clocks['cpu']) / ours_median:.2f} of Limbeck's CPU time."
        for name, clocks in reads.items()
        if median(clocks["cpu"]) < ours_median
    ]
    return [
        f"{ROWS:,} rows of {ROW.itemsize} bytes, batches of {BATCH} distinct random samples on one thread, "
        "everything in the page cache; every reader gives tensors as a loss takes them (int64 classes, float32 "
        "numbers).",
        "Samples are asked for by ids, which are hashes of their content: numpy's memmap, Arrow and Parquet look "
        "them up with numpy's search in sorted ids. `told the place`: the same without any look-up, which Limbeck's "
        "reader cannot leave out. `fastest_over_random_read` is the quickest peer's time over Limbeck's: "
        "above 1, Limbeck is quicker; within 1.3 times means at least 0.769.",
        "Limbeck writes ids, manifest and a checksum for each block beside the answers, and waits for the disk for "
        "each of these four files; numpy writes one file and waits for the disk once, or after each block.",
        *(slower or ["No peer is quicker."]),
    ]


def _table(title: str, seconds: Seconds, factor: float) -> dict[str, Any]:
    rows = [
        [name, *(f"{factor * median(clocks[clock]):.1f}" for clock in ("cpu", "wall"))]
        for name, clocks in sorted(seconds.items(), key=lambda pair: median(pair[1]["cpu"]))
    ]
    return {"title": f"{title} (medians)", "columns": ["", "CPU", "wall"], "rows": rows}


def _batches_a_piece(read: Reader, batches: list[Any]) -> int:
    _timed(read, batches)
    _, wall = _timed(read, batches)
    return min(max(round(PIECE_SECONDS / max(wall, 1e-9)), _FEWEST_BATCHES), _MOST_BATCHES)


def _timed(read: Reader, batches: list[Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for batch in batches:
        read(batch)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / len(batches), wall / len(batches)


def _note(clocks: dict[str, list[float]], cpu: float, wall: float) -> None:
    clocks["cpu"].append(cpu)
    clocks["wall"].append(wall)


if __name__ == "__main__":
    main()
