"""The laws of distances to activations with a constant for each channel, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import norm
from torch import Tensor

from limbeck.losses.activation import gaussian_nll, partial_error, relu_margin

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Case = tuple[Tensor, Tensor, Tensor]
every_loss = pytest.mark.parametrize("loss", [partial_error, gaussian_nll])
SHAPES = {"vectors": (3, 4), "tokens": (3, 2, 4), "maps": (3, 4, 2, 3)}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Features of one shape on a coarse grid, and a positive constant for each channel."""
    sizes = st.integers(1, 3)
    shape = draw(st.one_of(*(st.tuples(*[sizes] * axes) for axes in (2, 3, 4))))
    count = int(np.prod(shape))
    numbers = st.lists(st.integers(-8, 8).map(lambda quarters: quarters / 4), min_size=count, max_size=count)
    student, teacher = (torch.tensor(draw(numbers), dtype=torch.float64).reshape(shape) for _ in range(2))
    channels = shape[1] if len(shape) == 4 else shape[-1]
    constants = draw(st.lists(st.sampled_from([0.25, 0.6, 1.0, 1.5]), min_size=channels, max_size=channels))
    return student, teacher, torch.tensor(constants, dtype=torch.float64)


def random_case(loss: Loss, *shape: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, dtype=torch.float64, generator=generator).unbind()
    constants = torch.tensor([0.3, 0.5, 1.5, 2.0], dtype=torch.float64)
    return student, teacher, -constants if loss is partial_error else constants


def element_mean(student: Tensor, teacher: Tensor, constants: Tensor, error: Callable[..., float]) -> Tensor:
    """Mean of an error over all elements of each example, each with the constant of its channel."""
    found = np.zeros(len(student))
    for place in np.ndindex(*student.shape):
        channel = place[1] if student.ndim == 4 else place[-1]
        numbers = (float(student[place]), float(teacher[place]), float(constants[channel]))
        found[place[0]] += error(*numbers) * len(student) / student.numel()
    return torch.from_numpy(found)


def partial(student: float, teacher: float, margin: float) -> float:
    target = max(teacher, margin)
    return 0.0 if student <= target <= 0 else (student - target) ** 2


def likelihood(student: float, teacher: float, variance: float) -> float:
    constant = np.log(2 * np.pi) / 2
    return -float(norm(student, np.sqrt(variance)).logpdf(teacher)) - constant


@given(case=cases())
def test_partial_error_equals_the_definition(case: Case) -> None:
    student, teacher, constants = case
    expected = element_mean(student, teacher, -constants, partial)
    torch.testing.assert_close(partial_error(student, teacher, -constants), expected, rtol=1e-9, atol=1e-12)
    single = partial_error(student.float(), teacher.float(), -constants.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-6)


@given(case=cases())
def test_gaussian_nll_is_that_of_the_normal_density(case: Case) -> None:
    expected = element_mean(*case, likelihood)
    torch.testing.assert_close(gaussian_nll(*case), expected, rtol=1e-9, atol=1e-9)
    single = gaussian_nll(*(side.float() for side in case))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)


@given(case=cases())
def test_partial_error_is_not_negative_and_zero_where_both_agree(case: Case) -> None:
    student, teacher, constants = case
    assert (partial_error(student, teacher, -constants) >= 0).all()
    assert (partial_error(student.clamp(min=0), student.clamp(min=0), -constants) == 0).all()
    above = student.clamp(min=-0.25)
    assert (partial_error(above, above.clone(), -constants) == 0).all()


def test_partial_error_asks_of_negative_numbers_only_to_be_low_enough() -> None:
    margin = torch.tensor([-1.0])

    def error(student: float, teacher: float) -> float:
        return float(partial_error(torch.tensor([[student]]), torch.tensor([[teacher]]), margin))

    assert error(-50.0, -3.0) == 0  # both silent
    assert error(-50.0, -0.5) == 0  # below a teacher that is silent
    assert error(-0.75, -3.0) == 0.0625  # down to the margin only, not to the teacher
    assert error(0.0, -0.5) == 0.25  # above a silent teacher
    assert error(-1.0, 2.0) == 9.0  # silent where the teacher is not
    assert error(3.0, 2.0) == 1.0
    assert error(-2.0, 0.0) == 0


def test_partial_error_pulls_nowhere_where_it_is_zero() -> None:
    student = torch.tensor([[-5.0, -0.5, -5.0]], requires_grad=True)
    partial_error(student, torch.tensor([[-9.0, -9.0, 1.0]]), torch.full((3,), -1.0)).sum().backward()
    assert student.grad is not None
    assert student.grad[0, 0] == 0
    assert student.grad[0, 1] > 0
    assert student.grad[0, 2] < 0


