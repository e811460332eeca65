"""A temperature that learns against the student."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from scipy.special import softmax
from tests.methods.modified import CLASSES, STUDENT, TEACHER, gradient, kl, loss, started, ticked, traced
from torch import nn

from limbeck.errors import MethodError
from limbeck.methods import KD, LearnedTemperature, Method, PseudoLabel, SampleWeights, Standardise
from limbeck.methods.total_variation import TotalVariation


def learned(method: Method, *, step: int) -> tuple[nn.Module, nn.Parameter, float]:
    """A state so many steps on, the parameter of its temperature, and that temperature."""
    state = started(method)
    ticked(method, state, step)
    (place,) = state.parameters()
    return state, place, float(1 + 20 * torch.sigmoid(place.detach()))


@pytest.mark.parametrize("kind", [KD, TotalVariation])
def test_a_learned_temperature_is_the_method_at_that_temperature(kind: type[Method]) -> None:
    method = LearnedTemperature(of=kind(temperature=1, weight=3), weight=2)
    state, place, temperature = learned(method, step=7)
    fixed = kind(temperature=temperature, weight=6)
    torch.testing.assert_close(loss(method, state), loss(fixed))
    torch.testing.assert_close(gradient(method, state), gradient(fixed))
    assert place.shape == ()


@pytest.mark.parametrize(
    ("step", "strength"), [(0, 0.0), (25, (1 - math.cos(math.pi / 4)) / 2), (100, 1), (150, 1)]
)
def test_the_temperature_learns_against_the_student(step: int, strength: float) -> None:
    method = LearnedTemperature(of=KD(temperature=1), rise_steps=100)
    state, place, _ = learned(method, step=step)
    loss(method, state).backward()

    def at(number: float) -> float:
        return float(loss(KD(temperature=1 + 20 / (1 + math.exp(-number)))))

    middle = float(place.detach())
    slope = (at(middle + 1e-5) - at(middle - 1e-5)) / 2e-5
    assert abs(slope) > 1e-3
    assert float(place.grad) == pytest.approx(-strength * slope, rel=1e-5, abs=1e-12)


def test_an_absent_class_leaves_the_learned_temperature_finite() -> None:
    method = LearnedTemperature()
    state, place, temperature = learned(method, step=100)
    absent = torch.zeros(CLASSES, dtype=torch.bool)
    absent[2] = True
    student, teacher = (logits.masked_fill(absent, -torch.inf) for logits in (STUDENT, TEACHER))
    value = loss(method, state, student=student, teacher=teacher)
    value.backward()
    assert place.grad.isfinite()
    expected = loss(KD(temperature=temperature), student=STUDENT[:, ~absent], teacher=TEACHER[:, ~absent])
    torch.testing.assert_close(value, expected)


def test_the_learned_temperature_leaves_weights_to_the_teacher_as_it_is() -> None:
    method = LearnedTemperature(of=SampleWeights(of=KD(temperature=1)))
    state, _, temperature = learned(method, step=3)
    each = softmax(TEACHER.numpy(), 1).max(1)
    values = temperature**2 * kl(STUDENT.numpy() / temperature, TEACHER.numpy() / temperature)
    found = loss(method, state).detach()
    assert float(found) == pytest.approx((each * values).sum() / each.sum(), rel=1e-6)


def test_a_learned_temperature_takes_the_place_of_one() -> None:
    with pytest.raises(ValidationError, match="temperature of 1"):
        LearnedTemperature(of=KD(temperature=2))
    with pytest.raises(ValidationError, match="temperature of 1"):
        LearnedTemperature(of=PseudoLabel())
    with pytest.raises(ValidationError, match="lowest must be below highest"):
        LearnedTemperature(lowest=3, highest=3)


def test_what_does_more_than_divide_by_its_temperature_is_refused_before_the_first_step() -> None:
    with pytest.raises(MethodError, match="'kd' does more"):
        LearnedTemperature(of=Standardise(of=KD(temperature=1))).init(traced())
