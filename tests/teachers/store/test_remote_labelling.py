"""A store filled by a teacher that is slow, fails now and then, and costs money."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limbeck.errors import BudgetError, RetryableError
from limbeck.teachers import Limits, RemoteTeacher
from limbeck.teachers.store import Progress, label, open_store, store_key
from limbeck.types import Batch

BATCH = 2


class Judge:
    """Answers from a model, but fails the first attempt at every third batch."""

    def __init__(self, teacher) -> None:
        self.teacher = teacher
        self.asked: list[int] = []
        self._failed: set[int] = set()

    def __call__(self, batch: Batch) -> torch.Tensor:
        first = int(batch.ids[0])
        if first % 3 == 0 and first not in self._failed:
            self._failed.add(first)
            raise RetryableError("busy")
        self.asked += batch.ids.tolist()
        return self.teacher(batch).logits

    def remote(self, **limits: object) -> RemoteTeacher:
        found = Limits.model_validate({"backoff_seconds": 0.001, "in_flight": 3} | limits)
        return RemoteTeacher(self, classes=3, version="1", limits=found)


def filled(teacher, pool, preprocessing, cache: Path) -> list[Progress]:
    key = store_key(teacher, pool, preprocessing, keep="float32")
    return list(label(teacher, pool, preprocessing, key, batch_examples=BATCH, cache=cache))


def stored(teacher, pool, preprocessing, cache: Path) -> torch.Tensor:
    store = open_store(store_key(teacher, pool, preprocessing, keep="float32"), cache=cache)
    return store.answers(pool.ids, torch.full_like(pool.ids, -1))


def test_what_is_stored_does_not_depend_on_failures_or_on_how_many_are_in_flight(
    teacher, pool, preprocessing, tmp_path: Path
) -> None:
    found = []
    for in_flight in (1, 3, 8):
        remote, cache = Judge(teacher).remote(in_flight=in_flight), tmp_path / str(in_flight)
        progress = filled(remote, pool, preprocessing, cache)
        assert progress[-1].done == len(pool)
        assert [each.done for each in progress] == sorted(each.done for each in progress)
        found.append(stored(remote, pool, preprocessing, cache))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_spent_budget_stops_and_the_next_call_goes_on(teacher, pool, preprocessing, tmp_path: Path) -> None:
    judge = Judge(teacher)
    with pytest.raises(BudgetError, match=r"most_samples is 40.*label again"):
        filled(judge.remote(most_samples=40), pool, preprocessing, tmp_path)
    paid = len(judge.asked)
    assert 0 < paid <= 40
    progress = filled(judge.remote(), pool, preprocessing, tmp_path)
    kept = progress[0].done
    assert kept >= paid - 4 * 3 * BATCH  # what one shard holds, at most, is asked for again
    assert kept > 0
    assert progress[-1].asked == len(pool) - kept
    inputs = preprocessing.apply(pool.raw(torch.arange(len(pool))))
    expected = teacher(Batch(pool.ids, inputs, pool.labels, pool.labels)).logits
    torch.testing.assert_close(stored(judge.remote(), pool, preprocessing, tmp_path), expected)
