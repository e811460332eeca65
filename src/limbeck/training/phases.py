"""Where the time of a training goes: a clock that the loop tells what it is about to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import torch

from limbeck.training.terms import Batches
from limbeck.types import Batch, Pool

PHASES: Final = (
    "data",
    "teacher",
    "student forward",
    "loss",
    "backward",
    "optimizer",
    "validation",
    "checkpoint",
)
"""What is told apart; everything else is ``other``."""
_NOTHING: Final = nullcontext()


class Clock:
    """Seconds spent in each phase. A phase inside another is taken out of it, so that they add up.

    Reading a clock changes no number. On an accelerator it waits for the device at every change, and a training that
    is timed so is slower.

    Args:
        device: Where the student is trained.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = dict.fromkeys((*PHASES, "other"), 0.0)
        self._waits = device.type == "cuda"
        self._within = ["other"]
        self._since: float | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block as ``name``, and show it so in a trace."""
        self._turn()
        self._within.append(name)
        try:
            with torch.profiler.record_function(f"limbeck: {name}"):
                yield
        finally:
            self._turn()
            self._within.pop()

    def start(self) -> None:
        """Count from now on."""
        self._since = self._now()

    def stop(self) -> None:
        """Count no longer."""
        self._turn()
        self._since = None

    def _turn(self) -> None:
        if self._since is None:
            return
        now = self._now()
        self.seconds[self._within[-1]] += now - self._since
        self._since = now

    def _now(self) -> float:
        if self._waits:
            torch.cuda.synchronize()
        return time.perf_counter()


def phase(clock: Clock | None, name: str) -> AbstractContextManager[None]:
    """A block that a clock counts as ``name``, where there is one."""
    return _NOTHING if clock is None else clock.phase(name)


class TimedBatches:
    """The same batches; making them counts as ``data``, whoever asks."""

    def __init__(self, stream: Batches, clock: Clock) -> None:
        self._stream, self._clock = stream, clock

    def batch(self, number: int) -> Batch:
        """The batch of a step."""
        with self._clock.phase("data"):
            return self._stream.batch(number)

    def clean(self, batch: Batch) -> Batch:
        """The same samples without augmentation."""
        with self._clock.phase("data"):
            return self._stream.clean(batch)

    @property
    def pool(self) -> Pool:
        """What the batches come from."""
        return self._stream.pool
