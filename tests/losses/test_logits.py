"""The laws of the distances between logits and of the correlation distances, against numpy in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.losses.logits import class_correlation_distance, correlation_distance, logit_mse, standardised

Rows = NDArray[np.float64]
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])
HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@st.composite
def logit_pairs(draw: st.DrawFn, bound: float = 10.0) -> tuple[Tensor, Tensor]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers))


def random_pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64).unbind()
    return student, teacher


def with_absent(side: Tensor) -> Tensor:
    absent = torch.full((*side.shape[:-1], 1), -torch.inf, dtype=side.dtype)
    return torch.cat([side[..., :1], absent, side[..., 1:]], -1).requires_grad_()


def softened(logits: Tensor, temperature: float = 1.0) -> Rows:
    return np.asarray(softmax(logits.double().numpy() / temperature, axis=-1))


def uncorrelated(rows: Rows, others: Rows) -> Tensor:
    pairs = zip(rows, others, strict=True)
    return torch.tensor([1 - np.corrcoef(row, other)[0, 1] for row, other in pairs], dtype=torch.float64)


def spread(rows: Rows) -> bool:
    """Whether each row differs enough from a constant for numpy's correlation to be precise."""
    return bool((rows.std(-1) > 1e-3 * rows.mean(-1)).all())


# Squared differences


@pytest.mark.parametrize("centred", [False, True])
@given(pair=logit_pairs())
def test_logit_mse_equals_the_definition(centred: bool, pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = (side.numpy() for side in pair)
    if centred:
        student, teacher = (side - side.mean(-1, keepdims=True) for side in (student, teacher))
    expected = torch.from_numpy(((student - teacher) ** 2).mean(-1))
    torch.testing.assert_close(logit_mse(*pair, centred=centred), expected, rtol=1e-9, atol=1e-9)
    single = logit_mse(*(side.float() for side in pair), centred=centred)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("centred", [False, True])
@given(pair=logit_pairs())
def test_logit_mse_is_zero_where_both_agree(centred: bool, pair: tuple[Tensor, Tensor]) -> None:
    assert (logit_mse(pair[0], pair[0].clone(), centred=centred) == 0).all()


@given(pair=logit_pairs(), shift=st.floats(1, 50))
def test_only_the_centred_logit_mse_ignores_a_constant(pair: tuple[Tensor, Tensor], shift: float) -> None:
    student, teacher = pair
    expected = logit_mse(student, teacher, centred=True)
    for sides in ((student + shift, teacher), (student, teacher + shift)):
        torch.testing.assert_close(logit_mse(*sides, centred=True), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        logit_mse(student + shift, student), torch.full_like(expected, shift**2), rtol=1e-8, atol=1e-8
    )


def test_half_the_centred_logit_mse_is_the_limit_of_softened_kl() -> None:
    student, teacher = random_pair(8, 5)
    softened_kl = 1e4**2 * forward_kl(student, teacher, temperature=1e4)
    torch.testing.assert_close(logit_mse(student, teacher, centred=True) / 2, softened_kl, rtol=1e-3, atol=0)


@pytest.mark.parametrize("centred", [False, True])
@given(pair=logit_pairs(bound=3.0))
def test_logit_mse_has_the_gradient_of_its_value(centred: bool, pair: tuple[Tensor, Tensor]) -> None:
    sides = [side.clone().requires_grad_() for side in pair]
    assert torch.autograd.gradcheck(lambda s, t: logit_mse(s, t, centred=centred), sides, fast_mode=True)


@pytest.mark.parametrize("centred", [False, True])
@given(pair=logit_pairs())
def test_logit_mse_counts_the_classes_that_both_sides_have(
    centred: bool, pair: tuple[Tensor, Tensor]
) -> None:
    student, teacher = pair
    extra = torch.full((len(student), 1), 7.0, dtype=torch.float64)
    absent = torch.full_like(extra, -torch.inf)
    student = torch.cat([student, absent, extra, absent], -1).requires_grad_()
    teacher = torch.cat([teacher, absent, absent, extra], -1).requires_grad_()
    found = logit_mse(student, teacher, centred=centred)
    torch.testing.assert_close(found, logit_mse(*pair, centred=centred))
    for slope in torch.autograd.grad(found.sum(), [student, teacher]):
        assert torch.isfinite(slope).all()
        assert (slope[:, -3:] == 0).all()


def test_logit_mse_of_nothing_in_common_is_zero() -> None:
    student, teacher = torch.tensor([[1.0, -torch.inf]]), torch.tensor([[-torch.inf, 1.0]])
    for centred in (False, True):
        assert (logit_mse(student, teacher, centred=centred) == 0).all()


# Standardised logits


@given(pair=logit_pairs())
def test_standardised_logits_have_the_mean_and_deviation_of_the_population(
    pair: tuple[Tensor, Tensor],
) -> None:
    logits = pair[0].numpy()
    assume((logits.std(-1) > 1e-3).all())
    expected = (logits - logits.mean(-1, keepdims=True)) / logits.std(-1, keepdims=True, ddof=0)
    torch.testing.assert_close(standardised(pair[0]), torch.from_numpy(expected), rtol=1e-7, atol=1e-7)


@given(pair=logit_pairs(), scale=st.floats(0.1, 10), shift=st.floats(-50, 50))
def test_standardised_logits_ignore_a_positive_factor_and_a_constant(
    pair: tuple[Tensor, Tensor], scale: float, shift: float
) -> None:
    logits = pair[0]
    assume((logits.std(-1, correction=0) > 1e-2).all())
    torch.testing.assert_close(
        standardised(scale * logits + shift), standardised(logits), rtol=1e-7, atol=1e-7
    )
    same = forward_kl(standardised(scale * logits + shift), standardised(logits), temperature=2.0)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-9)


