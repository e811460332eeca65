"""The laws of distances between attention scores and between token relations, against the definitions in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch import Tensor

from limbeck.errors import MethodError
from limbeck.losses.tokens import attention_score_error, relation_kl

Case = tuple[Tensor, Tensor, Tensor]


def seeded(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    batch, tokens = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    valid = draw(st.lists(st.booleans(), min_size=batch * tokens, max_size=batch * tokens))
    return torch.tensor(valid).reshape(batch, tokens)


@st.composite
def score_cases(draw: st.DrawFn) -> Case:
    mask, heads, seed = draw(masks()), draw(st.integers(1, 3)), draw(st.integers(0, 2**32))
    student, teacher = seeded(seed, 2, len(mask), heads, mask.shape[1], mask.shape[1]).unbind()
    return student, teacher, mask


@st.composite
def token_cases(draw: st.DrawFn) -> tuple[Case, int]:
    mask, heads, seed = draw(masks()), draw(st.integers(1, 3)), draw(st.integers(0, 2**32))
    student = seeded(seed, *mask.shape, heads * draw(st.integers(1, 3)))
    teacher = seeded(seed + 1, *mask.shape, heads * draw(st.integers(1, 3)))
    return (student, teacher, mask), heads


def score_case() -> Case:
    mask = torch.tensor([[True, True, True, False], [True, False, True, True], [True] * 4])
    student, teacher = seeded(0, 2, 3, 2, 4, 4).unbind()
    return student, teacher, mask


def token_case() -> Case:
    return seeded(1, 3, 4, 6), seeded(2, 3, 4, 12), score_case()[2]


def score_definition(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    found = []
    for sample in range(len(mask)):
        valid = np.flatnonzero(mask[sample].numpy())
        errors = [
            float(student[sample, head, i, j] - teacher[sample, head, i, j]) ** 2
            for head in range(student.shape[1])
            for i in valid
            for j in valid
        ]
        found.append(float(np.mean(errors)) if errors else 0.0)
    return torch.tensor(found, dtype=torch.float64)


def relation_definition(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    def relations(tokens: np.ndarray, head: int) -> np.ndarray:
        width = tokens.shape[1] // heads
        part = tokens[:, head * width : (head + 1) * width]
        return softmax(part @ part.T / math.sqrt(width), axis=-1)

    found = []
    for sample, valid in enumerate(mask.numpy()):
        if not valid.any():
            found.append(0.0)
            continue
        ours, theirs = student[sample].double().numpy()[valid], teacher[sample].double().numpy()[valid]
        divergences = [
            rel_entr(relations(theirs, head), relations(ours, head)).sum(-1) for head in range(heads)
        ]
        found.append(float(np.mean(divergences)))
    return torch.tensor(found, dtype=torch.float64)


@given(case=score_cases())
def test_score_error_equals_the_definition(case: Case) -> None:
    student, teacher, mask = case
    expected = score_definition(*case)
    torch.testing.assert_close(attention_score_error(*case), expected, rtol=1e-9, atol=1e-12)
    everything = score_definition(student, teacher, torch.ones_like(mask))
    torch.testing.assert_close(attention_score_error(student, teacher), everything, rtol=1e-9, atol=1e-12)
    single = attention_score_error(student.float(), teacher.float(), mask)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-6)


@given(drawn=token_cases())
def test_relation_kl_equals_the_definition(drawn: tuple[Case, int]) -> None:
    (student, teacher, mask), heads = drawn
    expected = relation_definition(student, teacher, mask, heads)
    found = relation_kl(student, teacher, relation_heads=heads, mask=mask)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    everything = relation_definition(student, teacher, torch.ones_like(mask), heads)
    found = relation_kl(student, teacher, relation_heads=heads)
    torch.testing.assert_close(found, everything, rtol=1e-8, atol=1e-10)
    single = relation_kl(student.float(), teacher.float(), relation_heads=heads, mask=mask)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


@given(case=score_cases())
def test_score_error_is_not_negative_and_zero_where_both_agree(case: Case) -> None:
    student, _, mask = case
    assert (attention_score_error(*case) >= 0).all()
    assert (attention_score_error(student, student.clone(), mask) == 0).all()


@given(drawn=token_cases())
def test_relation_kl_is_not_negative_and_zero_where_both_agree(drawn: tuple[Case, int]) -> None:
    (student, teacher, mask), heads = drawn
    assert (relation_kl(student, teacher, relation_heads=heads, mask=mask) >= -1e-12).all()
    assert (relation_kl(student, student.clone(), relation_heads=heads, mask=mask) == 0).all()


def test_padding_may_hold_anything() -> None:
    student, teacher, mask = score_case()
    seen = mask[:, None, :, None] & mask[:, None, None, :]
    expected = attention_score_error(student, teacher, mask)
    tokens = token_case()
    related = relation_kl(*tokens[:2], relation_heads=3, mask=mask)
    for junk in (-torch.inf, torch.nan, 1e30):
        ours = student.masked_fill(~seen, junk).requires_grad_()
        found = attention_score_error(ours, teacher, mask)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        (pull,) = torch.autograd.grad(found.sum(), ours)
        assert torch.isfinite(pull).all()
        assert (pull.masked_select(~seen) == 0).all()
        ours = tokens[0].masked_fill(~mask.unsqueeze(-1), junk).requires_grad_()
        found = relation_kl(ours, tokens[1], relation_heads=3, mask=mask)
        torch.testing.assert_close(found, related, rtol=0, atol=0)
        (pull,) = torch.autograd.grad(found.sum(), ours)
        assert torch.isfinite(pull).all()
        assert (pull[~mask] == 0).all()
        assert (pull[mask] != 0).all()


def test_longer_padding_changes_nothing() -> None:
    student, teacher, mask = token_case()
    padded = [torch.nn.functional.pad(side, (0, 0, 0, 3), value=7.0) for side in (student, teacher)]
    longer = torch.nn.functional.pad(mask, (0, 3), value=False)
    found = relation_kl(*padded, relation_heads=2, mask=longer)
    torch.testing.assert_close(found, relation_kl(student, teacher, relation_heads=2, mask=mask))


def test_a_sequence_without_tokens_teaches_nothing() -> None:
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    for pair, loss in (
        (score_case()[:2], lambda s, t: attention_score_error(s, t, nothing)),
        (token_case()[:2], lambda s, t: relation_kl(s, t, relation_heads=2, mask=nothing)),
    ):
        student = pair[0].requires_grad_()
        with torch.autograd.set_detect_anomaly(True):  # and has no nan on the way
            found = loss(student, pair[1])
            (pull,) = torch.autograd.grad(found.sum(), student)
        assert (found == 0).all()
        assert (pull == 0).all()


def test_scores_under_a_causal_mask_are_compared_where_there_are_any() -> None:
    student, teacher, mask = score_case()
    future = torch.ones(4, 4, dtype=torch.bool).triu(1)
    errors = (student - teacher).square()
    seen = (mask[:, None, :, None] & mask[:, None, None, :] & ~future).expand_as(errors)
    expected = torch.stack([error[valid].mean() for error, valid in zip(errors, seen, strict=True)])
    ours = student.masked_fill(future, -torch.inf).requires_grad_()
    found = attention_score_error(ours, teacher.masked_fill(future, -torch.inf), mask)
    torch.testing.assert_close(found, expected)
    (pull,) = torch.autograd.grad(found.sum(), ours)
    assert torch.isfinite(pull).all()
    assert attention_score_error(ours, teacher).isposinf().all()


def test_relations_ignore_a_rotation_within_each_head() -> None:
    student, teacher, mask = token_case()
    expected = relation_kl(student, teacher, relation_heads=2, mask=mask)
    assert (expected > 0.01).all()
    turns = [torch.linalg.qr(seeded(seed, 3, 3))[0] for seed in (3, 4)]
    turned = torch.cat([student[..., :3] @ turns[0], student[..., 3:] @ turns[1]], -1)
    torch.testing.assert_close(relation_kl(turned, teacher, relation_heads=2, mask=mask), expected)
    across = student @ torch.linalg.qr(seeded(5, 6, 6))[0]
    assert not torch.isclose(relation_kl(across, teacher, relation_heads=2, mask=mask), expected).any()


def test_relations_ignore_the_order_of_heads_that_both_sides_change() -> None:
    student, teacher, _ = token_case()
    swapped = [torch.cat([*side.chunk(2, -1)[::-1]], -1) for side in (student, teacher)]
    torch.testing.assert_close(
        relation_kl(*swapped, relation_heads=2), relation_kl(student, teacher, relation_heads=2)
    )


def test_relations_see_the_scale_of_a_side() -> None:
    student = token_case()[0]
    assert (relation_kl(2 * student, student, relation_heads=2) > 0.01).all()


def test_a_width_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(MethodError, match=r"teacher's tokens are 7 wide.*4 relation heads.*divides"):
        relation_kl(torch.zeros(1, 2, 8), torch.zeros(1, 2, 7), relation_heads=4)
    with pytest.raises(MethodError, match=r"student's tokens are 6 wide"):
        relation_kl(torch.zeros(1, 2, 6), torch.zeros(1, 2, 8), relation_heads=4)


def test_has_the_gradient_of_its_value() -> None:
    student, teacher, mask = score_case()
    sides = [student.requires_grad_(), teacher.requires_grad_()]
    assert torch.autograd.gradcheck(lambda s, t: attention_score_error(s, t, mask), sides)
    student, teacher, mask = token_case()
    sides = [student.requires_grad_(), teacher.requires_grad_()]
    assert torch.autograd.gradcheck(lambda s, t: relation_kl(s, t, relation_heads=3, mask=mask), sides)


def test_rows_are_alone() -> None:
    rows = [slice(row, row + 1) for row in range(3)]
    student, teacher, mask = score_case()
    apart = [attention_score_error(student[row], teacher[row], mask[row]) for row in rows]
    torch.testing.assert_close(attention_score_error(student, teacher, mask), torch.cat(apart))
    student, teacher, mask = token_case()
    apart = [relation_kl(student[row], teacher[row], relation_heads=3, mask=mask[row]) for row in rows]
    torch.testing.assert_close(relation_kl(student, teacher, relation_heads=3, mask=mask), torch.cat(apart))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, -1e4])
def test_zeros_constants_and_extremes_stay_finite(dtype: torch.dtype, value: float) -> None:
    extreme = 1e4 * token_case()[1].clamp(-1, 1)
    for other in (torch.zeros(3, 4, 12), torch.full((3, 4, 12), 1e4), extreme):
        student = torch.full((3, 4, 12), value, dtype=dtype, requires_grad=True)
        teacher = other.to(dtype).requires_grad_()
        scores = [side.view(3, 3, 4, 4) for side in (student, teacher)]
        for found in (
            relation_kl(student, teacher, relation_heads=3, mask=token_case()[2]),
            attention_score_error(*scores, token_case()[2]),
        ):
            assert found.dtype == torch.float32
            assert torch.isfinite(found).all()
            for pull in torch.autograd.grad(found.sum(), (student, teacher)):
                assert pull.dtype == dtype
                assert torch.isfinite(pull.float()).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(drawn=token_cases())
def test_half_precision_is_that_of_its_inputs(dtype: torch.dtype, drawn: tuple[Case, int]) -> None:
    (student, teacher, mask), heads = drawn
    half = [side.to(dtype) for side in (student, teacher)]
    wide = relation_kl(*(side.double() for side in half), relation_heads=heads, mask=mask)
    found = relation_kl(*half, relation_heads=heads, mask=mask)
    torch.testing.assert_close(found.double(), wide, rtol=1e-4, atol=1e-5)
    scores = [side.to(dtype) for side in score_case()[:2]]
    wide = attention_score_error(*(side.double() for side in scores))
    torch.testing.assert_close(attention_score_error(*scores).double(), wide, rtol=1e-4, atol=1e-6)


def test_autocast_around_it_changes_nothing() -> None:
    student, teacher = (side.float() for side in token_case()[:2])
    with torch.autocast("cpu", torch.bfloat16):
        found = relation_kl(student, teacher, relation_heads=3)
    torch.testing.assert_close(found, relation_kl(student, teacher, relation_heads=3), rtol=0, atol=0)
