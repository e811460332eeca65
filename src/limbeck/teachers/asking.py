"""Asking many questions at once: answers in order, with patience where a teacher is slow or fails now and then."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from limbeck.errors import RetryableError, TeacherError
from limbeck.teachers.acceptance import check_logits
from limbeck.teachers.limits import Budget, Limits, Spent
from limbeck.types import Batch, Offer, Outputs, digest

Question = TypeVar("Question")
Answer = TypeVar("Answer")

_PASSING: Final = (RetryableError, ConnectionError, TimeoutError)
"""What may pass by itself."""

_RANDOM: Final = secrets.SystemRandom()


def asked(
    questions: Iterable[Question], ask: Callable[[Question], Answer], *, in_flight: int
) -> Iterator[Answer]:
    """The answers to questions, in their order, with several of them on their way at once.

    A question is taken from ``questions`` no earlier than it can be asked. Where one fails, the answers before it
    have been yielded, and no other is begun.

    Args:
        questions: Any number.
        ask: Called from several threads where ``in_flight`` is above 1.
        in_flight: How many may wait for an answer; with 1 everything happens in this thread.
    """
    if in_flight == 1:
        yield from map(ask, questions)
        return
    waiting: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="limbeck-asking")
    try:
        for question in questions:
            waiting.append(pool.submit(ask, question))
            if len(waiting) == in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class RemoteTeacher:
    """A teacher that somebody else runs: asked within limits, and again where it fails for a moment.

    Args:
        ask: From a batch to logits ``[batch, classes]``; called from several threads. It raises
            :class:`~limbeck.errors.RetryableError`, ``ConnectionError`` or ``TimeoutError`` for what may pass by
            itself, and sets its own time-out.
        classes: How many it answers for.
        version: What its owner calls this state of it; part of the digest.
        limits: Rate, budget, patience.
        name: How errors and stores name it.
    """

    def __init__(
        self,
        ask: Callable[[Batch], object],
        *,
        classes: int,
        version: str,
        limits: Limits | None = None,
        name: str = "remote teacher",
    ) -> None:
        if not version:
            raise TeacherError(
                f"The {name} names no version; expected one, so that stored answers are not taken for those of a "
                "later state. Give version='1' and change it whenever the answers change."
            )
        self.name, self._ask, self._version = name, ask, version
        self._limits = limits if limits is not None else Limits()
        self._budget = Budget(self._limits, name=f"the {name}")
        self._offer = Offer(classes=classes, in_flight=self._limits.in_flight)

    @property
    def offer(self) -> Offer:
        """Dense logits, and how many batches it may be asked about at once."""
        return self._offer

    @property
    def digest(self) -> str:
        """Changes with the name, the version and the classes."""
        return digest(["remote", self.name, self._version, self._offer.classes])

    @property
    def spent(self) -> Spent:
        """What this process has used of the budget."""
        return self._budget.spent

    def __call__(self, batch: Batch) -> Outputs:
        """Logits for a batch.

        Raises:
            BudgetError: If the budget does not allow it.
            TeacherError: If every attempt failed, or the answer is no ``[batch, classes]``.
        """
        owner = f"The {self.name}"
        answer = self._patiently(batch)
        logits = check_logits(answer, examples=len(batch), classes=self._offer.classes, owner=owner)
        return Outputs(logits.float())

    def _patiently(self, batch: Batch) -> object:
        for attempt in range(1, self._limits.attempts + 1):
            begins = self._budget.admit(len(batch), now=time.monotonic())
            time.sleep(max(0.0, begins - time.monotonic()))
            try:
                return self._ask(batch)
            except _PASSING as error:
                last: Exception = error
            if attempt < self._limits.attempts:
                self._wait(attempt, last)
        raise TeacherError(
            f"The {self.name} failed {self._limits.attempts} times in a row to answer for {len(batch)} samples, at "
            f"last with {type(last).__name__}: {last}. Expected an answer. What is stored stays: see to the teacher "
            "or raise attempts, and label again to go on."
        ) from last

    def _wait(self, attempt: int, error: Exception) -> None:
        longest = min(self._limits.longest_wait_seconds, self._limits.backoff_seconds * 2 ** (attempt - 1))
        seconds = longest * (1 - _RANDOM.random() / 2)
        if isinstance(error, RetryableError) and error.after_seconds is not None:
            self._budget.pause(error.after_seconds, now=time.monotonic())
            seconds = max(seconds, error.after_seconds)
        time.sleep(seconds)