@given(mean=st.floats(-5, 5), scale=st.sampled_from([0.5, 1.0, 3.0]), sign=st.sampled_from([-1, 1]))
def test_margin_is_the_expectation_where_negative(mean: float, scale: float, sign: int) -> None:
    density = norm(mean, scale)
    low = min(mean, 0.0) - 12 * scale
    moment = integrate.quad(lambda x: x * density.pdf(x), low, 0, epsabs=0, epsrel=1e-10, limit=200)[0]
    expected = moment / density.cdf(0)
    found = relu_margin(
        torch.tensor([mean], dtype=torch.float64), torch.tensor([sign * scale], dtype=torch.float64)
    )
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("apart", [30.0, 1e3, 1e4])
def test_margin_of_a_channel_that_is_hardly_ever_negative_is_just_below_zero(apart: float) -> None:
    found = relu_margin(torch.tensor([2.0 * apart]), torch.tensor([2.0]))
    assert found.dtype == torch.float32
    expected = -2.0 / apart * (1 - 2 / apart**2)  # where a distribution function in doubles is 0 already
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=2e-5, atol=0)


def test_margin_of_a_channel_that_is_always_negative_is_its_mean() -> None:
    found = relu_margin(torch.tensor([-50.0, -1e4]), torch.tensor([1.0, 1e-3]))
    torch.testing.assert_close(found, torch.tensor([-50.0, -1e4]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_margin_is_finite_and_not_positive_whatever_the_normalisation(dtype: torch.dtype) -> None:
    numbers = torch.tensor([-1e4, -1.0, -1e-6, 0.0, 1e-6, 1.0, 1e4], dtype=dtype)
    means, scales = (grid.flatten() for grid in torch.meshgrid(numbers, numbers, indexing="ij"))
    found = relu_margin(means, scales)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isfinite(found).all()
    assert (found <= 0).all()
    still = scales == 0
    assert (found[still] == means[still].clamp(max=0).to(found)).all()


@every_shape
def test_likelihood_is_best_where_both_agree_and_may_be_negative(shape: tuple[int, ...]) -> None:
    student, teacher, _ = random_case(gaussian_nll, *shape)
    variance = torch.full((4,), 0.25, dtype=torch.float64)
    best = gaussian_nll(teacher, teacher, variance)
    torch.testing.assert_close(best, torch.full((3,), np.log(0.25) / 2, dtype=torch.float64))
    assert (gaussian_nll(student, teacher, variance) > best).all()


def test_likelihood_is_best_at_the_mean_square_of_each_channel() -> None:
    student, teacher, _ = random_case(gaussian_nll, 3, 4, 2, 3)
    variance = (student - teacher).square().mean((0, 2, 3)).requires_grad_()
    (slope,) = torch.autograd.grad(gaussian_nll(student, teacher, variance).mean(), variance)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)


@every_shape
def test_likelihood_of_equal_unit_variances_is_half_the_squared_error(shape: tuple[int, ...]) -> None:
    student, teacher, _ = random_case(gaussian_nll, *shape)
    expected = (student - teacher).square().flatten(1).mean(-1) / 2
    torch.testing.assert_close(gaussian_nll(student, teacher, torch.ones(4, dtype=torch.float64)), expected)


@every_loss
@every_shape
def test_has_the_gradient_of_its_value(loss: Loss, shape: tuple[int, ...]) -> None:
    sides = [side.requires_grad_() for side in random_case(loss, *shape)]
    assert torch.autograd.gradcheck(loss, sides)


@every_loss
@every_shape
def test_rows_are_alone(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher, constants = random_case(loss, *shape)
    apart = [loss(student[row : row + 1], teacher[row : row + 1], constants) for row in range(3)]
    torch.testing.assert_close(loss(student, teacher, constants), torch.cat(apart))


@every_loss
@every_shape
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, -1e4])
def test_zeros_constants_and_extremes_stay_finite(
    loss: Loss, shape: tuple[int, ...], dtype: torch.dtype, value: float
) -> None:
    random, _, constants = random_case(loss, *shape)
    for other in (torch.zeros(shape), torch.full(shape, 1e4), random):
        student = torch.full(shape, value, dtype=dtype, requires_grad=True)
        teacher = other.to(dtype).requires_grad_()
        found = loss(student, teacher, constants.float())
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        found.sum().backward()
        for side in (student, teacher):
            assert side.grad is not None
            assert side.grad.dtype == dtype
            assert torch.isfinite(side.grad).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(case=cases())
def test_half_precision_is_that_of_its_inputs(loss: Loss, dtype: torch.dtype, case: Case) -> None:
    sign = -1 if loss is partial_error else 1
    student, teacher, constants = ((side * 1.01).to(dtype) for side in case)
    wide = loss(student.double(), teacher.double(), sign * constants.double())
    found = loss(student, teacher, sign * constants)
    torch.testing.assert_close(found.double(), wide, rtol=1e-5, atol=1e-5)


@every_loss
def test_autocast_around_it_changes_nothing(loss: Loss) -> None:
    student, teacher, constants = (side.float() for side in random_case(loss, 3, 4, 2, 3))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(student, teacher, constants)
    torch.testing.assert_close(found, loss(student, teacher, constants), rtol=0, atol=0)
