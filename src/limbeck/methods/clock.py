"""Where a training stands, for methods that change on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Shape = Literal["linear", "cosine"]


class Clock(nn.Module):
    """Counts the updates of the weights; a buffer, so that a resumed training goes on counting.

    It stays on the CPU, whatever the method's other state is moved to: reading it then waits for no accelerator.

    Args:
        steps: How many there will be, where that matters.
    """

    count: Tensor

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def step(self) -> int:
        """Updates so far."""
        return int(self.count)

    def tick(self) -> None:
        """One update more."""
        self.count += 1

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        return self


def moved(first: float, last: float, *, step: int, steps: int, shape: Shape) -> float:
    """A number on its way from ``first`` at step 0 to ``last`` at the last of ``steps``, where it stays.

    Args:
        first: Where it begins.
        last: Where it ends.
        step: Which step, counted from 0.
        steps: How many there are; with a single one the number does not move.
        shape: ``linear``, or ``cosine`` for half a cosine, which is slow at both ends.
    """
    share = min(step / max(steps - 1, 1), 1.0)
    return first + (last - first) * (share if shape == "linear" else (1 - math.cos(math.pi * share)) / 2)
