"""Holm's correction: p-values of several comparisons, so that all claims together are wrong in few cases."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusted p-values: a claim with one of at most 0.05 holds in a family that errs at all in 5 % of cases.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none falls below one before it, nor rises
    above 1.

    Args:
        p_values: Of one family of comparisons, by name.

    References:
        Holm, `A Simple Sequentially Rejective Multiple Test Procedure <https://www.jstor.org/stable/4615733>`_, 1979.
    """
    adjusted: dict[Name, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        least = max(least, min(1.0, p_values[name] * (len(p_values) - place)))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}
