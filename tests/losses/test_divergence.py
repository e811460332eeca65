"""The laws of every divergence, against the definition in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, rel_entr
from torch import Tensor

from limbeck.losses import forward_kl

Divergence = Callable[..., Tensor]
every_divergence = pytest.mark.parametrize("divergence", [forward_kl])
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


@st.composite
def logit_pairs(draw: st.DrawFn, bound: float = 30.0) -> tuple[Tensor, Tensor]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers))


def definition(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_p = log_softmax(teacher.double().numpy() / temperature, axis=-1)
    log_q = log_softmax(student.double().numpy() / temperature, axis=-1)
    return torch.from_numpy(rel_entr(np.exp(log_p), np.exp(log_q)).sum(-1))


@given(pair=logit_pairs(), temperature=temperatures)
def test_equals_the_definition(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    expected = definition(*pair, temperature)
    found = forward_kl(*pair, temperature=temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = forward_kl(pair[0].float(), pair[1].float(), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@every_divergence
@given(pair=logit_pairs(), temperature=temperatures)
def test_is_not_negative(divergence: Divergence, pair: tuple[Tensor, Tensor], temperature: float) -> None:
    assert (divergence(*pair, temperature=temperature) >= -1e-12).all()


@every_divergence
@given(pair=logit_pairs(), temperature=temperatures)
def test_is_zero_where_both_agree(
    divergence: Divergence, pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    assert (divergence(pair[0], pair[0].clone(), temperature=temperature) == 0).all()


@every_divergence
@given(pair=logit_pairs(), shift=st.floats(-50, 50))
def test_ignores_a_constant_added_to_the_logits(
    divergence: Divergence, pair: tuple[Tensor, Tensor], shift: float
) -> None:
    student, teacher = pair
    expected = divergence(student, teacher)
    torch.testing.assert_close(divergence(student + shift, teacher), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(divergence(student, teacher + shift), expected, rtol=1e-8, atol=1e-8)


@every_divergence
@given(pair=logit_pairs(bound=3.0), temperature=temperatures)
def test_has_the_gradient_of_its_value(
    divergence: Divergence, pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    sides = [side.clone().requires_grad_() for side in pair]
    assert torch.autograd.gradcheck(lambda s, t: divergence(s, t, temperature=temperature), sides)


@every_divergence
@given(pair=logit_pairs())
def test_an_absent_class_changes_nothing(divergence: Divergence, pair: tuple[Tensor, Tensor]) -> None:
    absent = torch.full((len(pair[0]), 1), -torch.inf, dtype=torch.float64)
    student, teacher = (torch.cat([side, absent], -1).requires_grad_() for side in pair)
    found = divergence(student, teacher)
    torch.testing.assert_close(found.detach(), divergence(*pair))
    found.sum().backward()
    for side in (student, teacher):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()
        assert (side.grad[:, -1] == 0).all()


def test_a_class_only_the_teacher_lacks_costs_what_the_student_puts_there() -> None:
    student = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 2.0, -torch.inf]])
    found = forward_kl(student, teacher)
    torch.testing.assert_close(found.double(), definition(student.detach(), teacher, 1.0))
    found.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_a_class_only_the_student_lacks_costs_everything() -> None:
    assert forward_kl(torch.tensor([[1.0, -torch.inf]]), torch.tensor([[1.0, 1.0]])).isposinf().all()


@every_divergence
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(divergence: Divergence, dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype)
    found = divergence(student, teacher, temperature=0.5)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.dtype == dtype


@every_divergence
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=logit_pairs())
def test_half_precision_is_that_of_its_inputs(
    divergence: Divergence, dtype: torch.dtype, pair: tuple[Tensor, Tensor]
) -> None:
    half = [side.to(dtype) for side in pair]
    wide = divergence(*(side.double() for side in half))
    torch.testing.assert_close(divergence(*half).double(), wide, rtol=1e-4, atol=1e-4)


@every_divergence
@given(pair=logit_pairs())
def test_rows_are_alone(divergence: Divergence, pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    apart = [divergence(student[row : row + 1], teacher[row : row + 1]) for row in range(len(student))]
    torch.testing.assert_close(divergence(student, teacher), torch.cat(apart))


@every_divergence
def test_takes_any_batch_shape(divergence: Divergence) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5, generator=generator).unbind()
    flat = divergence(student.flatten(0, 1), teacher.flatten(0, 1))
    torch.testing.assert_close(divergence(student, teacher).flatten(), flat)
    assert divergence(student[0, 0], teacher[0, 0]).shape == ()
