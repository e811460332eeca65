"""Targets without a teacher: what they are, and what they teach."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.losses import cross_entropy, forward_kl
from limbeck.losses.targets import blended_targets, virtual_teacher_logits
from limbeck.types import ABSENT

LABELS = torch.tensor([0, 3, 1])


def random_logits(seed: int = 0) -> Tensor:
    return 2 * torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("confidence", [0.3, 0.9, 1.0])
def test_the_virtual_teacher_believes_in_the_label_and_evenly_in_the_rest(confidence: float) -> None:
    doubt = (1 - confidence) / 3
    expected = torch.full((3, 4), doubt)
    for row, label in enumerate(LABELS.tolist()):
        expected[row, label] = confidence
    found = virtual_teacher_logits(LABELS, classes=4, confidence=confidence)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp(), expected)
    torch.testing.assert_close(found.softmax(-1), expected)


@given(smoothing=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_the_virtual_teacher_is_label_smoothing_at_a_temperature_of_1(smoothing: float, seed: int) -> None:
    student = random_logits(seed).requires_grad_()
    confidence = 1 - smoothing + smoothing / 4
    divergence = forward_kl(student, virtual_teacher_logits(LABELS, classes=4, confidence=confidence))
    smoothed = cross_entropy(student, LABELS, label_smoothing=smoothing)
    doubt = smoothing / 4
    entropy = -confidence * math.log(confidence) - 3 * doubt * math.log(doubt)
    torch.testing.assert_close(divergence + entropy, smoothed, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(loss.sum(), student)[0] for loss in (divergence, smoothed)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_a_certain_virtual_teacher_is_cross_entropy() -> None:
    student = random_logits().requires_grad_()
    found = forward_kl(student, virtual_teacher_logits(LABELS, classes=4, confidence=1.0))
    torch.testing.assert_close(found, cross_entropy(student, LABELS))
    found.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_the_virtual_teacher_softens_as_a_distribution_does() -> None:
    found = (virtual_teacher_logits(torch.tensor([0]), classes=3, confidence=0.8) / 2).softmax(-1)
    powers = torch.tensor([[0.8, 0.1, 0.1]]).sqrt()
    torch.testing.assert_close(found, powers / powers.sum())


def test_without_a_label_the_virtual_teacher_knows_nothing() -> None:
    found = virtual_teacher_logits(torch.tensor([ABSENT, 1]), classes=4)
    torch.testing.assert_close(found[0].exp(), torch.full((4,), 0.25))
    torch.testing.assert_close(found[1, 1].exp(), torch.tensor(0.9))


@given(share=st.floats(0, 1), seed=st.integers(0, 100))
def test_blended_targets_cost_the_blend_of_the_two_costs(share: float, seed: int) -> None:
    past, student = random_logits(seed).softmax(-1), random_logits(seed + 1)
    targets = blended_targets(LABELS, past, share=share)
    torch.testing.assert_close(targets.sum(-1), torch.ones(3, dtype=torch.float64))
    expected = (1 - share) * cross_entropy(student, LABELS) + share * cross_entropy(student, past)
    torch.testing.assert_close(cross_entropy(student, targets), expected)


def test_the_ends_of_the_blend_are_the_label_and_the_past() -> None:
    past = random_logits().softmax(-1)
    hard = torch.nn.functional.one_hot(LABELS, 4).double()
    torch.testing.assert_close(blended_targets(LABELS, past, share=0.0), hard, rtol=0, atol=0)
    torch.testing.assert_close(blended_targets(LABELS, past, share=1.0), past)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_without_a_label_the_past_is_all_there_is(share: float) -> None:
    past = random_logits().softmax(-1)
    found = blended_targets(torch.tensor([ABSENT, 1, ABSENT]), past, share=share)
    torch.testing.assert_close(found[[0, 2]], past[[0, 2]], rtol=0, atol=0)
    assert share == 1.0 or not torch.isclose(found[1], past[1]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_blended_targets_widen_what_was_stored_in_halves(dtype: torch.dtype) -> None:
    past = random_logits().softmax(-1).to(dtype)
    found = blended_targets(LABELS, past, share=0.3)
    assert found.dtype == torch.float32
    expected = blended_targets(LABELS, past.double(), share=0.3)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
