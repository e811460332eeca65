"""The lines of a column: each row of a pair beside its controls, tuned KD, its random teacher and the best row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.scoreboard.comparing import LEVEL, Lead, Results, lead, results, results_of
from benchmarks.scoreboard.holm import holm
from benchmarks.scoreboard.plan import BASELINE, Finished, piece, tuned, tuned_kd
from benchmarks.scoreboard.protocol import PAIRS
from benchmarks.scoreboard.rows import CONTROLS, ROWS, TRIALS
from benchmarks.scoreboard.shards import FIRST_PAIR, SEEDS, Column, Shard

TUNED_KD: Final = "tuned-kd"
"""How the control is called on the board."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the board, and what it was made of."""

    method: str
    row: str
    trial: int
    control: bool
    results: Results


def column(done: Finished, name: Column) -> Iterator[Row]:
    """The rows of ``published`` on all pairs, or of ``tuned`` on the first."""
    for pair in PAIRS if name == "published" else [FIRST_PAIR]:
        yield from _pair(done, name, pair)


def _pair(done: Finished, name: Column, pair: str) -> Iterator[Row]:
    lines = list(_lines(done, name, pair))
    base = results(done, BASELINE, pair)
    kd = _tuned_kd(done, pair)
    compared = [None if _same(line, kd) else lead(line.results, kd and kd.results) for line in lines]
    best = _best(lines)
    for line, against_kd in zip(lines, _corrected(lines, compared), strict=True):
        against = None if line.row == BASELINE else lead(line.results, base)
        yield {
            "method": line.method,
            "pair": pair,
            "column": name,
            "control": line.control,
            "reads_teacher": piece(line.row, pair, line.trial, SEEDS[0]).method.reads.teacher,
            "uses": list({**CONTROLS, **ROWS}[line.row]),
            "trial": TRIALS[line.trial],
            **line.results.facts(),
            "verdict": against.verdict if against else None,
            "against_no_teacher": against.plain() if against else None,
            "against_tuned_kd": against_kd,
            "against_random_teacher": _over_random(done, line, name, pair),
            "against_best": _over_best(line, best),
        }


def _lines(done: Finished, name: Column, pair: str) -> Iterator[Line]:
    forms = [] if name == "tuned" else [(row, 0, True) for row in CONTROLS]
    forms += [(row, trial, False) for row, trial in tuned(done, name, pair).items()]
    for row, trial, control in forms:
        if found := results(done, row, pair, trial):
            yield Line(row, row, trial, control, found)
    if name == "published" and (kd := _tuned_kd(done, pair)):
        yield kd


def _tuned_kd(done: Finished, pair: str) -> Line | None:
    choice = tuned_kd(done, pair)
    found = None if choice is None else results(done, choice[0], pair, choice[1])
    return None if choice is None or found is None else Line(TUNED_KD, *choice, True, found)


def _same(line: Line, other: Line | None) -> bool:
    return other is not None and (line.row, line.trial) == (other.row, other.trial)


def _corrected(lines: list[Line], compared: list[Lead | None]) -> Iterator[Row | None]:
    """What is said against the tuned KD, corrected for how many methods of the pair are compared with it."""
    family = {
        place: found.p
        for place, (line, found) in enumerate(zip(lines, compared, strict=True))
        if not line.control and found is not None and found.p is not None
    }
    adjusted = holm(family)
    for place, (line, found) in enumerate(zip(lines, compared, strict=True)):
        if found is None:
            yield None
            continue
        p = adjusted.get(place)
        word = found.verdict if line.control else _word(found, p)  # a control claims nothing
        yield {**found.plain(), "p_holm": p, "comparisons": len(family), "verdict": word}


def _word(found: Lead, p: float | None) -> str:
    """A win or a loss is claimed where the interval and the corrected p-value both say so."""
    decided = found.verdict in ("beats", "hurts")
    return "open" if decided and (p is None or p > LEVEL) else found.verdict


def _over_random(done: Finished, line: Line, name: Column, pair: str) -> Row | None:
    """Both with the first seed and the published weights."""
    random = results_of(done, Shard(line.row, pair, "random-teacher", 0, SEEDS[0]))
    found = None if line.control or name == "tuned" else lead(line.results, random)
    return found.plain() if found else None


def _best(lines: list[Line]) -> Line | None:
    """The method of the highest accuracy among those with the most seeds that all methods could have."""
    methods = [line for line in lines if not line.control]
    full = [line for line in methods if set(SEEDS) <= set(line.results.records)]
    return max(full or methods, key=lambda line: line.results.accuracy, default=None)


def _over_best(line: Line, best: Line | None) -> Row | None:
    found = None if best is None or _same(line, best) else lead(line.results, best.results)
    return found.plain() if found else None
