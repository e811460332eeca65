"""How fast, how often and how much a slow teacher may be asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from limbeck.errors import BudgetError
from limbeck.types import Frozen


class Limits(Frozen):
    """What a teacher that somebody else runs allows, and what its owner wants to spend in one process."""

    in_flight: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests that wait for an answer at once."""

    attempts: PositiveInt = 5
    """How often a request is made before it counts as failed; only what may pass by itself is tried again."""

    backoff_seconds: NonNegativeFloat = 0.5
    """The wait before the second attempt, doubled each time, and shortened at random by up to half."""

    longest_wait_seconds: PositiveFloat = 60.0
    """No such wait is longer, unless the teacher itself asks for it."""

    requests_per_second: PositiveFloat | None = None
    """Attempts begun in a second, evenly spaced; null: as many as fit."""

    samples_per_second: PositiveFloat | None = None
    """Samples asked about in a second, evenly spaced; null: as many as fit."""

    most_requests: PositiveInt | None = None
    """Attempts in all, then it stops."""

    most_samples: PositiveInt | None = None
    """Samples asked about in all, repeated attempts counted again, then it stops."""

    most_money: NonNegativeFloat | None = None
    """What may be spent at the two prices, in their currency, then it stops."""

    price_per_request: NonNegativeFloat = 0.0
    """What one attempt costs."""

    price_per_sample: NonNegativeFloat = 0.0
    """What one sample costs, on top of the attempt."""

    def money(self, requests: int, samples: int) -> float:
        """What so much costs."""
        return requests * self.price_per_request + samples * self.price_per_sample


@dataclass(frozen=True, slots=True)
class Spent:
    """What has been used of the limits, failed attempts included."""

    requests: int = 0
    samples: int = 0
    money: float = 0.0


class Budget:
    """Counts what is spent, for all threads, and says when the next attempt may begin.

    Args:
        limits: What is allowed.
        name: How an error names the teacher.
    """

    def __init__(self, limits: Limits, *, name: str) -> None:
        self._limits, self._name = limits, name
        self._lock = threading.Lock()
        self._requests = self._samples = 0
        self._free = float("-inf")
        self._over: str | None = None

    @property
    def spent(self) -> Spent:
        """Up to now."""
        with self._lock:
            return Spent(self._requests, self._samples, self._limits.money(self._requests, self._samples))

    def admit(self, samples: int, *, now: float) -> float:
        """Count one attempt, and return when it may begin, on the clock that ``now`` is from.

        Raises:
            BudgetError: If it would go beyond the budget; from then on nothing is admitted.
        """
        with self._lock:
            self._over = self._over or self._beyond(self._requests + 1, self._samples + samples)
            if self._over is not None:
                raise BudgetError(self._over)
            self._requests, self._samples = self._requests + 1, self._samples + samples
            begins = max(now, self._free)
            self._free = begins + self._spacing(samples)
            return begins

    def pause(self, seconds: float, *, now: float) -> None:
        """Let nothing begin for a while: the teacher asked for it."""
        with self._lock:
            self._free = max(self._free, now + seconds)

    def _spacing(self, samples: int) -> float:
        rates = ((1, self._limits.requests_per_second), (samples, self._limits.samples_per_second))
        return max((count / rate for count, rate in rates if rate is not None), default=0.0)

    def _beyond(self, requests: int, samples: int) -> str | None:
        limits = self._limits
        wanted = {
            "most_requests": (requests, limits.most_requests),
            "most_samples": (samples, limits.most_samples),
            "most_money": (limits.money(requests, samples), limits.most_money),
        }
        for field, (value, most) in wanted.items():
            if most is not None and value > most:
                return (
                    f"The budget for {self._name} is spent: {field} is {most:g}, and the next request would make it "
                    f"{value:g} (so far {self._requests:,} requests about {self._samples:,} samples, "
                    f"{limits.money(self._requests, self._samples):g} spent). What is stored stays; raise {field} "
                    "and label again to go on."
                )
        return None
