"""The laws of distances between predicted numbers, against the definition in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from limbeck.losses.regression import bounded_squared_error, gaussian_kl, huber, squared_error

Loss = Callable[..., Tensor]
Sides = tuple[Tensor, ...]
LOSSES: dict[str, tuple[Loss, int]] = {
    "squared_error": (squared_error, 2),
    "huber": (huber, 2),
    "gaussian_kl": (gaussian_kl, 4),
    "bounded_squared_error": (bounded_squared_error, 3),
}
"""Every loss and how many tensors it takes."""
every_loss = pytest.mark.parametrize(("loss", "count"), LOSSES.values(), ids=LOSSES)
deltas = st.sampled_from([0.1, 1.0, 5.0])


@st.composite
def sides(draw: st.DrawFn, bound: float = 10.0) -> Sides:
    """Four tensors of one shape."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    return tuple(torch.from_numpy(draw(numbers)) for _ in range(4))


def off_the_jump(loss: Loss, four: Sides) -> Sides:
    """Without the rows in which rounding decides on which side of its jump the bounded error is."""
    if loss is not bounded_squared_error:
        return four
    error, bound = (squared_error(side.double(), four[2].double()) for side in four[:2])
    return tuple(side[(error - bound).abs() > 1e-3] for side in four)


@given(four=sides())
def test_squared_error_equals_the_definition(four: Sides) -> None:
    expected = ((four[0].numpy() - four[1].numpy()) ** 2).mean(-1)
    np.testing.assert_allclose(squared_error(*four[:2]), expected, rtol=1e-12)


@given(four=sides(), delta=deltas)
def test_huber_equals_the_definition(four: Sides, delta: float) -> None:
    error = np.abs(four[0].numpy() - four[1].numpy())
    expected = np.where(error <= delta, error**2 / 2, delta * (error - delta / 2)).mean(-1)
    np.testing.assert_allclose(huber(*four[:2], delta=delta), expected, rtol=1e-12)


@given(four=sides())
def test_huber_is_half_the_squared_error_below_delta(four: Sides) -> None:
    torch.testing.assert_close(huber(*four[:2], delta=20.0), squared_error(*four[:2]) / 2)


@given(four=sides(), delta=deltas)
def test_huber_never_pulls_harder_than_delta(four: Sides, delta: float) -> None:
    student = four[0].clone().requires_grad_()
    (pull,) = torch.autograd.grad(huber(student, four[1], delta=delta).sum(), student)
    expected = (four[0] - four[1]).clamp(-delta, delta) / student.shape[1]
    torch.testing.assert_close(pull, expected)


@given(four=sides(bound=5.0))
def test_gaussian_kl_equals_the_definition(four: Sides) -> None:
    student, teacher = (Normal(means, (variances / 2).exp()) for means, variances in (four[:2], four[2:]))
    expected = kl_divergence(teacher, student).mean(-1)
    torch.testing.assert_close(gaussian_kl(*four), expected, rtol=1e-9, atol=1e-9)


@given(four=sides(bound=5.0))
def test_gaussian_kl_of_equal_variances_is_the_squared_error_over_twice_the_variance(four: Sides) -> None:
    student, log_variances, teacher, _ = four
    expected = ((student - teacher) ** 2 / (2 * log_variances.exp())).mean(-1)
    found = gaussian_kl(student, log_variances, teacher, log_variances)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(four=sides(bound=5.0), scale=st.floats(0.1, 10.0), shift=st.floats(-10.0, 10.0))
def test_gaussian_kl_ignores_the_units(four: Sides, scale: float, shift: float) -> None:
    means, log_variances = four[0::2], four[1::2]
    moved = [scale * mean + shift for mean in means]
    wider = [variance + 2 * np.log(scale) for variance in log_variances]
    found = gaussian_kl(moved[0], wider[0], moved[1], wider[1])
    torch.testing.assert_close(found, gaussian_kl(*four), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_an_overconfident_student_is_still_pulled_back(dtype: torch.dtype) -> None:
    means = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype, requires_grad=True)
    log_variances = torch.full_like(means, -1e4).requires_grad_()
    found = gaussian_kl(means, log_variances, -means.detach() + 1, torch.zeros_like(means))
    assert torch.isfinite(found).all()
    for gradient in torch.autograd.grad(found.sum(), [means, log_variances]):
        assert not gradient.isnan().any()
        if dtype != torch.float16:  # whose largest number is 65504
            assert torch.isfinite(gradient).all()
    assert (gradient < 0).all()  # of the log-variances: they must grow


