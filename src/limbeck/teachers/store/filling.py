"""Filling a store, alone or beside others: claim a missing shard, ask about it, keep it, and go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from limbeck.teachers.asking import asked
from limbeck.teachers.store.claims import POLL_SECONDS, claimed
from limbeck.teachers.store.encoding import encoded
from limbeck.teachers.store.format import StoreFolder
from limbeck.teachers.store.kept_error import joined
from limbeck.teachers.store.questions import Questions, blocks
from limbeck.teachers.store.remote import Remote
from limbeck.teachers.store.writer import write_shard


@dataclass(frozen=True, slots=True)
class Progress:
    """How far labelling has come, in samples."""

    done: int
    """Answered, now or before, by this process or another."""

    total: int
    """In the pool."""

    asked: int
    """Asked for by this call."""

    waiting: bool = False
    """Whether other processes do all that is left to do just now."""


class Filling:
    """One process that fills a store, of which there may be several.

    Args:
        folder: Begun, and not sealed.
        questions: What the teacher is asked.
        order: The source's rows in the order of their ids.
        batch_examples: Samples the teacher is asked about at once.
        left: The shards that are missing or damaged.
        remote: Where shards are kept as well, and may be found; ``None``: nowhere.
    """

    def __init__(
        self,
        folder: StoreFolder,
        questions: Questions,
        order: Int[Tensor, " samples"],
        batch_examples: int,
        left: list[int],
        remote: Remote | None,
    ) -> None:
        self._folder, self._questions, self._order = folder, questions, order
        self._batch_examples, self._remote = batch_examples, remote
        self._left = list(left)
        self._damaged = set(left) & folder.notes().keys()
        self._asked = self._held = 0
        self._look()

    def progress(self, *, current: int = 0, waiting: bool = False) -> Progress:
        """How far all processes have come, with ``current`` samples of a shard that is not kept yet."""
        return Progress(self._held + current, self._folder.manifest.records, self._asked, waiting)

    def _look(self) -> None:
        """Count what is there now, whoever asked for it."""
        folder, noted = self._folder, self._folder.notes().keys() - self._damaged
        open_ = set(self._left) - noted
        self._held = folder.manifest.records - sum(len(folder.records(number)) for number in open_)

    def run(self) -> Iterator[Progress]:
        """Ask until every shard is there; yields after each batch, and while only others are at work."""
        while self._left:
            before = len(self._left)
            for number in self._turn():
                with claimed(self._folder, number) as ours:
                    if ours:
                        yield from self._settle(number)
                if self._folder.answers.exists():  # somebody else has seen all shards whole, and sealed them
                    self._left.clear()
                    return
            if len(self._left) == before:
                self._look()
                yield self.progress(waiting=True)
                time.sleep(POLL_SECONDS)

    def _turn(self) -> list[int]:
        """The shards that are left; beside other machines, from a place of our own, so that we seldom meet."""
        if self._remote is None or not self._left:
            return list(self._left)
        start = self._remote.place % len(self._left)
        return self._left[start:] + self._left[:start]

    def _settle(self, number: int) -> Iterator[Progress]:
        """See to it that a claimed shard is whole: it is already, it is found elsewhere, or the teacher is asked."""
        folder = self._folder
        if not folder.holds(number, folder.notes().get(number)):
            if folder.answers.exists():
                return
            self._damaged.discard(number)
            if self._remote is None or not self._remote.fetch(folder, number):
                yield from self._ask(number)
                if self._remote is not None and (note := folder.notes().get(number)) is not None:
                    self._remote.push(folder, note)
        self._left.remove(number)
        self._look()
        yield self.progress()

    def _ask(self, number: int) -> Iterator[Progress]:
        records, kept, errors, current = self._folder.records(number), [], [], 0
        about = [self._order[block.start : block.stop] for block in blocks(records, self._batch_examples)]
        in_flight = self._questions.teacher.offer.in_flight
        answering = asked(about, self._questions.answers, in_flight=in_flight)
        for rows, answers in zip(about, answering, strict=True):
            part, error = encoded(self._questions.key, answers, self._questions.source.ids[rows])
            kept.append(part)
            errors.append(error)
            current += len(rows)
            self._asked += len(rows)
            if current < len(records):
                yield self.progress(current=current)
        write_shard(
            self._folder,
            number,
            np.concatenate(kept),
            batch_examples=self._batch_examples,
            error=joined(errors),
        )
