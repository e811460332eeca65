"""Trainings in other processes: what comes back is believed only if it answers the question that was asked."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest

from limbeck.errors import DataError, RunError
from limbeck.pipeline import pool, students
from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.pool import Pool, Worker
from limbeck.pipeline.students import student_arms
from limbeck.recipe import load


class Answering:
    """A pool whose one worker calls everything done."""

    job: str | None = None

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: TracebackType | type | BaseException | None) -> None:
        pass

    def start(self, job: str) -> None:
        self.job = job

    def idle(self) -> list[Any]:
        return [self] if self.job is None else []

    def busy(self) -> bool:
        return self.job is not None

    def replies(self, stage: str) -> Iterator[str]:
        assert self.job is not None
        yield self.job


def test_a_training_made_from_other_inputs_is_refused_and_not_begun_again(
    again: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(students, "Pool", Answering)
    context = Context(load(again.recipe, overrides=("seeds=[0, 1, 2]",)), RunFolder(again.out))
    arms = list(student_arms(context.recipe).values())
    with pytest.raises(RunError, match="seed2 was trained from other inputs"):
        list(students._side_by_side(context, arms))


@pytest.fixture
def replied(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pool without processes whose only worker says one thing."""

    def saying(line: dict[str, Any]) -> Pool:
        monkeypatch.setattr(pool, "Worker", lambda *_: object.__new__(Worker))
        made = object.__new__(Pool)
        made._replies, worker = queue.Queue(), object.__new__(Worker)
        worker.number, worker.job = 0, "student.choice0.seed0"
        made._workers = [worker]
        made._replies.put((0, line))
        return made

    return saying


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"event": "failed", "kind": "DataError", "message": "no data"}, DataError),
        ({"event": "failed", "kind": "RunError", "message": "broke"}, RunError),
        ({"event": "failed", "kind": "Problem", "message": "broke"}, RunError),
        ({"event": "failed", "kind": "nearest", "message": "broke"}, RunError),
        ({"event": "gone", "code": -9}, RunError),
    ],
)
def test_what_a_worker_raises_is_raised_here(
    replied: Any, line: dict[str, Any], kind: type[Exception]
) -> None:
    wanted = line.get("message", "student.choice0.seed0 ended with code -9")
    with pytest.raises(kind, match=wanted):
        list(replied(line).replies("train"))
