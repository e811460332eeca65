"""Files of one or more runs, timed side by side in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.data import Preprocessing
from limbeck.errors import UserError
from limbeck.evaluation import cost_per_million, energy_per_million, measure, peak_memory
from limbeck.export import open_onnx
from limbeck.files import read_json
from limbeck.pipeline.folder import existing
from limbeck.recipe import Evaluation
from limbeck.reports import Efficiency
from limbeck.threads import FILE_THREADS

BLOCK_EXAMPLES = 32
THREADS = FILE_THREADS


@dataclass(frozen=True, slots=True)
class Timed:
    """One file and what it needs."""

    run: str
    path: str
    bytes: int
    efficiency: Efficiency


def time_files(
    files: Sequence[Path], block: NDArray[Any], settings: Evaluation, *, memory: bool = True
) -> dict[Path, Efficiency]:
    """Latency, throughput, CPU time, memory, cost and energy of ONNX files, interleaved in this process.

    Args:
        files: ONNX files that take the same raw input.
        block: Raw samples for the throughput; the first of them for the latency.
        settings: Repetitions, price and power.
        memory: Measure the peak memory too, in a process for each file.
    """
    runners = {str(path): open_onnx(path, threads=THREADS) for path in files}
    timed = measure(runners, block[:1], block, repetitions=settings.latency_repetitions)
    found = {}
    for path in files:
        row = timed[str(path)]
        found[path] = Efficiency(
            p50_ms=row.p50_ms,
            p95_ms=row.p95_ms,
            examples_per_second=row.examples_per_second,
            cpu_ms=row.cpu_ms,
            peak_rss_mb=peak_memory(path).total_mb if memory else 0.0,
            cost_per_million=cost_per_million(row.cpu_ms, settings.price_per_cpu_hour),
            energy_per_million=asdict(energy_per_million(row.cpu_ms, settings.watts_per_core)),
        )
    return found


def bench(runs: Sequence[Path], *, repetitions: int) -> Iterator[Timed]:
    """Time every ONNX file of some runs; files that take the same input are interleaved.

    Args:
        runs: Run folders.
        repetitions: Interleaved rounds.

    Raises:
        UserError: If a folder is no run, or has no ONNX file.
    """
    groups: dict[tuple[Any, ...], list[Path]] = {}
    for run in runs:
        files = sorted(existing(run).exports.glob("*.onnx"))
        if not files:
            raise UserError(f"{run} has no ONNX file. Finish the run, with onnx among export.formats.")
        groups.setdefault(_raw_shape(run), []).extend(files)
    settings = Evaluation(latency_repetitions=repetitions)
    for shape, files in groups.items():
        for path, efficiency in time_files(files, _samples(shape), settings).items():
            yield Timed(str(path.parents[1]), path.name, path.stat().st_size, efficiency)


def _raw_shape(run: Path) -> tuple[Any, ...]:
    facts = read_json(run / "student" / "preprocessing.json")
    facts.pop("classes")
    preprocessing = Preprocessing.model_validate(facts)
    if preprocessing.kind == "image" and preprocessing.size is not None:
        return ("uint8", *preprocessing.size, 1 if preprocessing.colour == "grey" else 3)
    return ("float32", *read_json(run / "student" / "model.json")["shape"])


def _samples(shape: tuple[Any, ...]) -> NDArray[Any]:
    generator = np.random.default_rng(0)
    if shape[0] == "uint8":
        return generator.integers(0, 256, (BLOCK_EXAMPLES, *shape[1:]), dtype=np.uint8)
    return generator.standard_normal((BLOCK_EXAMPLES, *shape[1:]), dtype=np.float32)
