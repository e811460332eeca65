"""The laws of the losses that keep the label's class apart, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import rel_entr, softmax, xlogy
from torch import Tensor

from limbeck.losses.decoupled import decoupled_kl, normalised_cross_entropy
from limbeck.losses.divergence import forward_kl
from limbeck.types import ABSENT

Decoupled = Callable[..., tuple[Tensor, Tensor]]
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


class Samples(NamedTuple):
    student: Tensor
    teacher: Tensor
    labels: Tensor

    def but(self, **changes: Tensor) -> Samples:
        return self._replace(**changes)


@st.composite
def labelled(draw: st.DrawFn, bound: float = 15.0) -> Samples:
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    numbers = arrays.arrays(np.float64, (rows, classes), elements=st.floats(-bound, bound))
    labels = draw(st.lists(st.integers(ABSENT, classes - 1), min_size=rows, max_size=rows))
    return Samples(torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers)), torch.tensor(labels))


def random_samples(rows: int = 6, classes: int = 5) -> Samples:
    generator = torch.Generator().manual_seed(0)
    sides = torch.randn(2, rows, classes, generator=generator, dtype=torch.float64)
    return Samples(sides[0], sides[1], torch.arange(rows) % classes)


def split_kl(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """DKD by deleting the label's class from the logits, and adding up the probabilities of the others."""
    target, non_target = [], []
    for z, t, label in zip(student.double().numpy(), teacher.double().numpy(), labels.tolist(), strict=True):
        if label == ABSENT:
            target.append(0.0)
            non_target.append(0.0)
            continue
        pairs = []
        for logits in (t, z):
            p = softmax(logits / temperature)
            pairs.append(np.array([p[label], np.delete(p, label).sum()]))
        target.append(rel_entr(*pairs).sum())
        rest_p, rest_q = (softmax(np.delete(logits, label) / temperature) for logits in (t, z))
        non_target.append(rel_entr(rest_p, rest_q).sum())
    return torch.tensor(target, dtype=torch.float64), torch.tensor(non_target, dtype=torch.float64)


