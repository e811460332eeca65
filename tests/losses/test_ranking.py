"""The laws of distances between scored lists, against the definition in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, logsumexp, rel_entr, softmax
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.losses.ranking import list_kl, margin_squared_error, pairwise_logistic, plackett_luce

Loss = Callable[..., Tensor]
Lists = tuple[Tensor, Tensor, Tensor]
LISTWISE: dict[str, Loss] = {
    "list_kl": list_kl,
    "pairwise_logistic": pairwise_logistic,
    "plackett_luce": partial(plackett_luce, k=2),
}
every_listwise = pytest.mark.parametrize("loss", LISTWISE.values(), ids=LISTWISE)
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


@st.composite
def lists(draw: st.DrawFn, bound: float = 10.0, items: int = 1) -> Lists:
    """Scores of student and teacher (some tied), and which items are there, perhaps none."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(items, 5)))
    student = draw(arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound)))
    teacher = draw(arrays.arrays(np.int64, shape, elements=st.integers(-int(bound), int(bound))))
    valid = draw(arrays.arrays(np.bool_, shape))
    return torch.from_numpy(student), torch.from_numpy(teacher / 2), torch.from_numpy(valid)


def kept(scores: Tensor, valid: Tensor, row: int) -> np.ndarray:
    return scores[row].numpy()[valid[row].numpy()]


@given(drawn=lists(), temperature=temperatures)
def test_list_kl_equals_the_definition(drawn: Lists, temperature: float) -> None:
    student, teacher, valid = drawn
    expected = []
    for row in range(len(student)):
        s, t = kept(student, valid, row) / temperature, kept(teacher, valid, row) / temperature
        expected.append(rel_entr(softmax(t), softmax(s)).sum() if len(s) else 0.0)
    found = list_kl(student, teacher, valid=valid, temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(drawn=lists(), temperature=temperatures)
def test_list_kl_is_a_divergence(drawn: Lists, temperature: float) -> None:
    student, teacher, valid = drawn
    assert (list_kl(student, teacher, valid=valid, temperature=temperature) >= -1e-12).all()
    assert (list_kl(student, student.clone(), valid=valid, temperature=temperature) == 0).all()
    full = list_kl(student, teacher, temperature=temperature)
    torch.testing.assert_close(full, forward_kl(student, teacher, temperature=temperature))


@given(drawn=lists())
def test_pairwise_logistic_equals_the_definition(drawn: Lists) -> None:
    student, teacher, valid = drawn
    expected = []
    for row in range(len(student)):
        s, t = kept(student, valid, row), kept(teacher, valid, row)
        pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if t[i] > t[j]]
        expected.append(np.mean([np.logaddexp(0.0, s[j] - s[i]) for i, j in pairs]) if pairs else 0.0)
    found = pairwise_logistic(student, teacher, valid=valid)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_pairwise_logistic_of_ties_only_is_zero_without_a_gradient() -> None:
    student = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = pairwise_logistic(student, torch.ones(2, 3))
    assert (found == 0).all()
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert (gradient == 0).all()


@given(drawn=lists())
def test_only_the_order_of_the_teacher_counts(drawn: Lists) -> None:
    student, teacher, valid = drawn
    for loss in (pairwise_logistic, partial(plackett_luce, k=3)):
        expected = loss(student, teacher, valid=valid)
        torch.testing.assert_close(loss(student, (teacher / 5).exp() * 3 + 1, valid=valid), expected)


@given(drawn=lists(), k=st.integers(1, 6))
def test_plackett_luce_equals_the_definition(drawn: Lists, k: int) -> None:
    student, teacher, valid = drawn
    expected = []
    for row in range(len(student)):
        s, t = kept(student, valid, row), kept(teacher, valid, row)
        ordered = s[np.argsort(-t, kind="stable")]
        expected.append(sum(logsumexp(ordered[r:]) - ordered[r] for r in range(min(k, len(s)))))
    found = plackett_luce(student, teacher, k=k, valid=valid)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@given(drawn=lists(bound=3.0))
def test_plackett_luce_gives_all_orders_of_the_top_a_probability_of_one(k: int, drawn: Lists) -> None:
    scores = drawn[0][:1]
    items = scores.shape[1]
    top = min(k, items)
    chances = []
    for order in itertools.permutations(range(items), top):
        teacher = torch.zeros(1, items, dtype=torch.float64)
        teacher[0, list(order)] = torch.arange(top, 0, -1, dtype=torch.float64)
        chances.append((-plackett_luce(scores, teacher, k=k)).exp())
    torch.testing.assert_close(torch.cat(chances).sum(), torch.tensor(1.0, dtype=torch.float64))


