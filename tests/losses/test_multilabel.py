"""The laws of the divergence of independent labels, against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import expit, log_expit
from torch import Tensor
from torch.nn import functional

from limbeck.losses.divergence import forward_kl
from limbeck.losses.multilabel import binary_kl

Pair = tuple[Tensor, Tensor]
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


@st.composite
def logit_pairs(draw: st.DrawFn, bound: float = 30.0) -> Pair:
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers))


def definition(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    z, t = student.numpy() / temperature, teacher.numpy() / temperature
    yes = expit(t) * (log_expit(t) - log_expit(z))
    no = expit(-t) * (log_expit(-t) - log_expit(-z))
    return torch.from_numpy((yes + no).mean(-1))


@given(pair=logit_pairs(), temperature=temperatures)
def test_equals_the_definition(pair: Pair, temperature: float) -> None:
    expected = definition(*pair, temperature)
    found = binary_kl(*pair, temperature=temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = binary_kl(pair[0].float(), pair[1].float(), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@given(pair=logit_pairs(), temperature=temperatures)
def test_is_the_binary_cross_entropy_less_the_entropy_of_the_teacher(pair: Pair, temperature: float) -> None:
    student, teacher = (side / temperature for side in pair)
    cross, own = (
        functional.binary_cross_entropy_with_logits(logits, teacher.sigmoid(), reduction="none").mean(-1)
        for logits in (student, teacher)
    )
    torch.testing.assert_close(binary_kl(*pair, temperature=temperature), cross - own, rtol=1e-7, atol=1e-7)


@given(pair=logit_pairs(), temperature=temperatures)
def test_is_the_divergence_of_two_classes_for_one_label(pair: Pair, temperature: float) -> None:
    student, teacher = (side[:, :1] for side in pair)
    two = [torch.cat([side, torch.zeros_like(side)], -1) for side in (student, teacher)]
    found = binary_kl(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, forward_kl(*two, temperature=temperature))


@given(pair=logit_pairs(), temperature=temperatures)
def test_is_not_negative_and_zero_where_both_agree(pair: Pair, temperature: float) -> None:
    assert (binary_kl(*pair, temperature=temperature) >= -1e-12).all()
    assert (binary_kl(pair[0], pair[0].clone(), temperature=temperature) == 0).all()


@given(pair=logit_pairs())
def test_yes_and_no_can_change_places(pair: Pair) -> None:
    torch.testing.assert_close(binary_kl(-pair[0], -pair[1]), binary_kl(*pair), rtol=1e-9, atol=1e-12)


@given(pair=logit_pairs())
def test_does_not_grow_with_the_number_of_labels_nor_see_their_order(pair: Pair) -> None:
    twice = [torch.cat([side, side.flip(-1)], -1) for side in pair]
    torch.testing.assert_close(binary_kl(*twice), binary_kl(*pair))


@given(pair=logit_pairs(bound=3.0), temperature=temperatures)
def test_has_the_gradient_of_its_value(pair: Pair, temperature: float) -> None:
    student, teacher = (side.clone().requires_grad_() for side in pair)
    assert torch.autograd.gradcheck(lambda s, t: binary_kl(s, t, temperature=temperature), [student, teacher])
    (found,) = torch.autograd.grad(binary_kl(student, teacher, temperature=temperature).sum(), student)
    difference = (student / temperature).sigmoid() - (teacher / temperature).sigmoid()
    torch.testing.assert_close(found, difference.detach() / (temperature * student.shape[1]))


def test_a_label_that_both_exclude_costs_nothing() -> None:
    student = torch.tensor([[1.0, -torch.inf]], requires_grad=True)
    teacher = torch.tensor([[-2.0, -torch.inf]])
    found = binary_kl(student, teacher)
    torch.testing.assert_close(found, binary_kl(student[:, :1], teacher[:, :1]) / 2)
    found.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 1e4], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
    found = binary_kl(student, teacher, temperature=0.5)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    for gradient in torch.autograd.grad(found.sum(), [student, teacher]):
        assert gradient.dtype == dtype
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=logit_pairs())
def test_half_precision_is_that_of_its_inputs(dtype: torch.dtype, pair: Pair) -> None:
    half = [side.to(dtype) for side in pair]
    wide = binary_kl(*(side.double() for side in half))
    torch.testing.assert_close(binary_kl(*half).double(), wide, rtol=1e-4, atol=1e-4)


@given(pair=logit_pairs())
def test_rows_are_alone(pair: Pair) -> None:
    student, teacher = pair
    apart = [binary_kl(student[row : row + 1], teacher[row : row + 1]) for row in range(len(student))]
    torch.testing.assert_close(binary_kl(student, teacher), torch.cat(apart))


def test_a_temperature_for_each_row_is_that_of_the_row() -> None:
    student, teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double().unbind()
    temperature = torch.tensor([[0.5], [1.0], [3.0]], dtype=torch.float64, requires_grad=True)
    found = binary_kl(student, teacher, temperature=temperature)
    rows = zip(student[:, None], teacher[:, None], [0.5, 1.0, 3.0], strict=True)
    torch.testing.assert_close(found, torch.cat([binary_kl(z, t, temperature=row) for z, t, row in rows]))
    assert torch.autograd.gradcheck(lambda row: binary_kl(student, teacher, temperature=row), [temperature])
