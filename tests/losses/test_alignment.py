"""The laws of centred kernel alignment, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import MethodError
from limbeck.losses.alignment import debiased_cka, linear_cka

Alignment = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
every_alignment = pytest.mark.parametrize("alignment", [linear_cka, debiased_cka])
every_width = pytest.mark.parametrize("widths", [(3, 5), (20, 5), (3, 30), (20, 30)])


def cloud_pair(rows: int = 8, widths: tuple[int, int] = (3, 5), seed: int = 0) -> Pair:
    """Two clouds that share something: the second is a noisy linear image of the first."""
    generator = torch.Generator().manual_seed(seed)
    student, noise, mix = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((rows, widths[0]), (rows, widths[1]), widths)
    )
    return student, student @ mix + noise


def rotation(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=generator))[0]


def cosine(covariance: Callable[[np.ndarray, np.ndarray], float], pair: Pair) -> Tensor:
    ours, theirs = (side.numpy() @ side.numpy().T for side in pair)
    spread = covariance(ours, ours) * covariance(theirs, theirs)
    return torch.tensor(covariance(ours, theirs) / np.sqrt(spread), dtype=torch.float64)


def plain_covariance(one: np.ndarray, other: np.ndarray) -> float:
    centring = np.eye(len(one)) - 1 / len(one)
    return float(np.trace(one @ centring @ other @ centring)) / (len(one) - 1) ** 2


def debiased_covariance(one: np.ndarray, other: np.ndarray) -> float:
    count = len(one)
    k, m = one - np.diag(np.diag(one)), other - np.diag(np.diag(other))
    ones = np.ones(count)
    pairs = np.trace(k @ m)
    sums = (ones @ k @ ones) * (ones @ m @ ones) / ((count - 1) * (count - 2))
    rows = 2 / (count - 2) * (ones @ k @ m @ ones)
    return float(pairs + sums - rows) / (count * (count - 3))


COVARIANCES = {linear_cka: plain_covariance, debiased_cka: debiased_covariance}


@every_alignment
@every_width
@given(rows=st.integers(4, 10), seed=st.integers(0, 2**32))
def test_equals_the_definition(alignment: Alignment, widths: tuple[int, int], rows: int, seed: int) -> None:
    pair = cloud_pair(rows, widths, seed)
    expected = cosine(COVARIANCES[alignment], pair)
    torch.testing.assert_close(alignment(*pair), expected, rtol=1e-7, atol=1e-9)
    single = alignment(pair[0].float(), pair[1].float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-4)


@given(rows=st.integers(2, 12), seed=st.integers(0, 2**32))
def test_both_ways_to_compute_the_plain_one_agree(rows: int, seed: int) -> None:
    student, teacher = cloud_pair(rows, (3, 5), seed)
    wider = torch.nn.functional.pad(student, (0, 12))  # more columns than rows, and none of them new
    torch.testing.assert_close(linear_cka(student, teacher), linear_cka(wider, teacher))


@every_alignment
@every_width
@given(scale=st.floats(0.001, 1000), shift=st.floats(-100, 100))
def test_ignores_scale_rotation_and_translation_of_either_side(
    alignment: Alignment, widths: tuple[int, int], scale: float, shift: float
) -> None:
    student, teacher = cloud_pair(8, widths)
    expected = alignment(student, teacher)
    assert 0.1 < expected < 0.99
    moved = scale * student @ rotation(widths[0]) + shift
    torch.testing.assert_close(alignment(moved, teacher), expected, rtol=1e-7, atol=1e-9)
    moved = scale * teacher @ rotation(widths[1]) + shift
    torch.testing.assert_close(alignment(student, moved), expected, rtol=1e-7, atol=1e-9)


@every_alignment
def test_sees_a_stretch_and_the_order_of_the_samples(alignment: Alignment) -> None:
    student, teacher = cloud_pair()
    expected = alignment(student, teacher)
    stretched = student * torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64)
    assert not torch.isclose(alignment(stretched, teacher), expected, rtol=1e-3)
    order = torch.tensor([3, 0, 5, 1, 7, 4, 2, 6])
    torch.testing.assert_close(alignment(student[order], teacher[order]), expected)
    assert not torch.isclose(alignment(student[order], teacher), expected, rtol=1e-3)


@every_alignment
@every_width
def test_is_one_where_both_agree_and_less_elsewhere(alignment: Alignment, widths: tuple[int, int]) -> None:
    for rows in (4, 8):
        student, teacher = cloud_pair(rows, widths)
        torch.testing.assert_close(alignment(student, student.clone()), torch.ones((), dtype=torch.float64))
        assert alignment(student, teacher) < 0.999
        torch.testing.assert_close(alignment(student, teacher), alignment(teacher, student))


def test_independent_wide_layers_seem_alike_to_the_plain_one_and_not_to_the_debiased_one() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 16, 2000, generator=generator).unbind()
    assert linear_cka(student, teacher) > 0.5
    assert debiased_cka(student, teacher).abs() < 0.2
    debiased = [
        debiased_cka(*torch.randn(2, 16, 500, generator=generator).unbind()).item() for _ in range(200)
    ]
    error = np.std(debiased) / np.sqrt(len(debiased))
    assert abs(np.mean(debiased)) < 3 * error
    assert min(debiased) < 0


def test_both_agree_where_there_are_many_more_rows_than_columns() -> None:
    pair = cloud_pair(600)
    torch.testing.assert_close(debiased_cka(*pair), linear_cka(*pair), rtol=5e-3, atol=0)


def test_any_two_layers_are_alike_over_two_rows() -> None:
    torch.testing.assert_close(linear_cka(*cloud_pair(2)), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize(("alignment", "least"), [(linear_cka, 2), (debiased_cka, 4)])
def test_a_batch_that_is_too_small_is_refused(alignment: Alignment, least: int) -> None:
    for rows in range(1, least):
        message = rf"batch of {rows}, expected at least {least}. Raise batch_examples"
        with pytest.raises(MethodError, match=message):
            alignment(torch.randn(rows, 3), torch.randn(rows, 2))
    assert torch.isfinite(alignment(*cloud_pair(least)))


@every_alignment
@pytest.mark.parametrize("widths", [(3, 2), (2, 7)])
def test_has_the_gradient_of_its_value(alignment: Alignment, widths: tuple[int, int]) -> None:
    sides = [side.requires_grad_() for side in cloud_pair(5, widths)]
    assert torch.autograd.gradcheck(alignment, sides)


@every_alignment
@pytest.mark.parametrize("width", [2, 50])
@pytest.mark.parametrize("constant", [0.0, 0.1, 12345.678])
def test_rows_that_are_all_equal_are_like_nothing_and_get_no_gradient(
    alignment: Alignment, width: int, constant: float
) -> None:
    flat = torch.full((7, width), constant, requires_grad=True)
    found = alignment(flat, cloud_pair(7)[1].float())
    assert found == 0
    found.backward()
    assert flat.grad is not None
    assert (flat.grad == 0).all()
    assert alignment(flat, flat) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    rows=st.integers(4, 40),
    width=st.sampled_from([1, 3, 300]),
    shift=st.floats(-10, 10),
    seed=st.integers(0, 99),
)
def test_one_row_among_equal_ones_tells_the_debiased_one_nothing(
    dtype: torch.dtype, rows: int, width: int, shift: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    lonely = torch.full((rows, width), shift, dtype=dtype)
    lonely[seed % rows] += torch.randn(width, generator=generator, dtype=dtype)
    lonely.requires_grad_()
    found = debiased_cka(lonely, torch.randn(rows, 3, generator=generator, dtype=dtype))
    assert found == 0  # and not the direction of what rounding leaves
    found.backward()
    assert lonely.grad is not None
    assert (lonely.grad == 0).all()


@every_alignment
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("width", [3, 50])
def test_extremes_stay_finite(alignment: Alignment, dtype: torch.dtype, width: int) -> None:
    random = torch.randn(6, width, generator=torch.Generator().manual_seed(0))
    corners = 1e4 * random.sign()
    for ours, theirs in ((corners, random), (corners, corners), (1e4 + random, 1e-4 * random)):
        sides = [side.to(dtype).requires_grad_() for side in (ours, theirs)]
        found = alignment(*sides)
        assert found.dtype == torch.float32
        assert torch.isfinite(found)
        found.backward()
        for side in sides:
            assert side.grad is not None
            assert side.grad.dtype == dtype
            assert torch.isfinite(side.grad).all()


@every_alignment
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(seed=st.integers(0, 2**32))
def test_half_precision_is_that_of_its_inputs(alignment: Alignment, dtype: torch.dtype, seed: int) -> None:
    half = [side.to(dtype) for side in cloud_pair(10, (3, 5), seed)]
    wide = alignment(*(side.double() for side in half))
    torch.testing.assert_close(alignment(*half).double(), wide, rtol=1e-4, atol=1e-5)


@every_alignment
@every_width
def test_autocast_around_it_changes_nothing(alignment: Alignment, widths: tuple[int, int]) -> None:
    student, teacher = (side.float() for side in cloud_pair(8, widths))
    with torch.autocast("cpu", torch.bfloat16):
        found = alignment(student, teacher)
    torch.testing.assert_close(found, alignment(student, teacher), rtol=0, atol=0)