@given(four=sides(), margin=st.sampled_from([0.0, 1.0, 10.0]))
def test_bounded_squared_error_equals_the_definition(four: Sides, margin: float) -> None:
    student, teacher, targets = (side.numpy() for side in four[:3])
    error, bound = ((student - targets) ** 2).mean(-1), ((teacher - targets) ** 2).mean(-1)
    expected = np.where(error + margin > bound, error, 0.0)
    found = bounded_squared_error(*four[:3], margin=margin)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_student_better_than_its_teacher_is_left_alone() -> None:
    targets = torch.zeros(3, 1)
    student = torch.tensor([[1.0], [1.0], [1.0]], requires_grad=True)
    teacher = torch.tensor([[2.0], [1.0], [0.5]], requires_grad=True)
    found = bounded_squared_error(student, teacher, targets)
    assert found.tolist() == [0.0, 0.0, 1.0]
    found.sum().backward()
    assert student.grad is not None
    assert student.grad.flatten().tolist() == [0.0, 0.0, 2.0]
    assert teacher.grad is None
    for margin, expected in ((2.9, [0.0, 1.0, 1.0]), (3.0, [0.0, 1.0, 1.0]), (3.1, [1.0, 1.0, 1.0])):
        assert bounded_squared_error(student, teacher, targets, margin=margin).tolist() == expected


@every_loss
@given(four=sides())
def test_is_not_negative(loss: Loss, count: int, four: Sides) -> None:
    assert (loss(*four[:count]) >= -1e-12).all()


@every_loss
@given(four=sides())
def test_is_zero_where_both_agree(loss: Loss, count: int, four: Sides) -> None:
    agreed = (*four[:2], *four[:2]) if loss is gaussian_kl else (four[0], four[0].clone(), four[1])
    assert (loss(*agreed[:count]) == 0).all()


@every_loss
@given(four=sides(bound=3.0))
def test_has_the_gradient_of_its_value(loss: Loss, count: int, four: Sides) -> None:
    four = off_the_jump(loss, four)
    if loss is huber:
        far = (four[0] - four[1]).abs() > 1e-3  # for the numerical gradient of an absolute value
        four = (torch.where(far, four[0], four[1] + 0.5), *four[1:])
    arguments = [side.clone().requires_grad_() for side in four[:count]]
    assert torch.autograd.gradcheck(loss, arguments)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_numbers_stay_finite(loss: Loss, count: int, dtype: torch.dtype) -> None:
    rows = torch.tensor([[1e4, -1e4], [0.0, 1e4]], dtype=dtype)
    arguments = [rows, -rows, rows.flip(0), rows.flip(1)][:count]
    if loss is gaussian_kl:
        arguments = [rows, rows / 1e4, -rows, -rows / 1e4]
    arguments = [argument.clone().requires_grad_() for argument in arguments]
    found = loss(*arguments)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    for gradient in torch.autograd.grad(found.sum(), arguments, allow_unused=True):
        if gradient is not None and (loss is not gaussian_kl or dtype != torch.float16):
            assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(four=sides(bound=5.0))
def test_half_precision_is_that_of_its_inputs(
    loss: Loss, count: int, dtype: torch.dtype, four: Sides
) -> None:
    half = off_the_jump(loss, tuple(side.to(dtype) for side in four))[:count]
    wide = loss(*(side.double() for side in half))
    found = loss(*half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wide, rtol=1e-4, atol=1e-4)


@every_loss
@given(four=sides())
def test_rows_are_alone(loss: Loss, count: int, four: Sides) -> None:
    four = off_the_jump(loss, four)
    apart = [loss(*(side[row : row + 1] for side in four[:count])) for row in range(len(four[0]))]
    torch.testing.assert_close(loss(*four[:count]), torch.cat([four[0].new_empty(0), *apart]))


@every_loss
@given(four=sides())
def test_does_not_grow_with_the_number_of_outputs(loss: Loss, count: int, four: Sides) -> None:
    four = off_the_jump(loss, four)
    twice = [torch.cat([side, side.flip(-1)], -1) for side in four[:count]]
    torch.testing.assert_close(loss(*twice), loss(*four[:count]))
