"""Budgets and paces: what is admitted, when, and what stops."""

from __future__ import annotations

import pytest

from limbeck.errors import BudgetError
from limbeck.teachers import Limits, Spent
from limbeck.teachers.limits import Budget


def _budget(**limits: object) -> Budget:
    return Budget(Limits.model_validate(limits), name="the judge")


def test_without_limits_everything_begins_now() -> None:
    budget = _budget()
    assert [budget.admit(10, now=7.0) for _ in range(100)] == [7.0] * 100
    assert budget.spent == Spent(100, 1000, 0.0)


@pytest.mark.parametrize(
    ("limits", "spacing"),
    [
        ({"requests_per_second": 4}, 0.25),
        ({"samples_per_second": 20}, 0.5),
        ({"requests_per_second": 4, "samples_per_second": 20}, 0.5),
    ],
)
def test_a_rate_spaces_the_beginnings(limits: dict[str, int], spacing: float) -> None:
    budget = _budget(**limits)
    begins = [budget.admit(10, now=1.0) for _ in range(5)]
    assert begins == [1.0 + number * spacing for number in range(5)]
    assert budget.admit(10, now=100.0) == 100.0


def test_who_asks_for_a_pause_gets_one() -> None:
    budget = _budget()
    budget.pause(3.0, now=10.0)
    assert budget.admit(1, now=11.0) == 13.0


@pytest.mark.parametrize(
    ("limits", "admitted", "field"),
    [
        ({"most_requests": 3}, 3, "most_requests"),
        ({"most_samples": 25}, 2, "most_samples"),
        (
            {"most_money": 1.0, "price_per_request": 0.1, "price_per_sample": 0.015},
            4,
            "most_money",
        ),
    ],
)
def test_a_budget_admits_what_it_covers_and_then_nothing(
    limits: dict[str, float], admitted: int, field: str
) -> None:
    budget = _budget(**limits)
    for _ in range(admitted):
        budget.admit(10, now=0.0)
    before = budget.spent
    for samples in (
        10,
        1,
    ):  # not even a smaller one: what was refused first must stay the first that is missing
        with pytest.raises(BudgetError, match=rf"the judge is spent: {field} .*label again"):
            budget.admit(samples, now=0.0)
    assert budget.spent == before


def test_money_is_counted_at_the_stated_prices() -> None:
    budget = _budget(price_per_request=0.5, price_per_sample=0.25)
    budget.admit(8, now=0.0)
    budget.admit(4, now=0.0)
    assert budget.spent == Spent(2, 12, 4.0)
