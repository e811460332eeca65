from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.recipe.training import Cosine, OneCycle
from limbeck.training.schedule import factor

SHAPES = [
    Cosine(),
    Cosine(warmup_steps=5),
    Cosine(final=0.1),
    Cosine(warmup_steps=4, final=0.2),
    OneCycle(),
    OneCycle(warmup_share=0.5, start=0.1, final=0.05),
    OneCycle(warmup_share=0.0),
]
every_schedule = pytest.mark.parametrize("schedule", SHAPES, ids=str)


def curve(schedule: Cosine | OneCycle, steps: int) -> list[float]:
    return [factor(schedule, step, steps) for step in range(steps)]


@every_schedule
def test_ends_at_final(schedule: Cosine | OneCycle) -> None:
    assert curve(schedule, 40)[-1] == pytest.approx(schedule.final, abs=1e-12)


@every_schedule
def test_peaks_at_exactly_the_learning_rate(schedule: Cosine | OneCycle) -> None:
    assert max(curve(schedule, 40)) == 1.0


@every_schedule
def test_rises_to_its_peak_and_falls_from_it(schedule: Cosine | OneCycle) -> None:
    factors = curve(schedule, 40)
    peak = factors.index(1.0)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


@every_schedule
@given(steps=st.integers(1, 30), step=st.integers(0, 29))
def test_stays_between_nothing_and_the_learning_rate(
    schedule: Cosine | OneCycle, steps: int, step: int
) -> None:
    assert 0.0 <= factor(schedule, min(step, steps - 1), steps) <= 1.0


@every_schedule
def test_a_single_step_learns(schedule: Cosine | OneCycle) -> None:
    assert factor(schedule, 0, 1) > 0


def test_warms_up_linearly_and_never_from_nothing() -> None:
    assert curve(Cosine(warmup_steps=4), 20)[:4] == [0.25, 0.5, 0.75, 1.0]


def test_one_cycle_starts_where_it_says() -> None:
    assert factor(OneCycle(start=0.04), 0, 100) == pytest.approx(0.04)
