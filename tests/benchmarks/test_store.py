"""The store's benchmark without the peers that must be installed: all read the same, sizes are as computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.store import __main__ as bench
from benchmarks.store import ours, peers
from benchmarks.store.rows import BYTES_BY_HAND, ROW, answers, rows_of, taken_rows

BUILT_IN = {name: peers.PEERS[name] for name in ("numpy memmap", "SQLite", "sample files")}


def test_a_row_holds_the_likeliest_classes_and_the_mass_of_the_others() -> None:
    logits = answers(4)
    rows = rows_of(logits)
    assert ROW.itemsize == BYTES_BY_HAND
    classes, log_probs, tail = taken_rows(rows)
    assert torch.equal(classes[:, 0], logits.argmax(1))
    mass = log_probs.exp().sum(1) + tail.exp()
    assert torch.allclose(mass, torch.ones(4), atol=5e-3)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_reader_gives_what_was_kept(name: str, tmp_path: Path) -> None:
    rows = rows_of(answers(64))
    places = np.random.default_rng(0).permutation(64)[:20]
    for found, wanted in zip(BUILT_IN[name](rows, tmp_path)(places), taken_rows(rows[places]), strict=True):
        assert torch.equal(found, wanted)


def test_limbecks_store_gives_the_same(tmp_path: Path) -> None:
    rows = rows_of(answers(64))
    ids, read = ours.reader(rows, tmp_path / "store")
    places = torch.randperm(64)[:20]
    for found, wanted in zip(read(ids[places]), taken_rows(rows[places.numpy()]), strict=True):
        assert torch.equal(found, wanted)


def test_limbeck_is_measured_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PEERS", BUILT_IN)
    monkeypatch.setattr(bench, "PIECE_SECONDS", 0.0)
    rows = rows_of(answers(300))
    readers, asked = bench.prepared(rows, tmp_path)
    reads = bench.read_seconds(readers, asked, len(rows), repetitions=1)
    assert set(reads) == {*BUILT_IN, "limbeck", "numpy memmap, told the place"}
    assert bench.fastest(reads, told=True) == "numpy memmap, told the place"
    assert set(bench._read_figures(reads)) >= {"fastest_over_random_read", "sample_files_over_random_read"}
    sizes = bench.bytes_per_row(tmp_path / "limbeck", len(rows))
    assert sizes["answers"] == BYTES_BY_HAND < sizes["everything"]
    writes = bench.write_seconds(rows, tmp_path, writes=1)
    assert "write_over_numpy" in bench._write_figures(writes)
