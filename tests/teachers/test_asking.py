"""Many questions at once: answers in order, second attempts, and what happens when a teacher stays silent."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor

from limbeck.errors import RetryableError, TeacherError
from limbeck.teachers import Limits, RemoteTeacher, asked
from limbeck.types import Batch, Teacher

QUICK = {"backoff_seconds": 0.001, "attempts": 4}


def _batch(count: int = 5, first: int = 0) -> Batch:
    ids = torch.arange(first, first + count)
    return Batch(ids, ids[:, None].float(), torch.full((count,), -1), torch.full((count,), -1))


def right(batch: Batch) -> Tensor:
    return torch.stack([batch.inputs[:, 0], -batch.inputs[:, 0]], 1)


def remote(ask=right, **limits: object) -> RemoteTeacher:
    return RemoteTeacher(ask, classes=2, version="1", limits=Limits.model_validate(QUICK | limits))


class Flaky:
    """Fails each batch so many times before it answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error = failures, error
        self.calls: dict[int, int] = {}

    def __call__(self, batch: Batch) -> Tensor:
        first = int(batch.ids[0])
        self.calls[first] = self.calls.get(first, 0) + 1
        if self.calls[first] <= self.failures:
            raise self.error
        return right(batch)


@pytest.mark.parametrize("in_flight", [1, 2, 7])
def test_answers_come_in_the_order_of_the_questions(in_flight: int) -> None:
    def slower_at_first(number: int) -> int:
        time.sleep(0.004 * (number % 3 == 0))
        return number

    assert list(asked(range(20), slower_at_first, in_flight=in_flight)) == list(range(20))


def test_so_many_are_in_flight_and_no_more() -> None:
    lock, now, most = threading.Lock(), 0, 0
    met = threading.Barrier(4, timeout=5)

    def counted(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        met.wait()
        with lock:
            now -= 1

    list(asked(range(12), counted, in_flight=4))
    assert most == 4


def test_questions_are_taken_no_earlier_than_they_can_be_asked() -> None:
    taken = 0

    def questions():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    answers = asked(questions(), lambda number: number, in_flight=3)
    assert next(answers) == 0
    assert taken == 3
    answers.close()


def test_what_was_answered_before_a_failure_is_yielded_and_no_more_is_asked() -> None:
    begun: list[int] = []

    def fails_at_five(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise ValueError("five")
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="five"):
        found.extend(asked(range(100), fails_at_five, in_flight=3))
    assert found == [0, 1, 2, 3, 4]
    assert max(begun) < 10


@pytest.mark.parametrize(
    "error",
    [RetryableError("busy", after_seconds=0.001), ConnectionResetError("cut off"), TimeoutError("late")],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_by_itself_is_tried_again(error: Exception) -> None:
    flaky = Flaky(3, error)
    teacher = remote(flaky)
    assert torch.equal(teacher(_batch()).logits, right(_batch()))
    assert flaky.calls == {0: 4}
    assert (teacher.spent.requests, teacher.spent.samples) == (4, 20)  # each attempt is paid for


def test_what_stays_broken_says_how_often_it_was_tried() -> None:
    teacher = remote(Flaky(100, TimeoutError("no answer in 3 s")), attempts=3)
    with pytest.raises(
        TeacherError,
        match=r"failed 3 times .* 5 samples, at last with TimeoutError: no answer in 3 s.*label again",
    ):
        teacher(_batch())


def test_a_mistake_is_not_tried_again() -> None:
    flaky = Flaky(1, ValueError("no such model"))
    with pytest.raises(ValueError, match="no such model"):
        remote(flaky)(_batch())
    assert flaky.calls == {0: 1}


def test_waits_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    teacher = remote(Flaky(100, TimeoutError()), attempts=6, backoff_seconds=1.0, longest_wait_seconds=4.0)
    with pytest.raises(TeacherError):
        teacher(_batch())
    backoffs = [wait for wait in waits if wait > 0]
    assert len(backoffs) == 5
    for wait, longest in zip(backoffs, (1, 2, 4, 4, 4), strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(backoffs)) == 5


def test_a_teacher_that_names_a_time_is_left_alone_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    remote(Flaky(1, RetryableError("busy", after_seconds=30.0)))(_batch())
    assert max(waits) >= 29.9


@pytest.mark.parametrize("answer", [torch.zeros(5, 3), torch.zeros(4, 2), "yes"])
def test_an_answer_of_another_shape_is_refused(answer: object) -> None:
    with pytest.raises(TeacherError, match="The remote teacher answers"):
        remote(lambda batch: answer)(_batch())


def test_it_is_a_teacher_whose_version_counts() -> None:
    teacher = remote(in_flight=7)
    assert isinstance(teacher, Teacher)
    assert (teacher.offer.classes, teacher.offer.in_flight) == (2, 7)
    assert teacher.digest != RemoteTeacher(right, classes=2, version="2").digest
    with pytest.raises(TeacherError, match="names no version"):
        RemoteTeacher(right, classes=2, version="")
