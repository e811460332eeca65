"""The laws of the contrastive losses, against the definitions in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import Tensor

from limbeck.losses.contrastive import bank_contrastive, in_batch_contrastive

temperatures = st.sampled_from([0.07, 0.5, 1.0])


@st.composite
def embedding_pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    rows, width = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    numbers = st.integers(-16, 16).map(lambda quarters: quarters / 4)
    sides = draw(st.lists(numbers, min_size=2 * rows * width, max_size=2 * rows * width))
    student, teacher = torch.tensor(sides, dtype=torch.float64).reshape(2, rows, width)
    return student, teacher


@st.composite
def bank_scores(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    rows, negatives = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    numbers = draw(
        st.lists(st.floats(-1, 1), min_size=rows * (1 + negatives), max_size=rows * (1 + negatives))
    )
    scores = torch.tensor(numbers, dtype=torch.float64).reshape(rows, 1 + negatives)
    return scores[:, 0], scores[:, 1:]


def random_pair(rows: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, rows, 3, dtype=torch.float64, generator=generator)
    return student, teacher


def unit(rows: np.ndarray) -> np.ndarray:
    return np.stack([row / np.linalg.norm(row) if row.any() else row for row in rows])


@given(pair=embedding_pairs(), temperature=temperatures)
def test_in_batch_equals_the_definition(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    ours, theirs = (unit(side.numpy()) for side in pair)
    expected = torch.tensor(
        [logsumexp(theirs @ row / temperature) - row @ theirs[i] / temperature for i, row in enumerate(ours)]
    )
    found = in_batch_contrastive(*pair, temperature=temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = in_batch_contrastive(pair[0].float(), pair[1].float(), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_equal_embeddings_cost_the_logarithm_of_the_batch(rows: int, value: float) -> None:
    student = torch.full((rows, 3), value, requires_grad=True)
    found = in_batch_contrastive(student, torch.ones(rows, 3))
    torch.testing.assert_close(found, torch.full((rows,), math.log(rows)))
    found.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_a_batch_of_one_teaches_nothing() -> None:
    student = torch.tensor([[1.0, 2.0]], requires_grad=True)
    found = in_batch_contrastive(student, torch.tensor([[2.0, -1.0]]))
    assert (found == 0).all()
    found.sum().backward()
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_aligned_embeddings_cost_less_than_mixed_up_ones() -> None:
    rows = torch.eye(4)
    aligned = in_batch_contrastive(rows, rows, temperature=0.5)
    torch.testing.assert_close(aligned, torch.full((4,), math.log1p(3 * math.exp(-2.0))))
    mixed_up = in_batch_contrastive(rows, rows.roll(1, 0), temperature=0.5)
    assert (aligned < math.log(4)).all()
    assert (mixed_up > math.log(4)).all()


def test_in_batch_ignores_lengths_and_a_common_rotation() -> None:
    student, teacher = random_pair()
    turn = torch.linalg.qr(random_pair(3)[0])[0]
    lengths = torch.tensor([[0.1], [1.0], [3.0], [10.0], [100.0]], dtype=torch.float64)
    expected = in_batch_contrastive(student, teacher)
    torch.testing.assert_close(in_batch_contrastive(lengths * student @ turn, teacher @ turn), expected)
    torch.testing.assert_close(in_batch_contrastive(student, lengths * teacher), expected)


def test_in_batch_has_the_gradient_of_its_value() -> None:
    sides = [side.requires_grad_() for side in random_pair()]
    assert torch.autograd.gradcheck(lambda s, t: in_batch_contrastive(s, t, temperature=0.5), sides)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_in_batch_extremes_stay_finite(dtype: torch.dtype) -> None:
    rows = [[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 1e4, 1e4]]
    student = torch.tensor(rows, dtype=dtype, requires_grad=True)
    teacher = torch.tensor(
        [[-1e4, 1e4, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1e-4, 0.0, 0.0]], dtype=dtype
    )
    found = in_batch_contrastive(student, teacher, temperature=0.01)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=embedding_pairs())
def test_in_batch_half_precision_is_that_of_its_inputs(
    dtype: torch.dtype, pair: tuple[Tensor, Tensor]
) -> None:
    half = [side.to(dtype) for side in pair]
    wide = in_batch_contrastive(*(side.double() for side in half))
    torch.testing.assert_close(in_batch_contrastive(*half).double(), wide, rtol=1e-4, atol=1e-4)


def test_autocast_around_it_changes_nothing() -> None:
    student, teacher = (side.float() for side in random_pair())
    with torch.autocast("cpu", torch.bfloat16):
        found = in_batch_contrastive(student, teacher)
    torch.testing.assert_close(found, in_batch_contrastive(student, teacher), rtol=0, atol=0)


@given(scores=bank_scores(), temperature=temperatures, partition=st.floats(1, 1000))
def test_bank_equals_the_definition(
    scores: tuple[Tensor, Tensor], temperature: float, partition: float
) -> None:
    positive, negative = (side.numpy() for side in scores)
    noise = negative.shape[1] / 100

    def share(score: np.ndarray) -> np.ndarray:
        ratio = np.exp(score / temperature) / partition
        return ratio / (ratio + noise)

    expected = torch.from_numpy(-np.log(share(positive)) - np.log(1 - share(negative)).sum(1))
    settings = {"bank_examples": 100, "log_partition": math.log(partition), "temperature": temperature}
    found = bank_contrastive(*scores, **settings)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        narrow = [side.to(dtype) for side in scores]
        wide = bank_contrastive(*(side.double() for side in narrow), **settings)
        single = bank_contrastive(*narrow, **settings)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), wide, rtol=1e-4, atol=1e-4)


def test_undecided_costs_one_bit_a_decision() -> None:
    score = 0.5 * math.log(3 / 10)  # e = K / n
    found = bank_contrastive(
        torch.full((2,), score),
        torch.full((2, 3), score),
        bank_examples=10,
        log_partition=0.0,
        temperature=0.5,
    )
    torch.testing.assert_close(found, torch.full((2,), 4 * math.log(2)))


@given(scores=bank_scores(), shift=st.floats(-5, 5))
def test_the_partition_takes_up_a_constant_in_the_scores(scores: tuple[Tensor, Tensor], shift: float) -> None:
    positive, negative = scores
    expected = bank_contrastive(positive, negative, bank_examples=50, log_partition=2.0, temperature=0.5)
    moved = torch.tensor(2.0 + shift / 0.5, dtype=torch.float64)
    found = bank_contrastive(
        positive + shift, negative + shift, bank_examples=50, log_partition=moved, temperature=0.5
    )
    torch.testing.assert_close(found, expected)


def test_bank_pulls_the_positive_and_pushes_the_negatives() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = [torch.rand(shape, dtype=torch.float64, generator=generator) for shape in ((3,), (3, 4))]
    sides = [side.requires_grad_() for side in scores]

    def loss(positive: Tensor, negative: Tensor) -> Tensor:
        return bank_contrastive(positive, negative, bank_examples=50, log_partition=4.0, temperature=0.5)

    assert torch.autograd.gradcheck(loss, sides)
    pull, push = torch.autograd.grad(loss(*sides).sum(), sides)
    assert (pull < 0).all()
    assert (push > 0).all()


def test_bank_extremes_stay_finite() -> None:
    positive = torch.tensor([-1e4, 1e4, 0.0], requires_grad=True)
    negative = torch.tensor([[1e4, -1e4], [0.0, 0.0], [1.0, -1.0]], requires_grad=True)
    found = bank_contrastive(positive, negative, bank_examples=50000, log_partition=20.0, temperature=0.01)
    assert torch.isfinite(found).all()
    found.sum().backward()
    for side in (positive, negative):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()


def test_without_negatives_there_is_nothing_to_tell_apart() -> None:
    positive = torch.tensor([0.3, -0.2], requires_grad=True)
    found = bank_contrastive(positive, torch.empty(2, 0), bank_examples=10, log_partition=1.0)
    assert (found == 0).all()
    found.sum().backward()
    assert positive.grad is not None
    assert (positive.grad == 0).all()