@given(drawn=lists(items=3), k=st.integers(1, 3))
def test_plackett_luce_is_silent_about_the_order_of_the_rest(drawn: Lists, k: int) -> None:
    student = drawn[0]
    teacher = torch.arange(student.shape[1], 0, -1, dtype=torch.float64).expand_as(student)
    mixed = torch.cat([student[:, :k], student[:, k:].flip(-1)], -1)
    expected = plackett_luce(student, teacher, k=k)
    torch.testing.assert_close(plackett_luce(mixed, teacher, k=k), expected)


def test_plackett_luce_prefers_the_order_of_the_teacher() -> None:
    orders = torch.tensor(list(itertools.permutations([3.0, 2.0, 1.0, 0.0])), dtype=torch.float64)
    for k in (1, 2, 3, 4):
        values = plackett_luce(orders, orders[:1].expand_as(orders), k=k)
        assert values[0] == values.min()
        assert values[0] < values[-1]  # reversed
        sharper = plackett_luce(10 * orders, orders[:1].expand_as(orders), k=k)
        assert sharper[0] < values[0]


@given(drawn=lists())
def test_plackett_luce_of_the_first_item_alone_is_its_cross_entropy(drawn: Lists) -> None:
    student, teacher, _ = drawn
    best = [int(np.argmax(row)) for row in teacher.numpy()]
    expected = -log_softmax(student.numpy(), axis=-1)[np.arange(len(best)), best]
    np.testing.assert_allclose(plackett_luce(student, teacher, k=1), expected, rtol=1e-9, atol=1e-9)


@every_listwise
@given(drawn=lists(), filling=st.sampled_from([0.0, 1e4, -torch.inf, torch.inf, torch.nan]))
def test_padding_does_not_matter(loss: Loss, drawn: Lists, filling: float) -> None:
    student, teacher, valid = drawn
    padded = [torch.where(valid, side, filling).requires_grad_() for side in (student, teacher)]
    found = loss(*padded, valid=valid)
    torch.testing.assert_close(found.detach(), loss(student, teacher, valid=valid))
    for gradient in torch.autograd.grad(found.sum(), padded, allow_unused=True):
        if gradient is not None:
            assert torch.isfinite(gradient).all()
            assert (gradient[~valid] == 0).all()


@every_listwise
@given(drawn=lists())
def test_a_longer_list_of_padding_is_the_same_list(loss: Loss, drawn: Lists) -> None:
    student, teacher, valid = drawn
    longer = [torch.cat([side, side + 7.0], -1) for side in (student, teacher)]
    mask = torch.cat([valid, torch.zeros_like(valid)], -1)
    torch.testing.assert_close(loss(*longer, valid=mask), loss(student, teacher, valid=valid))


@every_listwise
@given(drawn=lists())
def test_the_places_of_the_items_do_not_matter(loss: Loss, drawn: Lists) -> None:
    student, teacher, valid = drawn
    teacher = teacher + torch.arange(teacher.shape[1]) / 100  # without ties
    flipped = loss(student.flip(-1), teacher.flip(-1), valid=valid.flip(-1))
    torch.testing.assert_close(flipped, loss(student, teacher, valid=valid), rtol=1e-9, atol=1e-9)


@every_listwise
@given(drawn=lists(), shift=st.floats(-50, 50))
def test_ignores_a_constant_for_each_query(loss: Loss, drawn: Lists, shift: float) -> None:
    student, teacher, valid = drawn
    constants = shift * torch.arange(1, len(student) + 1)[:, None]
    expected = loss(student, teacher, valid=valid)
    shifted = loss(student + constants, teacher, valid=valid)
    torch.testing.assert_close(shifted, expected, rtol=1e-8, atol=1e-8)
    shifted = loss(student, teacher + constants.round(), valid=valid)
    torch.testing.assert_close(shifted, expected, rtol=1e-8, atol=1e-8)


@every_listwise
@given(drawn=lists(bound=3.0))
def test_has_the_gradient_of_its_value(loss: Loss, drawn: Lists) -> None:
    student, teacher, valid = drawn
    assert torch.autograd.gradcheck(
        lambda s: loss(s, teacher, valid=valid), [student.clone().requires_grad_()]
    )
    if loss is list_kl:
        assert torch.autograd.gradcheck(
            lambda t: loss(student, t, valid=valid), [teacher.clone().requires_grad_()]
        )


