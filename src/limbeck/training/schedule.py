"""The learning rate's factor: a pure function of the step."""

from __future__ import annotations

import math

from limbeck.recipe.training import Cosine, OneCycle


def factor(schedule: Cosine | OneCycle, step: int, steps: int) -> float:
    """What the largest learning rate is multiplied by.

    Args:
        schedule: The shape of the curve.
        step: Which step, counted from 0 to ``steps - 1``.
        steps: How many there are.

    Returns:
        A number between 0 and 1; at the last step ``schedule.final``, except where the rise fills all steps.

    References:
        Loshchilov & Hutter, `SGDR <https://arxiv.org/abs/1608.03983>`_, 2016; Smith & Topin,
        `Super-convergence <https://arxiv.org/abs/1708.07120>`_, 2017.
    """
    match schedule:
        case Cosine():
            return _cosine(schedule, step, steps)
        case OneCycle():
            return _one_cycle(schedule, step, steps)


def _cosine(schedule: Cosine, step: int, steps: int) -> float:
    warmup = schedule.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    return _eased(1.0, schedule.final, step - warmup, steps - 1 - warmup)


def _one_cycle(schedule: OneCycle, step: int, steps: int) -> float:
    peak = round(schedule.warmup_share * (steps - 1))
    if step < peak:
        return _eased(schedule.start, 1.0, step, peak)
    return _eased(1.0, schedule.final, step - peak, steps - 1 - peak)


def _eased(first: float, last: float, position: int, length: int) -> float:
    """Half a cosine from ``first`` at 0 to ``last`` at ``length``; ``first`` where there is no length."""
    if length <= 0:
        return first
    share = min(position / length, 1.0)
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
