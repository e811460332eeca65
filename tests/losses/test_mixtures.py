"""The laws of the divergences from a mixture that other divergences do not have."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from limbeck.losses.divergence import forward_kl, reverse_kl
from limbeck.losses.mixtures import jensen_shannon, skew_kl, skew_reverse_kl

Divergence = Callable[..., Tensor]
shares = st.sampled_from([0.01, 0.1, 0.5, 0.7, 0.99])


@st.composite
def logit_pairs(draw: st.DrawFn, bound: float = 30.0) -> tuple[Tensor, Tensor]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    numbers = arrays.arrays("float64", shape, elements=st.floats(-bound, bound))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers))


def random_pair(rows: int = 8, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, rows, classes, generator=generator, dtype=torch.float64).unbind()
    return student, teacher


@given(pair=logit_pairs())
def test_jensen_shannon_is_symmetric_at_a_half(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    torch.testing.assert_close(jensen_shannon(student, teacher), jensen_shannon(teacher, student))


@given(pair=logit_pairs(), share=shares)
def test_jensen_shannon_swaps_sides_with_shares(pair: tuple[Tensor, Tensor], share: float) -> None:
    student, teacher = pair
    swapped = jensen_shannon(teacher, student, teacher_share=1 - share)
    torch.testing.assert_close(
        jensen_shannon(student, teacher, teacher_share=share), swapped, rtol=1e-9, atol=1e-12
    )


@given(pair=logit_pairs(), share=shares)
def test_jensen_shannon_is_at_most_the_entropy_of_the_shares(
    pair: tuple[Tensor, Tensor], share: float
) -> None:
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert (jensen_shannon(*pair, teacher_share=share) <= entropy + 1e-12).all()


def test_jensen_shannon_reaches_its_bound_where_nothing_is_shared() -> None:
    student, teacher = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
    torch.testing.assert_close(jensen_shannon(student, teacher), torch.tensor([math.log(2)]))


@pytest.mark.parametrize(("share", "limit"), [(1e-6, forward_kl), (1 - 1e-6, reverse_kl)])
def test_normalised_jensen_shannon_tends_to_both_kls(share: float, limit: Divergence) -> None:
    pair = random_pair()
    found = jensen_shannon(*pair, teacher_share=share, normalised=True)
    torch.testing.assert_close(found, limit(*pair), rtol=1e-4, atol=0)
    assert (jensen_shannon(*pair, teacher_share=share) < 1e-5 * limit(*pair)).all()


@pytest.mark.parametrize(("skewed", "limit"), [(skew_kl, forward_kl), (skew_reverse_kl, reverse_kl)])
@given(pair=logit_pairs())
def test_skew_leads_from_a_kl_to_nothing(
    skewed: Divergence, limit: Divergence, pair: tuple[Tensor, Tensor]
) -> None:
    torch.testing.assert_close(skewed(*pair, skew=0.0), limit(*pair), rtol=0, atol=0)
    assert (skewed(*pair, skew=1.0) == 0).all()
    values = torch.stack([skewed(*pair, skew=skew) for skew in (0.0, 0.01, 0.1, 0.5, 0.99, 1.0)])
    assert (values.diff(dim=0) <= 1e-12).all()


@pytest.mark.parametrize("skewed", [skew_kl, skew_reverse_kl])
@given(pair=logit_pairs(), skew=shares)
def test_skewed_kls_are_at_most_minus_log_skew(
    skewed: Divergence, pair: tuple[Tensor, Tensor], skew: float
) -> None:
    assert (skewed(*pair, skew=skew) <= -math.log(skew) + 1e-12).all()


@pytest.mark.parametrize("divergence", [skew_kl, skew_reverse_kl, jensen_shannon])
def test_a_class_that_either_side_lacks_costs_a_finite_amount(divergence: Divergence) -> None:
    full, part = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, -torch.inf, 3.0]])
    for sides in ((full, part), (part, full)):
        student, teacher = (side.clone().requires_grad_() for side in sides)
        found = divergence(student, teacher)
        nearly = divergence(*(side.clamp(min=-60.0) for side in sides))
        torch.testing.assert_close(found.detach(), nearly)
        found.sum().backward()
        for side in (student, teacher):
            assert side.grad is not None
            assert torch.isfinite(side.grad).all()


def test_the_gradient_of_the_reverse_mixture_flows_through_the_students_part() -> None:
    student, teacher = random_pair()
    student.requires_grad_()
    (found,) = torch.autograd.grad(skew_reverse_kl(student, teacher, skew=0.3).sum(), student)
    q, p = student.softmax(-1), teacher.softmax(-1)
    definition = (q * (q.log() - (0.7 * p + 0.3 * q).log())).sum()
    (expected,) = torch.autograd.grad(definition, student)
    torch.testing.assert_close(found, expected)
