"""The laws of the squared earth mover's distance, against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import softmax
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.losses.ordinal import squared_emd

Pair = tuple[Tensor, Tensor]
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


@st.composite
def logit_pairs(draw: st.DrawFn, bound: float = 30.0) -> Pair:
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers))


def definition(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p = softmax(teacher.numpy() / temperature, axis=-1)
    q = softmax(student.numpy() / temperature, axis=-1)
    terms = [(p[:, : k + 1].sum(-1) - q[:, : k + 1].sum(-1)) ** 2 for k in range(p.shape[1] - 1)]
    return torch.from_numpy(np.sum(terms, axis=0))


@given(pair=logit_pairs(), temperature=temperatures)
def test_equals_the_definition(pair: Pair, temperature: float) -> None:
    expected = definition(*pair, temperature)
    found = squared_emd(*pair, temperature=temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    single = squared_emd(pair[0].float(), pair[1].float(), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("true", range(6))
def test_grows_with_the_distance_of_the_classes_and_kl_does_not(true: int) -> None:
    sure = 20 * torch.eye(6, dtype=torch.float64)
    teacher = sure[true].expand(6, -1)
    distances = (torch.arange(6) - true).abs()
    torch.testing.assert_close(squared_emd(sure, teacher), distances.double(), rtol=1e-6, atol=1e-6)
    others = forward_kl(sure, teacher)[distances > 0]
    torch.testing.assert_close(others, others[:1].expand_as(others))


@given(pair=logit_pairs(bound=5.0), moved=st.floats(0.01, 0.9))
def test_carrying_the_same_probability_further_costs_more(pair: Pair, moved: float) -> None:
    p = pair[1][:1].softmax(-1)
    last = p.shape[1] - 1
    costs = []
    for target in range(1, last + 1):
        q = p.clone()
        q[0, 0] -= moved * p[0, 0]
        q[0, target] += moved * p[0, 0]
        costs.append(squared_emd(q.log(), p.log()).item())
    assert costs == sorted(costs)
    np.testing.assert_allclose(costs, np.arange(1, last + 1) * (moved * p[0, 0].item()) ** 2, rtol=1e-6)


@given(pair=logit_pairs(), temperature=temperatures)
def test_lies_between_zero_and_one_less_than_the_classes(pair: Pair, temperature: float) -> None:
    found = squared_emd(*pair, temperature=temperature)
    assert (found >= 0).all()
    assert (found <= pair[0].shape[1] - 1 + 1e-12).all()
    assert (squared_emd(pair[0], pair[0].clone(), temperature=temperature) == 0).all()


@given(pair=logit_pairs())
def test_the_sides_and_the_direction_of_the_order_can_change_places(pair: Pair) -> None:
    student, teacher = pair
    expected = squared_emd(student, teacher)
    torch.testing.assert_close(squared_emd(teacher, student), expected)
    torch.testing.assert_close(
        squared_emd(student.flip(-1), teacher.flip(-1)), expected, rtol=1e-7, atol=1e-12
    )


@given(pair=logit_pairs(), shift=st.floats(-50, 50))
def test_ignores_a_constant_added_to_the_logits(pair: Pair, shift: float) -> None:
    student, teacher = pair
    expected = squared_emd(student, teacher)
    torch.testing.assert_close(squared_emd(student + shift, teacher), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(squared_emd(student, teacher + shift), expected, rtol=1e-8, atol=1e-8)


@given(pair=logit_pairs(bound=3.0), temperature=temperatures)
def test_has_the_gradient_of_its_value(pair: Pair, temperature: float) -> None:
    sides = [side.clone().requires_grad_() for side in pair]
    assert torch.autograd.gradcheck(lambda s, t: squared_emd(s, t, temperature=temperature), sides)


@pytest.mark.parametrize("end", ["first", "last"])
@given(pair=logit_pairs())
def test_an_absent_class_at_an_end_changes_nothing(end: str, pair: Pair) -> None:
    absent = torch.full((len(pair[0]), 1), -torch.inf, dtype=torch.float64)
    wider = [
        torch.cat([absent, side] if end == "first" else [side, absent], -1).requires_grad_() for side in pair
    ]
    found = squared_emd(*wider)
    torch.testing.assert_close(found.detach(), squared_emd(*pair), rtol=1e-9, atol=1e-12)
    for gradient in torch.autograd.grad(found.sum(), wider):
        assert torch.isfinite(gradient).all()
        assert (gradient[:, 0 if end == "first" else -1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [1e4, -1e4, 1e4]], dtype=dtype, requires_grad=True)
    found = squared_emd(student, teacher, temperature=0.5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([1.0, 0.25 + 0.0]))
    for gradient in torch.autograd.grad(found.sum(), [student, teacher]):
        assert gradient.dtype == dtype
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=logit_pairs())
def test_half_precision_is_that_of_its_inputs(dtype: torch.dtype, pair: Pair) -> None:
    half = [side.to(dtype) for side in pair]
    wide = squared_emd(*(side.double() for side in half))
    torch.testing.assert_close(squared_emd(*half).double(), wide, rtol=1e-4, atol=1e-5)


@given(pair=logit_pairs())
def test_rows_are_alone(pair: Pair) -> None:
    student, teacher = pair
    apart = [squared_emd(student[row : row + 1], teacher[row : row + 1]) for row in range(len(student))]
    torch.testing.assert_close(squared_emd(student, teacher), torch.cat(apart))


def test_takes_any_batch_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5, generator=generator).unbind()
    flat = squared_emd(student.flatten(0, 1), teacher.flatten(0, 1))
    torch.testing.assert_close(squared_emd(student, teacher).flatten(), flat)
    assert squared_emd(student[0, 0], teacher[0, 0]).shape == ()


def test_a_temperature_for_each_row_is_that_of_the_row() -> None:
    student, teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double().unbind()
    temperature = torch.tensor([[0.5], [1.0], [3.0]], dtype=torch.float64, requires_grad=True)
    found = squared_emd(student, teacher, temperature=temperature)
    rows = zip(student[:, None], teacher[:, None], [0.5, 1.0, 3.0], strict=True)
    torch.testing.assert_close(found, torch.cat([squared_emd(z, t, temperature=row) for z, t, row in rows]))
    assert torch.autograd.gradcheck(lambda row: squared_emd(student, teacher, temperature=row), [temperature])
