"""What there is to train, the most telling first; what later pieces are follows from the results of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from benchmarks.scoreboard import data_free
from benchmarks.scoreboard.ledger import Record
from benchmarks.scoreboard.protocol import PAIRS
from benchmarks.scoreboard.rows import CONTROLS, DOES_NOT_APPLY, ROWS, TRIALS
from benchmarks.scoreboard.shards import EXTRA_SEEDS, FIRST_PAIR, SEEDS, Column, Shard

BASELINE: Final = "no-teacher"
KD: Final = "kd"

Form = tuple[str, int]
"""A row and one of its trials."""

Finished = Mapping[str, Record]
"""Results by key; failures are not among them."""


def shards(done: Finished) -> Iterator[Shard]:
    """Everything that can be told now, each training once.

    First one seed of all rows and pairs, then the controls of whether a method does anything and the students
    without data, then the other seeds, then tuning, and at last more seeds for the rows that are ahead of tuned KD.
    """
    seen = set()
    for shard in _in_order(done):
        if shard.key not in seen:
            seen.add(shard.key)
            yield shard


def tuned_choice(done: Finished, row: str, pair: str) -> int | None:
    """The trial of a row that is best on validation data with the first seed; None until all trials are done."""
    best = _best(done, _forms(row), pair)
    return None if best is None else best[1]


def tuned_kd(done: Finished, pair: str) -> Form | None:
    """The plain KD that others are compared with: the best trial of ``kd``, or ``kd-1`` where that is better."""
    return _best(done, [*_forms(KD), ("kd-1", 0)], pair)


def tuned(done: Finished, column: Column, pair: str) -> dict[str, int]:
    """The trial of each row that a column shows of a pair; rows whose choice is open are left out."""
    if column == "published":
        return dict.fromkeys(ROWS, 0)
    rows = ROWS if pair == FIRST_PAIR else [KD]
    found = {row: tuned_choice(done, row, pair) for row in rows}
    return {row: trial for row, trial in found.items() if trial is not None}


def piece(row: str, pair: str, trial: int, seed: int) -> Shard:
    """The training of a row with a trained teacher."""
    return Shard(row, pair, "tuned" if trial else "published", trial, seed)


def ahead(done: Finished, row: str, pair: str, trial: int) -> bool:
    """Whether a row claims to beat the tuned KD: it is above it with each of the first seeds."""
    choice = tuned_kd(done, pair)
    if choice is None:
        return False
    for seed in SEEDS:
        ours = done.get(piece(row, pair, trial, seed).key)
        theirs = done.get(piece(choice[0], pair, choice[1], seed).key)
        if ours is None or theirs is None or ours["accuracy"] <= theirs["accuracy"]:
            return False
    return True


def _forms(row: str) -> list[Form]:
    return [(row, trial) for trial in range(len(TRIALS))]


def _best(done: Finished, forms: list[Form], pair: str) -> Form | None:
    """The first of those that are best on validation data with the first seed; None until all are done."""
    records = [done.get(piece(row, pair, trial, SEEDS[0]).key) for row, trial in forms]
    scores = [record["validation"] for record in records if record is not None]
    return forms[scores.index(max(scores))] if len(scores) == len(forms) else None


def _in_order(done: Finished) -> Iterator[Shard]:
    yield from _published(SEEDS[:1])
    for row in [*CONTROLS, *ROWS]:
        if piece(row, FIRST_PAIR, 0, SEEDS[0]).method.reads.teacher:
            yield Shard(row, FIRST_PAIR, "random-teacher", 0, SEEDS[0])
    yield from _data_free(SEEDS[:1])
    yield from _published(SEEDS[1:])
    yield from _data_free(SEEDS[1:])
    for pair in PAIRS:  # the control that all are compared with, before the others are tuned
        yield from _trials(KD, pair)
        yield from _chosen(dict([choice]) if (choice := tuned_kd(done, pair)) else {}, pair)
    for row in ROWS:
        yield from _trials(row, FIRST_PAIR)
    yield from _chosen(tuned(done, "tuned", FIRST_PAIR), FIRST_PAIR)
    for pair in PAIRS:
        yield from _extra(done, pair)


def _published(seeds: tuple[int, ...]) -> Iterator[Shard]:
    for seed in seeds:
        for pair in PAIRS:
            for row in [*CONTROLS, *ROWS]:
                if (row, pair) not in DOES_NOT_APPLY:
                    yield piece(row, pair, 0, seed)


def _data_free(seeds: tuple[int, ...]) -> Iterator[Shard]:
    for seed in seeds:
        for pool in data_free.POOLS:
            yield Shard(pool, FIRST_PAIR, "data-free", 0, seed)


def _trials(row: str, pair: str) -> Iterator[Shard]:
    for trial in range(1, len(TRIALS)):
        yield piece(row, pair, trial, SEEDS[0])


def _chosen(choices: Mapping[str, int | None], pair: str) -> Iterator[Shard]:
    for row, trial in choices.items():
        if trial is not None:
            yield from (piece(row, pair, trial, seed) for seed in SEEDS[1:])


def _extra(done: Finished, pair: str) -> Iterator[Shard]:
    """More seeds for what is ahead of tuned KD, and for the two that it is compared with."""
    forms = {*tuned(done, "published", pair).items(), *tuned(done, "tuned", pair).items()}
    claims = sorted(form for form in forms if ahead(done, form[0], pair, form[1]))
    choice = tuned_kd(done, pair)
    if not claims or choice is None:
        return
    for row, trial in [(BASELINE, 0), choice, *claims]:
        yield from (piece(row, pair, trial, seed) for seed in EXTRA_SEEDS)
