"""The laws of comparing with a teacher of whom some classes are kept, against the definition in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.losses.sparse import sampled_cross_entropy, sampled_targets, top_k_kl, top_k_of

Case = tuple[Tensor, Tensor, int]
halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@st.composite
def cases(draw: st.DrawFn, bound: float = 30.0, left_out: int = 0) -> Case:
    """Student and teacher logits, and how many classes are kept."""
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    numbers = arrays.arrays(np.float64, (rows, classes), elements=st.floats(-bound, bound))
    kept = draw(st.integers(1, classes - left_out))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers)), kept


def definition(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    """The divergence of k + 1 buckets, row by row."""
    values = []
    for z, t, kept in zip(student.tolist(), teacher.tolist(), classes.tolist(), strict=True):
        q, p = softmax(z), softmax(t)
        left = [c for c in range(len(p)) if c not in kept]
        values.append(rel_entr(p[kept], q[kept]).sum() + rel_entr(p[left].sum(), q[left].sum()))
    return torch.tensor(values, dtype=torch.float64)


def divergence(student: Tensor, teacher: Tensor, k: int) -> Tensor:
    return top_k_kl(student, *top_k_of(teacher, k))


@given(case=cases())
def test_equals_the_definition(case: Case) -> None:
    student, teacher, k = case
    classes, kept = top_k_of(teacher, k)
    expected = definition(student, teacher, classes)
    torch.testing.assert_close(top_k_kl(student, classes, kept), expected, rtol=1e-9, atol=1e-9)
    single = top_k_kl(student.float(), classes.int(), kept.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@given(case=cases())
def test_keeps_the_likeliest_classes_with_their_log_probabilities(case: Case) -> None:
    _, teacher, k = case
    classes, kept = top_k_of(teacher, k)
    expected = log_softmax(teacher.numpy(), axis=-1)
    np.testing.assert_allclose(kept, -np.sort(-expected, axis=-1)[:, :k], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kept, np.take_along_axis(expected, classes.numpy(), -1), rtol=1e-9, atol=1e-12)
    assert all(len(set(row)) == k for row in classes.tolist())


@given(case=cases())
def test_lies_between_zero_and_the_full_divergence(case: Case) -> None:
    found = divergence(*case)
    assert (found >= -1e-12).all()
    assert (found <= forward_kl(*case[:2]) + 1e-10).all()


@pytest.mark.parametrize("left_out", [0, 1])
@given(case=cases())
def test_is_the_full_divergence_where_at_most_one_class_was_left_out(left_out: int, case: Case) -> None:
    student, teacher, _ = case
    found = divergence(student, teacher, teacher.shape[1] - left_out)
    torch.testing.assert_close(found, forward_kl(student, teacher), rtol=1e-9, atol=1e-9)


@given(case=cases())
def test_is_zero_where_both_agree(case: Case) -> None:
    _, teacher, k = case
    assert (divergence(teacher.clone(), teacher, k).abs() <= 1e-12).all()


@given(case=cases(bound=5.0, left_out=1))
def test_is_stationary_where_both_agree_and_stretching_the_top_k_is_not(case: Case) -> None:
    _, teacher, k = case
    student = teacher.clone().requires_grad_()
    classes, kept = top_k_of(teacher, k)
    (found,) = torch.autograd.grad(top_k_kl(student, classes, kept).sum(), student)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)
    stretched = sampled_cross_entropy(student, classes, kept.softmax(-1))  # sums to 1 over the kept
    (biased,) = torch.autograd.grad(stretched.sum(), student)
    p = teacher.softmax(-1)
    of_kept = torch.zeros_like(p).scatter(-1, classes, 1.0)
    mass = (p * of_kept).sum(-1, keepdim=True)
    torch.testing.assert_close(biased, p - of_kept * p / mass, rtol=1e-9, atol=1e-12)
    assert (biased.abs().sum(-1) > 1e-5).all()


@given(case=cases(), shift=st.floats(-50, 50))
def test_ignores_a_constant_added_to_the_logits(case: Case, shift: float) -> None:
    student, teacher, k = case
    expected = divergence(student, teacher, k)
    torch.testing.assert_close(divergence(student + shift, teacher, k), expected, rtol=1e-8, atol=1e-8)


@given(case=cases())
def test_is_silent_about_how_the_student_shares_out_the_tail(case: Case) -> None:
    student, teacher, k = case
    classes, kept = top_k_of(teacher, k)
    left = torch.ones_like(student, dtype=torch.bool).scatter(-1, classes, False)
    log_q = student.log_softmax(-1)
    tail = log_q.masked_fill(~left, -torch.inf).logsumexp(-1, keepdim=True)
    even = tail - left.sum(-1, keepdim=True).double().log()
    found = top_k_kl(torch.where(left, even, log_q), classes, kept)
    torch.testing.assert_close(found, top_k_kl(student, classes, kept), rtol=1e-8, atol=1e-8)


@given(case=cases(bound=3.0, left_out=1))
def test_has_the_gradient_of_its_value(case: Case) -> None:
    student, teacher, k = case
    classes, kept = top_k_of(teacher, k)
    assert torch.autograd.gradcheck(
        lambda z, t: top_k_kl(z, classes, t.log_softmax(-1).gather(-1, classes)),
        [student.clone().requires_grad_(), teacher.clone().requires_grad_()],
    )
    assert torch.autograd.gradcheck(
        lambda z, t: top_k_kl(z, classes, t), [student.clone().requires_grad_(), kept.requires_grad_()]
    )


@given(case=cases())
def test_an_absent_class_changes_nothing(case: Case) -> None:
    student, teacher, k = case
    absent = torch.full((len(student), 1), -torch.inf, dtype=torch.float64)
    wider = [torch.cat([side, absent], -1).requires_grad_() for side in (student, teacher)]
    for more in range(k, teacher.shape[1] + 2):  # at the end the absent class is among the kept
        classes, kept = top_k_of(teacher, min(more, teacher.shape[1]))
        expected = top_k_kl(student, classes, kept)
        if more > teacher.shape[1]:
            classes = top_k_of(wider[1], more)[0]
        found = top_k_kl(wider[0], classes, wider[1].log_softmax(-1).gather(-1, classes))
        torch.testing.assert_close(found.detach(), expected, rtol=1e-9, atol=1e-9)
        for gradient in torch.autograd.grad(found.sum(), wider):
            assert torch.isfinite(gradient).all()
            assert (gradient[:, -1] == 0).all()


def test_a_bucket_only_the_student_lacks_costs_everything() -> None:
    kept = torch.tensor([[0.5, 0.2]]).log()
    student = torch.tensor([[1.0, 2.0, -torch.inf, -torch.inf]])
    assert top_k_kl(student, torch.tensor([[0, 1]]), kept).isposinf().all()
    student = torch.tensor([[1.0, -torch.inf, 2.0, 0.0]])
    assert top_k_kl(student, torch.tensor([[0, 1]]), kept).isposinf().all()


@halves
def test_a_tail_feigned_by_rounding_costs_nothing(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 64, 200, generator=generator, dtype=torch.float64).unbind()
    classes, kept = top_k_of(teacher, 200)
    bound = 200 * torch.finfo(dtype).eps  # of a log-probability of up to 10, twice, with room
    expected = forward_kl(student, teacher)
    torch.testing.assert_close(top_k_kl(student, classes, kept.to(dtype)), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("first", [0.01, 0.0, -1e-45, -1e-38, -1e-30, -1e-7])
@pytest.mark.parametrize("other", [-1e4, -1.0, 0.0])
def test_a_tail_of_almost_nothing_stays_finite(dtype: torch.dtype, first: float, other: float) -> None:
    student = torch.tensor([[0.0, other, other]], dtype=dtype, requires_grad=True)
    kept = torch.tensor([[first]], dtype=dtype, requires_grad=True)
    found = top_k_kl(student, torch.tensor([[0]]), kept)
    assert torch.isfinite(found).all()
    assert (found >= -1e-6).all()
    for gradient in torch.autograd.grad(found.sum(), [student, kept]):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_extreme_logits_stay_finite(dtype: torch.dtype, k: int) -> None:
    rows = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]]
    student = torch.tensor(rows, dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], *rows[1:]], dtype=dtype, requires_grad=True)
    found = divergence(student, teacher, k)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    for gradient in torch.autograd.grad(found.sum(), [student, teacher]):
        assert gradient.dtype == dtype
        assert torch.isfinite(gradient).all()


@halves
@given(case=cases(bound=5.0))
def test_half_precision_is_that_of_its_inputs(dtype: torch.dtype, case: Case) -> None:
    student, teacher, k = case
    student = student.to(dtype)
    classes, kept = top_k_of(teacher, k)
    kept = kept.to(dtype)
    wide = top_k_kl(student.double(), classes, kept.double())
    torch.testing.assert_close(top_k_kl(student, classes, kept).double(), wide, rtol=1e-4, atol=1e-4)


@given(case=cases())
def test_rows_are_alone(case: Case) -> None:
    student, teacher, k = case
    apart = [divergence(student[row : row + 1], teacher[row : row + 1], k) for row in range(len(student))]
    torch.testing.assert_close(divergence(student, teacher, k), torch.cat(apart))


def test_takes_any_batch_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5, generator=generator).unbind()
    flat = divergence(student.flatten(0, 1), teacher.flatten(0, 1), 2)
    torch.testing.assert_close(divergence(student, teacher, 2).flatten(), flat)
    assert divergence(student[0, 0], teacher[0, 0], 2).shape == ()
    for rows in (student, student[0], student[0, 0]):
        classes, weights = sampled_targets(rows, 6)
        assert classes.shape == weights.shape == (*rows.shape[:-1], 6)
        assert sampled_cross_entropy(rows, classes, weights).shape == rows.shape[:-1]


@given(case=cases(), draws=st.integers(1, 5), seed=st.integers(0, 99))
def test_sampled_cross_entropy_equals_the_definition(case: Case, draws: int, seed: int) -> None:
    student, teacher, _ = case
    classes, weights = sampled_targets(teacher, draws, generator=torch.Generator().manual_seed(seed))
    weights = (weights * torch.arange(1, draws + 1)).double()
    log_q = log_softmax(student.numpy(), axis=-1)
    expected = [
        -sum(weight * log_q[row, c] for c, weight in zip(drawn, weights[row].tolist(), strict=True))
        for row, drawn in enumerate(classes.tolist())
    ]
    found = sampled_cross_entropy(student, classes, weights)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    halved = sampled_cross_entropy(student, classes.repeat(1, 2).int(), weights.repeat(1, 2) / 2)
    torch.testing.assert_close(halved, found)


@given(case=cases(bound=5.0), draws=st.integers(1, 3))
def test_sampled_cross_entropy_is_unbiased_in_value_and_gradient(case: Case, draws: int) -> None:
    """Over every possible sequence of draws, each weighted by how likely it is."""
    student, teacher, _ = case
    p = teacher[0].softmax(-1)
    outcomes = torch.tensor(list(itertools.product(range(len(p)), repeat=draws)))
    chances = p[outcomes].prod(-1)
    logits = student[0].clone().requires_grad_()
    values = sampled_cross_entropy(
        logits.expand(len(outcomes), -1), outcomes, torch.full(outcomes.shape, 1 / draws, dtype=torch.float64)
    )
    expectation = (chances * values).sum()
    torch.testing.assert_close(expectation, -(p * logits.log_softmax(-1)).sum(), rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(expectation, logits)
    torch.testing.assert_close(gradient, (logits.softmax(-1) - p).detach(), rtol=1e-9, atol=1e-9)


@given(case=cases(bound=3.0), draws=st.integers(1, 3))
def test_sampled_cross_entropy_has_the_gradient_of_its_value(case: Case, draws: int) -> None:
    student, teacher, _ = case
    classes, weights = sampled_targets(teacher, draws)
    assert torch.autograd.gradcheck(
        lambda z, w: sampled_cross_entropy(z, classes, w),
        [student.clone().requires_grad_(), weights.requires_grad_()],
    )


@given(case=cases(), shift=st.floats(-50, 50))
def test_sampled_cross_entropy_ignores_a_constant_and_other_rows(case: Case, shift: float) -> None:
    student, teacher, _ = case
    classes, weights = sampled_targets(teacher, 3, generator=torch.Generator().manual_seed(0))
    expected = sampled_cross_entropy(student, classes, weights)
    shifted = sampled_cross_entropy(student + shift, classes, weights)
    torch.testing.assert_close(shifted, expected, rtol=1e-8, atol=1e-8)
    alone = sampled_cross_entropy(student[:1], classes[:1], weights[:1])
    torch.testing.assert_close(alone, expected[:1])


def test_a_draw_without_weight_counts_nothing_even_for_an_absent_class() -> None:
    student = torch.tensor([[1.0, 2.0, -torch.inf]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    found = sampled_cross_entropy(student, torch.tensor([[0, 2]]), weights)
    expected = sampled_cross_entropy(student[:, :2], torch.tensor([[0]]), weights[:, :1])
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert torch.isfinite(gradient).all()
    assert gradient[0, 2] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_extreme_logits_stay_finite_when_sampled(dtype: torch.dtype, temperature: float) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    classes, weights = sampled_targets(student.flip(-1), 4, temperature=temperature)
    found = sampled_cross_entropy(student, classes, weights)
    assert found.dtype == weights.dtype == torch.float32
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@given(case=cases(bound=5.0), draws=st.integers(1, 8), temperature=st.sampled_from([0.5, 1.0, 1.5, 2.0]))
def test_draws_weigh_the_teacher_over_the_proposal(case: Case, draws: int, temperature: float) -> None:
    _, teacher, _ = case
    classes, weights = sampled_targets(teacher, draws, temperature=temperature)
    ratio = softmax(teacher.numpy(), axis=-1) / softmax(teacher.numpy() / temperature, axis=-1)
    expected = np.take_along_axis(ratio, classes.numpy(), -1)
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-9)
    if temperature == 1.0:
        np.testing.assert_allclose(weights, 1 / draws, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_draws_follow_the_proposal_and_its_generator(temperature: float) -> None:
    logits = torch.tensor([[2.0, 0.0, -torch.inf, 1.0], [0.0, -torch.inf, 3.0, 0.0]], requires_grad=True)
    draws = 20_000
    first, again = (
        sampled_targets(logits, draws, temperature=temperature, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(first[0], again[0])
    assert not first[1].requires_grad
    expected = (logits.detach() / temperature).softmax(-1)
    counts = torch.stack([row.bincount(minlength=4) for row in first[0]])
    assert (counts[expected == 0] == 0).all()
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert ((counts / draws - expected).abs() <= 4 * deviation).all()