@every_listwise
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_scores_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0, 1e4], [-1e4, 1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0, 0.0], [-1e4, 1e4, 1e4, 1.0]], dtype=dtype, requires_grad=True)
    valid = torch.tensor([[True, True, True, False], [True] * 4])
    for mask in (None, valid):
        found = loss(student, teacher, valid=mask)
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        for gradient in torch.autograd.grad(found.sum(), [student, teacher], allow_unused=True):
            if gradient is not None:
                assert gradient.dtype == dtype
                assert torch.isfinite(gradient).all()


@every_listwise
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(drawn=lists())
def test_half_precision_is_that_of_its_inputs(loss: Loss, dtype: torch.dtype, drawn: Lists) -> None:
    half = [side.to(dtype) for side in drawn[:2]]
    wide = loss(*(side.double() for side in half), valid=drawn[2])
    found = loss(*half, valid=drawn[2])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wide, rtol=1e-4, atol=1e-4)


@every_listwise
@given(drawn=lists())
def test_rows_are_alone(loss: Loss, drawn: Lists) -> None:
    student, teacher, valid = drawn
    apart = [
        loss(*(side[row : row + 1] for side in drawn[:2]), valid=valid[row : row + 1])
        for row in range(len(valid))
    ]
    torch.testing.assert_close(loss(student, teacher, valid=valid), torch.cat(apart))


@every_listwise
@given(drawn=lists())
def test_a_query_without_items_costs_and_teaches_nothing(loss: Loss, drawn: Lists) -> None:
    student, teacher = drawn[0].clone().requires_grad_(), drawn[1]
    found = loss(student, teacher, valid=torch.zeros_like(drawn[2]))
    assert (found == 0).all()
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert (gradient == 0).all()


@given(drawn=lists(items=4), shift=st.floats(-50, 50))
def test_margin_squared_error_equals_the_definition_and_ignores_a_constant(
    drawn: Lists, shift: float
) -> None:
    better, worse = drawn[0][:, 0], drawn[0][:, 1]
    teacher = (drawn[0][:, 2], drawn[0][:, 3])
    expected = ((better - worse) - (teacher[0] - teacher[1])).numpy() ** 2
    found = margin_squared_error(better, worse, *teacher)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    shifted = margin_squared_error(better + shift, worse + shift, *(side - shift for side in teacher))
    torch.testing.assert_close(shifted, found, rtol=1e-8, atol=1e-8)
    agreed = margin_squared_error(teacher[0] + shift, teacher[1] + shift, *teacher)
    torch.testing.assert_close(agreed, torch.zeros_like(agreed), rtol=0, atol=1e-20)
    four = [side.clone().requires_grad_() for side in (better, worse, *teacher)]
    assert torch.autograd.gradcheck(margin_squared_error, four, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_margin_squared_error_takes_extreme_halves_of_any_shape(dtype: torch.dtype) -> None:
    rows = torch.tensor([[1e4, -1e4, 0.37], [-1e4, 3.3, 7.77]], dtype=dtype)
    four = [rows.clone().requires_grad_() for _ in range(4)]
    found = margin_squared_error(four[0], four[1].flip(0), four[2].flip(1), four[3].flip(1).flip(0))
    wide = rows.double()
    expected = margin_squared_error(wide, wide.flip(0), wide.flip(1), wide.flip(1).flip(0))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    for gradient in torch.autograd.grad(found.sum() / 1e4, four):
        assert torch.isfinite(gradient).all()
    assert margin_squared_error(*(side[0, 0] for side in four)).shape == ()


def test_a_temperature_for_each_query_is_that_of_the_query() -> None:
    student, teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double().unbind()
    valid = torch.tensor([[True] * 4, [True, False, True, True], [False] * 4])
    temperature = torch.tensor([[0.5], [1.0], [3.0]], dtype=torch.float64, requires_grad=True)
    found = list_kl(student, teacher, valid=valid, temperature=temperature)
    apart = [
        list_kl(student[row : row + 1], teacher[row : row + 1], valid=valid[row : row + 1], temperature=own)
        for row, own in enumerate([0.5, 1.0, 3.0])
    ]
    torch.testing.assert_close(found, torch.cat(apart))
    assert torch.autograd.gradcheck(
        lambda own: list_kl(student, teacher, valid=valid, temperature=own), [temperature]
    )
