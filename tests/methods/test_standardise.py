"""Logits standardised before they are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import softmax
from tests.methods.modified import BATCH, EXAMPLES, STUDENT, TEACHER, kl, loss, traced
from torch import Tensor

from limbeck.errors import MethodError
from limbeck.methods import CE, KD, LearnedTemperature, Method, SampleWeights, Standardise
from limbeck.types import Outputs


def z(logits: Tensor) -> np.ndarray:
    plain = logits.numpy()
    return (plain - plain.mean(1, keepdims=True)) / plain.std(1, ddof=0, keepdims=True)


def test_standardised_kd_compares_z_scores_at_a_temperature() -> None:
    expected = 9 * 2**2 * kl(z(STUDENT) / 2, z(TEACHER) / 2).mean()
    assert float(loss(Standardise(of=KD(temperature=2, weight=9)))) == pytest.approx(expected, rel=1e-9)


def test_standardised_logits_have_neither_offset_nor_scale() -> None:
    method = Standardise(of=KD())
    generator = torch.Generator().manual_seed(3)
    scale, offset = torch.rand(2, EXAMPLES, 1, generator=generator, dtype=torch.float64) * 5 + 0.1
    torch.testing.assert_close(loss(method, student=scale * STUDENT + offset), loss(method))
    torch.testing.assert_close(loss(method, teacher=scale * TEACHER + offset), loss(method))
    assert float(loss(method, student=scale * TEACHER + offset)) == pytest.approx(0, abs=1e-12)


def test_standardise_shows_the_inner_method_the_same_as_its_loss_sees() -> None:
    seen = Standardise().shown(traced())
    np.testing.assert_allclose(seen.student.logits, z(STUDENT), rtol=1e-9)
    np.testing.assert_allclose(seen.teacher.logits, z(TEACHER), rtol=1e-9)


def test_standardised_weights_follow_the_standardised_teacher() -> None:
    method = Standardise(of=SampleWeights(of=KD(), by="confidence"))
    expected = softmax(z(TEACHER), 1).max(1)
    np.testing.assert_allclose(method.weights(Outputs(TEACHER), BATCH)["kd"], expected, rtol=1e-6)
    loss(method)


def test_two_classes_are_refused_and_few_are_warned_about() -> None:
    two = Outputs(STUDENT[:, :2])
    with pytest.raises(MethodError, match="at least 3 classes, got 2"):
        Standardise().init(replace(traced(), student=two, teacher=two))
    few = Outputs(STUDENT[:, :9])
    with pytest.warns(UserWarning, match="leaves 7 numbers of 8"):
        Standardise().init(replace(traced(), student=few, teacher=few))
    Standardise().init(traced())


@pytest.mark.parametrize("kind", [Standardise, LearnedTemperature])
def test_only_methods_on_both_sides_logits_take_other_logits(kind: type[Method]) -> None:
    with pytest.raises(ValidationError, match="got CE"):
        kind.model_validate({"of": KD(temperature=1) + CE()})
