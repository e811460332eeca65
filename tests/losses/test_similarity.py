"""The laws of the losses over similarities within a batch, against the definitions in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from torch import Tensor

from limbeck.losses.similarity import (
    FLOOR,
    correlation_congruence,
    probabilistic_transfer,
    similarity_matrix_error,
    similarity_preserving,
)

Similarity = Callable[[Tensor, Tensor], Tensor]
ANGULAR = [probabilistic_transfer, correlation_congruence, similarity_matrix_error]
every_similarity = pytest.mark.parametrize("similarity", [similarity_preserving, *ANGULAR])
every_angular = pytest.mark.parametrize("similarity", ANGULAR)


@st.composite
def cloud_pairs(draw: st.DrawFn, least: int = 2) -> tuple[Tensor, Tensor]:
    """Two clouds of as many rows, on a coarse grid, so that equal rows and rows of zeros are common."""
    rows = draw(st.integers(least, 5))
    numbers = st.integers(-16, 16).map(lambda quarters: quarters / 4)
    widths = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    sides = (draw(st.lists(numbers, min_size=rows * width, max_size=rows * width)) for width in widths)
    student, teacher = (torch.tensor(side, dtype=torch.float64).reshape(rows, -1) for side in sides)
    return student, teacher


def random_pair(rows: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(rows, 3, dtype=torch.float64, generator=generator),
        torch.randn(rows, 5, dtype=torch.float64, generator=generator),
    )


def rotation(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=generator))[0]


def unit(rows: np.ndarray) -> np.ndarray:
    return np.stack([row / np.linalg.norm(row) if row.any() else row for row in rows])


def preserving_definition(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    gap = unit(student @ student.T) - unit(teacher @ teacher.T)
    return np.asarray(np.linalg.norm(gap) ** 2 / len(gap) ** 2)


def transfer_definition(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    def neighbours(rows: np.ndarray) -> np.ndarray:
        kernel = np.maximum(unit(rows) @ unit(rows).T + 1, 0) / 2 + FLOOR
        return kernel / kernel.sum(1, keepdims=True)

    return rel_entr(neighbours(teacher), neighbours(student)).sum(1)


def congruence_definition(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    def kernel(rows: np.ndarray) -> np.ndarray:
        cosine = unit(rows) @ unit(rows).T
        terms = (0.8**order / math.factorial(order) * cosine**order for order in (0, 1, 2))
        return math.exp(-0.8) * sum(terms, np.zeros_like(cosine))

    return np.asarray(((kernel(student) - kernel(teacher)) ** 2).sum() / len(student) ** 2)


def matrix_definition(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    ours, theirs = unit(student), unit(teacher)
    gaps = [
        (ours[i] @ ours[j] - theirs[i] @ theirs[j]) ** 2
        for i in range(len(ours))
        for j in range(len(ours))
        if i != j
    ]
    return np.asarray(np.mean(gaps))


DEFINITIONS = {
    similarity_preserving: preserving_definition,
    probabilistic_transfer: transfer_definition,
    correlation_congruence: congruence_definition,
    similarity_matrix_error: matrix_definition,
}


@every_similarity
@given(pair=cloud_pairs())
def test_equals_the_definition(similarity: Similarity, pair: tuple[Tensor, Tensor]) -> None:
    expected = torch.from_numpy(DEFINITIONS[similarity](*(side.numpy() for side in pair)))
    torch.testing.assert_close(similarity(*pair), expected, rtol=1e-8, atol=1e-8)


@every_similarity
def test_single_precision_is_close_to_the_definition(similarity: Similarity) -> None:
    pair = random_pair(20)
    expected = torch.from_numpy(DEFINITIONS[similarity](*(side.numpy() for side in pair)))
    single = similarity(pair[0].float(), pair[1].float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


@every_similarity
@given(pair=cloud_pairs(least=1))
def test_is_not_negative_and_zero_where_both_agree(
    similarity: Similarity, pair: tuple[Tensor, Tensor]
) -> None:
    assert (similarity(*pair) >= -1e-12).all()
    assert (similarity(pair[0], pair[0].clone()).abs() < 1e-15).all()


@every_similarity
@given(scale=st.floats(0.001, 1000))
def test_ignores_scale_and_rotation_of_either_side(similarity: Similarity, scale: float) -> None:
    student, teacher = random_pair()
    expected = similarity(student, teacher)
    assert (expected > 1e-4).all()
    found = similarity(scale * student @ rotation(3), teacher)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    found = similarity(student, scale * teacher @ rotation(5))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@every_similarity
def test_sees_a_translation(similarity: Similarity) -> None:
    student = random_pair()[0]
    assert (similarity(student + 3.0, student) > 1e-4).all()


@every_angular
def test_ignores_the_length_of_each_row(similarity: Similarity) -> None:
    student, teacher = random_pair()
    lengths = torch.tensor([[0.1], [1.0], [3.0], [10.0], [100.0], [0.5]], dtype=torch.float64)
    expected = similarity(student, teacher)
    torch.testing.assert_close(similarity(lengths * student, teacher), expected)
    torch.testing.assert_close(similarity(student, lengths * teacher), expected)


@every_similarity
def test_follows_the_samples_and_not_their_order(similarity: Similarity) -> None:
    student, teacher = random_pair()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    expected = similarity(student, teacher)
    found = similarity(student[order], teacher[order])
    torch.testing.assert_close(found, expected[order] if expected.ndim else expected)
    assert not torch.isclose(similarity(student[order], teacher).mean(), expected.mean())


@every_similarity
def test_has_the_gradient_of_its_value(similarity: Similarity) -> None:
    sides = [side.requires_grad_() for side in random_pair(4)]
    assert torch.autograd.gradcheck(similarity, sides)


@every_similarity
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_batch_of_one_teaches_nothing(similarity: Similarity, value: float) -> None:
    student = torch.full((1, 3), value, requires_grad=True)
    for teacher in (torch.ones(1, 2), torch.zeros(1, 2)):
        student.grad = None
        found = similarity(student, teacher)
        assert (found == 0).all()
        found.sum().backward()
        assert student.grad is not None
        assert (student.grad == 0).all()


@every_similarity
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_stay_finite(similarity: Similarity, dtype: torch.dtype) -> None:
    rows = [[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 1e4, 0.0], [1e-4, 0.0, 0.0]]
    student = torch.tensor(rows, dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0], [1e4, 0.0], [0.0, 1e4], [1e4, 0.0], [1.0, 1.0]], dtype=dtype)
    for other in (teacher, torch.zeros_like(teacher)):
        student.grad = None
        found = similarity(student, other)
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        found.sum().backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
        assert student.grad.dtype == dtype


@every_similarity
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_its_inputs(similarity: Similarity, dtype: torch.dtype) -> None:
    half = [side.to(dtype) for side in random_pair(20)]
    wide = similarity(*(side.double() for side in half))
    torch.testing.assert_close(similarity(*half).double(), wide, rtol=1e-4, atol=1e-5)


@every_similarity
def test_autocast_around_it_changes_nothing(similarity: Similarity) -> None:
    student, teacher = (side.float() for side in random_pair())
    with torch.autocast("cpu", torch.bfloat16):
        found = similarity(student, teacher)
    torch.testing.assert_close(found, similarity(student, teacher), rtol=0, atol=0)


def test_preserving_takes_feature_maps_of_any_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(4, 2, 3, 3, generator=generator)
    teacher = torch.randn(4, 7, 5, generator=generator)
    found = similarity_preserving(student, teacher)
    torch.testing.assert_close(found, similarity_preserving(student.flatten(1), teacher.flatten(1)))


def test_transfer_is_a_divergence_of_each_row_and_not_a_mean_over_pairs() -> None:
    student, teacher = random_pair()
    once = probabilistic_transfer(student, teacher)
    twice = probabilistic_transfer(student.repeat(2, 1), teacher.repeat(2, 1))
    torch.testing.assert_close(twice, once.repeat(2))  # a mean over batch² entries would halve


def test_transfer_keeps_a_logarithm_for_rows_whose_cosine_rounds_below_minus_one() -> None:
    rows = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    student = torch.cat([rows, -rows]).requires_grad_()
    found = probabilistic_transfer(student, student.detach().roll(1, 0))
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_congruence_approaches_that_of_the_gaussian_kernel() -> None:
    student, teacher = random_pair()
    gamma = 0.01
    kernels = (
        torch.exp(-gamma * torch.cdist(side, side).square())
        for side in (torch.nn.functional.normalize(student), torch.nn.functional.normalize(teacher))
    )
    ours, theirs = kernels
    exact = (ours - theirs).square().mean()
    torch.testing.assert_close(
        correlation_congruence(student, teacher, gamma=gamma), exact, rtol=1e-3, atol=0
    )


def test_matrix_error_ignores_the_widths() -> None:
    student, teacher = random_pair()
    wider = torch.nn.functional.pad(student, (0, 4))
    torch.testing.assert_close(
        similarity_matrix_error(wider, teacher), similarity_matrix_error(student, teacher)
    )
    assert similarity_matrix_error(wider, student) < 1e-15