def split_cross_entropy(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    target, non_target = [], []
    for z, t, label in zip(student.double().numpy(), teacher.double().numpy(), labels.tolist(), strict=True):
        if label == ABSENT:
            target.append(0.0)
            non_target.append(0.0)
            continue
        target.append(-xlogy(softmax(t)[label], softmax(z)[label]))
        rest_p, rest_q = (softmax(np.delete(logits, label) / temperature) for logits in (t, z))
        non_target.append(-xlogy(rest_p, rest_q).sum())
    return torch.tensor(target, dtype=torch.float64), torch.tensor(non_target, dtype=torch.float64)


DEFINITIONS = {decoupled_kl: split_kl, normalised_cross_entropy: split_cross_entropy}
every_loss = pytest.mark.parametrize("loss", DEFINITIONS)


@every_loss
@given(samples=labelled(), temperature=temperatures)
def test_equals_the_definition(loss: Decoupled, samples: Samples, temperature: float) -> None:
    found = loss(*samples, temperature=temperature)
    expected = DEFINITIONS[loss](*samples, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = loss(samples.student.float(), samples.teacher.float(), samples.labels, temperature=temperature)
    for part, wide in zip(single, expected, strict=True):
        assert part.dtype == torch.float32
        torch.testing.assert_close(part.double(), wide, rtol=1e-4, atol=1e-4)


@every_loss
@given(samples=labelled(), temperature=temperatures)
def test_is_not_negative(loss: Decoupled, samples: Samples, temperature: float) -> None:
    assert all((part >= -1e-12).all() for part in loss(*samples, temperature=temperature))


@every_loss
@given(samples=labelled(), shift=st.floats(-50, 50))
def test_ignores_a_constant_added_to_the_logits(loss: Decoupled, samples: Samples, shift: float) -> None:
    expected = loss(*samples)
    for moved in (
        samples.but(student=samples.student + shift),
        samples.but(teacher=samples.teacher + shift),
    ):
        torch.testing.assert_close(loss(*moved), expected, rtol=1e-8, atol=1e-8)


@every_loss
@given(samples=labelled(bound=3.0), temperature=temperatures)
def test_has_the_gradient_of_its_value(loss: Decoupled, samples: Samples, temperature: float) -> None:
    sides = [side.clone().requires_grad_() for side in samples[:2]]
    learned = torch.full((len(samples.labels), 1), temperature, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, t, T: loss(s, t, samples.labels, temperature=T), [*sides, learned], fast_mode=True
    )


@every_loss
@given(samples=labelled())
def test_an_absent_class_changes_nothing(loss: Decoupled, samples: Samples) -> None:
    absent = torch.full((len(samples.labels), 1), -torch.inf, dtype=torch.float64)
    sides = [torch.cat([side, absent], -1).requires_grad_() for side in samples[:2]]
    found = loss(*sides, samples.labels)
    torch.testing.assert_close(found, loss(*samples))
    for slope in torch.autograd.grad(found[0].sum() + found[1].sum(), sides):
        assert torch.isfinite(slope).all()
        assert (slope[:, -1] == 0).all()


@every_loss
def test_a_label_that_is_the_only_class_leaves_nothing_to_the_others(loss: Decoupled) -> None:
    sides = [torch.tensor([[2.0, -torch.inf, -torch.inf]], requires_grad=True) for _ in range(2)]
    target, non_target = loss(*sides, torch.tensor([0]))
    assert (target == 0).all()
    assert (non_target == 0).all()
    for slope in torch.autograd.grad(target.sum() + non_target.sum(), sides):
        assert (slope == 0).all()


@every_loss
def test_a_label_that_neither_side_has_costs_nothing_by_itself(loss: Decoupled) -> None:
    student, teacher = torch.tensor([[[-torch.inf, 1.0, 2.0]], [[-torch.inf, 3.0, 1.0]]]).unbind()
    target, non_target = loss(student, teacher, torch.tensor([0]))
    assert (target == 0).all()
    whole = forward_kl(student, teacher) if loss is decoupled_kl else cross_entropy_of(student, teacher)
    torch.testing.assert_close(non_target, whole)


@every_loss
def test_a_student_without_the_labels_class_errs_infinitely(loss: Decoupled) -> None:
    target, _ = loss(torch.tensor([[-torch.inf, 1.0]]), torch.zeros(1, 2), torch.tensor([0]))
    assert target.isposinf().all()


@every_loss
@given(samples=labelled())
def test_two_classes_have_no_order_among_the_others(loss: Decoupled, samples: Samples) -> None:
    pair = Samples(samples.student[:, :2], samples.teacher[:, :2], samples.labels.clamp(max=1))
    assert (loss(*pair)[1] == 0).all()


@every_loss
def test_a_row_without_a_label_gets_no_gradient(loss: Decoupled) -> None:
    samples = random_samples(4).but(labels=torch.tensor([2, ABSENT, 0, ABSENT]))
    student, teacher = samples.student.requires_grad_(), samples.teacher.requires_grad_()
    target, non_target = loss(student, teacher, samples.labels)
    assert (torch.stack([target, non_target])[:, 1::2] == 0).all()
    for slope in torch.autograd.grad(target.sum() + non_target.sum(), [student, teacher]):
        assert (slope[1::2] == 0).all()
        assert slope[::2].any(-1).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(loss: Decoupled, dtype: torch.dtype) -> None:
    # Rows: sure of the label; sure of another class; the others are far apart; all are far below the label.
    student = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 1e4, -1e4], [1e4, -1e4, -1e4]]
    teacher = [[-1e4, 1e4, 0.0], [1e4, -1e4, 0.0], [0.0, -1e4, 1e4], [1e4, -1e4, -1e4]]
    sides = [torch.tensor(side, dtype=dtype, requires_grad=True) for side in (student, teacher)]
    parts = loss(*sides, torch.tensor([0, 0, 0, 0]), temperature=0.5)
    for part in parts:
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()
    for slope in torch.autograd.grad(parts[0].sum() + parts[1].sum(), sides):
        assert torch.isfinite(slope).all()


@every_loss
def test_the_order_of_the_others_is_seen_far_below_and_far_above_the_label(loss: Decoupled) -> None:
    """A finite number in place of ``-inf`` lets the label's class in again where all others are lower still."""
    others = torch.tensor([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])  # exact beside 1e4 in fp32
    for label, level in ((1e4, 0.0), (-1e4, 0.0), (0.0, 1e4), (0.0, -1e4)):
        student, teacher = (torch.cat([torch.tensor([[label]]), side[None] + level], -1) for side in others)
        _, found = loss(student, teacher, torch.tensor([0]))
        _, expected = DEFINITIONS[loss](student, teacher, torch.tensor([0]), 1.0)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(samples=labelled())
