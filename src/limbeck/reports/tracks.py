"""Where a value lies on a line, in percent of its width: small charts that need no script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """A line from ``low`` to ``high``."""

    low: int | float
    high: int | float

    def at(self, value: int | float) -> str:
        """The place of a value, 0 to 100, as CSS takes it."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}"

    def width(self, low: int | float, high: int | float) -> str:
        """The length from one value to another, either way round."""
        return f"{abs(float(self.at(high)) - float(self.at(low))):.2f}"

    def start(self, *values: int | float) -> str:
        """The place of the smallest of some values."""
        return self.at(min(values))


def scale(values: Iterable[int | float | None], *, step: float) -> Scale:
    """A line that holds all values, from one multiple of ``step`` to another.

    Args:
        values: Those that are None do not count; none at all give a line of one step.
        step: Positive.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Scale(0.0, step)
    low, high = math.floor(min(known) / step) * step, math.ceil(max(known) / step) * step
    return Scale(low, high if high > low else low + step)


def padded(values: Iterable[int | float], share: float = 0.06) -> Scale:
    """A line that holds all values and zero, with some room at both ends."""
    known = [0.0, *values]
    room = share * (max(known) - min(known)) or 1.0
    return Scale(min(known) - room, max(known) + room)