@given(gap=st.floats(1e-2, 1e3))
def test_of_two_classes_only_a_sign_is_left(gap: float) -> None:
    logits = torch.tensor([[gap, 0.0], [0.0, gap]], dtype=torch.float64)
    torch.testing.assert_close(standardised(logits), logits.new_tensor([[1, -1], [-1, 1]]), rtol=1e-9, atol=0)


def test_equal_logits_become_zeros_with_a_finite_gradient() -> None:
    logits = torch.full((1, 4), 2.5, requires_grad=True)
    found = standardised(logits)
    assert (found == 0).all()
    (slope,) = torch.autograd.grad(found[0, 0], logits)
    assert torch.isfinite(slope).all()


def test_standardised_logits_leave_an_absent_class_out() -> None:
    logits, _ = random_pair(3, 5)
    whole = with_absent(logits)
    found = standardised(whole)
    assert found[:, 1].isneginf().all()
    torch.testing.assert_close(found[:, [0, 2, 3, 4, 5]], standardised(logits))
    (slope,) = torch.autograd.grad(found[:, [0, 2]].square().sum(), whole)
    assert torch.isfinite(slope).all()
    assert (slope[:, 1] == 0).all()


def test_standardised_logits_have_the_gradient_of_their_value() -> None:
    logits, _ = random_pair(2, 3, 4)
    assert torch.autograd.gradcheck(standardised, [logits.requires_grad_()])


@HALVES
def test_standardising_widens_halves(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [1.0, 2.0, 4.0]], dtype=dtype)
    found = standardised(logits)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), standardised(logits.double()), rtol=1e-5, atol=1e-5)


# Correlations

Correlation = Callable[..., Tensor]
both_correlations = pytest.mark.parametrize("distance", [correlation_distance, class_correlation_distance])


@given(pair=logit_pairs(), temperature=temperatures)
def test_correlation_over_classes_equals_the_definition(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    q, p = (softened(side, temperature) for side in pair)
    assume(spread(q) and spread(p))
    found = correlation_distance(*pair, temperature=temperature)
    torch.testing.assert_close(found, uncorrelated(q, p), rtol=1e-9, atol=1e-9)
    single = correlation_distance(*(side.float() for side in pair), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(2, 3), (8, 5), (3, 4, 5)])
def test_correlation_over_examples_equals_the_definition(shape: tuple[int, ...], temperature: float) -> None:
    pair = random_pair(*shape)
    q, p = (softened(side, temperature).reshape(-1, shape[-1]).T for side in pair)
    found = class_correlation_distance(*pair, temperature=temperature)
    torch.testing.assert_close(found, uncorrelated(q, p), rtol=1e-9, atol=1e-9)
    single = class_correlation_distance(*(side.float() for side in pair), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-4, atol=1e-4)


