"""A temperature that moves over the training."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from tests.methods.modified import loss, started, ticked

from limbeck.methods import (
    CE,
    KD,
    LearnedTemperature,
    Method,
    PseudoLabel,
    Standardise,
    TemperatureSchedule,
    WarmUp,
)


def test_a_temperature_schedule_is_the_method_at_each_temperature() -> None:
    method = TemperatureSchedule(of=KD(temperature=7) + Standardise(of=KD()), start=6, final=1, steps=6)
    state = started(method)
    for temperature in (6, 5, 4, 3, 2, 1, 1):
        expected = KD(temperature=temperature) + Standardise(of=KD(temperature=temperature))
        torch.testing.assert_close(loss(method, state), loss(expected))
        ticked(method, state, 1)


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (CE(), "must have a temperature, got CE"),
        (KD() + PseudoLabel(), "got PseudoLabel"),
        (LearnedTemperature(), "got LearnedTemperature"),
        (WarmUp(of=TemperatureSchedule()), "got TemperatureSchedule"),
    ],
)
def test_a_temperature_schedule_refuses_what_has_no_temperature_to_move(inside: Method, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TemperatureSchedule(of=inside)