def test_half_precision_is_that_of_its_inputs(loss: Decoupled, dtype: torch.dtype, samples: Samples) -> None:
    half = [side.to(dtype) for side in samples[:2]]
    wide = loss(*(side.double() for side in half), samples.labels)
    for part, exact in zip(loss(*half, samples.labels), wide, strict=True):
        torch.testing.assert_close(part.double(), exact, rtol=1e-4, atol=1e-4)


@every_loss
@given(samples=labelled())
def test_rows_are_alone(loss: Decoupled, samples: Samples) -> None:
    apart = [loss(*(side[row : row + 1] for side in samples)) for row in range(len(samples.labels))]
    joined = tuple(torch.cat(parts) for parts in zip(*apart, strict=True))
    torch.testing.assert_close(loss(*samples), joined)


@every_loss
def test_takes_any_batch_shape(loss: Decoupled) -> None:
    student, teacher, labels = random_samples(12)
    flat = loss(student, teacher, labels)
    grid = loss(student.view(3, 4, 5), teacher.view(3, 4, 5), labels.view(3, 4))
    torch.testing.assert_close(tuple(part.flatten() for part in grid), flat)


@given(samples=labelled(), temperature=temperatures)
def test_decoupled_kl_makes_up_the_kl_with_the_teachers_doubt(samples: Samples, temperature: float) -> None:
    student, teacher, labels = samples.but(labels=samples.labels.clamp(min=0))
    target, non_target = decoupled_kl(student, teacher, labels, temperature=temperature)
    hit = torch.nn.functional.one_hot(labels, student.shape[1]).bool()
    doubt = (teacher / temperature).softmax(-1).masked_fill(hit, 0.0).sum(-1)
    whole = forward_kl(student, teacher, temperature=temperature)
    torch.testing.assert_close(target + doubt * non_target, whole, rtol=1e-9, atol=1e-9)


def test_equal_weights_of_both_parts_are_more_than_the_kl() -> None:
    student, teacher, labels = random_samples()
    target, non_target = decoupled_kl(student, teacher, labels)
    belief = teacher.softmax(-1).gather(-1, labels[:, None]).squeeze(-1)
    excess = target + non_target - forward_kl(student, teacher)
    torch.testing.assert_close(excess, belief * non_target)
    assert (excess > 1e-4).all()


@given(samples=labelled(), temperature=temperatures)
def test_decoupled_kl_is_zero_where_both_agree(samples: Samples, temperature: float) -> None:
    student = samples.student.requires_grad_()
    parts = decoupled_kl(student, student.detach().clone(), samples.labels, temperature=temperature)
    assert all((part == 0).all() for part in parts)
    (slope,) = torch.autograd.grad(parts[0].sum() + parts[1].sum(), student)
    assert (slope.abs() < 1e-12).all()


@every_loss
@given(samples=labelled(), moved=st.floats(-1e4, 1e4))
def test_the_order_of_the_others_ignores_the_labels_logit(
    loss: Decoupled, samples: Samples, moved: float
) -> None:
    student, teacher, labels = samples.but(labels=samples.labels.clamp(min=0))
    hit = torch.nn.functional.one_hot(labels, student.shape[1]).bool()
    _, expected = loss(student, teacher, labels)
    for sides in (
        (student.masked_fill(hit, moved), teacher),
        (student, teacher.masked_fill(hit, moved)),
    ):
        assert torch.equal(loss(*sides, labels)[1], expected)


@given(samples=labelled(bound=3.0), temperature=temperatures)
def test_only_the_non_target_part_of_nkd_is_stationary_where_both_agree(
    samples: Samples, temperature: float
) -> None:
    student = samples.student.requires_grad_()
    labels = samples.labels.clamp(min=0)
    target, non_target = normalised_cross_entropy(
        student, student.detach().clone(), labels, temperature=temperature
    )
    (slope,) = torch.autograd.grad(non_target.sum(), student, retain_graph=True)
    assert (slope.abs() < 1e-12).all()
    (slope,) = torch.autograd.grad(target.sum(), student)
    assert (slope.gather(-1, labels[:, None]) < -1e-6).all()  # it pulls the label's logit up
    assert (target > 0).all()


def test_the_temperature_of_nkd_is_that_of_the_non_target_part() -> None:
    samples = random_samples()
    cold, warm = (normalised_cross_entropy(*samples, temperature=T) for T in (1.0, 4.0))
    assert torch.equal(cold[0], warm[0])
    assert (cold[1] != warm[1]).all()


def cross_entropy_of(student: Tensor, teacher: Tensor) -> Tensor:
    return -(teacher[:, 1:].softmax(-1) * student[:, 1:].log_softmax(-1)).sum(-1)