@both_correlations
@given(pair=logit_pairs(), temperature=temperatures)
def test_correlation_distances_lie_between_0_and_2(
    distance: Correlation, pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    found = distance(*pair, temperature=temperature)
    assert ((found >= 0) & (found <= 2 + 1e-12)).all()


@both_correlations
def test_correlation_distances_are_zero_where_both_agree(distance: Correlation) -> None:
    student, _ = random_pair(6, 4)
    student.requires_grad_()
    found = distance(student, student.detach().clone())
    assert (found == 0).all()
    (slope,) = torch.autograd.grad(found.sum(), student)
    assert (slope == 0).all()


def test_probabilities_mirrored_about_their_mean_are_at_2() -> None:
    p = torch.tensor([0.1, 0.3, 0.6])
    torch.testing.assert_close(
        correlation_distance((1 / 3 - (p - 1 / 3) / 2).log(), p.log()), torch.tensor(2.0)
    )


@both_correlations
@given(share=st.floats(0.05, 0.95))
def test_correlation_distances_ignore_scale_and_offset_of_probabilities_but_not_of_logits(
    distance: Correlation, share: float
) -> None:
    student, teacher = random_pair(6, 5)
    expected = distance(student, teacher)
    mixed = (share * student.softmax(-1) + (1 - share) / 5).log()  # a distribution, affine in the old one
    torch.testing.assert_close(distance(mixed, teacher), expected, rtol=1e-8, atol=1e-8)
    assert ((distance(3 * student, teacher) - expected).abs() > 1e-4).all()


@both_correlations
@given(shift=st.floats(-50, 50))
def test_correlation_distances_ignore_a_constant_added_to_the_logits(
    distance: Correlation, shift: float
) -> None:
    student, teacher = random_pair(6, 5)
    expected = distance(student, teacher)
    torch.testing.assert_close(distance(student + shift, teacher), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(distance(student, teacher + shift), expected, rtol=1e-8, atol=1e-8)


@both_correlations
def test_correlation_distances_have_the_gradient_of_their_value(distance: Correlation) -> None:
    sides = [side.requires_grad_() for side in random_pair(4, 5)]
    temperature = torch.tensor([[0.5], [1.0], [2.0], [4.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, t, T: distance(s, t, temperature=T), [*sides, temperature])


@both_correlations
def test_an_absent_class_changes_no_correlation(distance: Correlation) -> None:
    pair = random_pair(6, 5)
    sides = [with_absent(side) for side in pair]
    found = distance(*sides)
    expected = distance(*pair)
    if distance is class_correlation_distance:
        assert found[1] == 0
        found = found[[0, 2, 3, 4, 5]]
    torch.testing.assert_close(found, expected)
    for slope in torch.autograd.grad(found.sum(), sides):
        assert torch.isfinite(slope).all()
        assert (slope[:, 1] == 0).all()


@both_correlations
def test_a_class_that_one_side_lacks_has_a_probability_of_zero(distance: Correlation) -> None:
    student, teacher = random_pair(6, 5)
    student[:4, 2] = -torch.inf
    q, p = softened(student), softened(teacher)
    expected = uncorrelated(q, p) if distance is correlation_distance else uncorrelated(q.T, p.T)
    torch.testing.assert_close(distance(student, teacher), expected)


@both_correlations
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_probabilities_have_no_correlation(
    distance: Correlation, classes: int, dtype: torch.dtype
) -> None:
    constant = torch.full((7, classes), 0.1, dtype=dtype, requires_grad=True)
    varied = torch.randn(7, classes, dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for sides in ((constant, varied), (varied, constant), (constant, constant.detach().clone())):
        found = distance(*sides)
        assert (found == 1).all()
        for slope in torch.autograd.grad(found.sum(), [side for side in sides if side.requires_grad]):
            assert (slope == 0).all()


@pytest.mark.parametrize("logit", [-4.5, -9.0, -40.0])
def test_a_class_whose_probability_differs_by_rounding_has_no_correlation(logit: float) -> None:
    student = torch.tensor([logit, 0.0, -0.5, -1.0, -2.0]).repeat(8, 1)
    student[::2, 0] = student[::2, 0].nextafter(torch.tensor(0.0))
    assert len(student.log_softmax(-1)[:, 0].unique()) == 2
    teacher = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    assert class_correlation_distance(student, teacher)[0] == 1


def test_a_batch_of_one_has_no_correlation_over_examples() -> None:
    student, teacher = random_pair(1, 5)
    assert (class_correlation_distance(student, teacher) == 1).all()
    assert (class_correlation_distance(student[0], teacher[0]) == 1).all()


def test_correlation_over_examples_sees_a_class_that_is_never_likely() -> None:
    """Its probabilities are too small to be squared in fp32."""
    student, teacher = random_pair(6, 3)
    student[:, 0] -= 70
    teacher[:, 0] -= 70
    found = class_correlation_distance(student.float(), teacher.float())
    torch.testing.assert_close(
        found.double(), class_correlation_distance(student, teacher), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("loss", [logit_mse, correlation_distance, class_correlation_distance])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(loss: Correlation, dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    found = loss(student, teacher)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    for slope in torch.autograd.grad(found.sum(), [student, teacher]):
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("loss", [logit_mse, correlation_distance, class_correlation_distance])
@HALVES
def test_half_precision_is_that_of_its_inputs(loss: Correlation, dtype: torch.dtype) -> None:
    half = [side.to(dtype) for side in random_pair(6, 5)]
    wide = loss(*(side.double() for side in half))
    torch.testing.assert_close(loss(*half).double(), wide, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", [logit_mse, correlation_distance])
def test_rows_are_alone_in_any_batch_shape(loss: Correlation) -> None:
    student, teacher = random_pair(2, 3, 5)
    whole = loss(student, teacher)
    assert whole.shape == (2, 3)
    for row in np.ndindex(2, 3):
        torch.testing.assert_close(loss(student[row], teacher[row]), whole[row])
