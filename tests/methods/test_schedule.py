"""A weight that moves over the training."""

from __future__ import annotations

import math

import pytest
from tests.methods.modified import STEPS, loss, started, ticked, traced

from limbeck.errors import MethodError
from limbeck.methods import KD, Method, Schedule, TemperatureSchedule


@pytest.mark.parametrize(
    ("shape", "middle"), [("linear", 3 - 2 * 0.2), ("cosine", 3 - 2 * (1 - math.cos(0.2 * math.pi)) / 2)]
)
def test_a_schedule_moves_the_weight_over_the_training(shape: str, middle: float) -> None:
    method = Schedule(of=KD(), start=3, final=1, shape=shape)
    state, whole = started(method), float(loss(KD()))
    found = []
    for _ in range(STEPS + 2):
        found.append(float(loss(method, state)) / whole)
        ticked(method, state, 1)
    assert found[0] == pytest.approx(3)
    assert found[2] == pytest.approx(middle)
    assert found[STEPS - 1 :] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("method", [Schedule(), TemperatureSchedule()], ids=repr)
def test_what_goes_over_the_whole_training_must_know_its_length(method: Method) -> None:
    with pytest.raises(MethodError, match="Set its steps"):
        method.init(traced(pool=False))
    method.model_copy(update={"steps": 5}).init(traced(pool=False))
