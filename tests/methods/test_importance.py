"""Weights for a shifted transfer set: exact on a known shift, self-normalised, clipped, and counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from limbeck.errors import MethodError
from limbeck.methods import CE, CTC, KD, Importance, Relational
from limbeck.methods.base import total
from limbeck.methods.importance import effective_samples
from limbeck.types import CLEAN, Batch, Outputs

TRANSFER, TARGET = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.3, 0.6])
"""How often each of three kinds of sample occurs in the two sets."""


def answers(shares: Tensor, count: int) -> Tensor:
    """A teacher's logits about so many samples of the kinds, certain of each."""
    kinds = torch.arange(3).repeat_interleave((shares * count).round().long())
    return 4.0 * one_hot(kinds, 3).float()


def batch_of(count: int) -> Batch:
    ids = torch.arange(count) + 7
    return Batch(ids, torch.zeros(count, 1), torch.arange(count) % 3, torch.full_like(ids, CLEAN))


def loss(method: Any, student: Tensor, teacher: Tensor) -> Tensor:
    batch = batch_of(len(student))
    theirs = Outputs(teacher)
    divisors = {name: weights.sum() for name, weights in method.weights(theirs, batch).items()}
    return total(method.loss(Outputs(student), theirs, batch, None), divisors)


@pytest.mark.parametrize(("few", "many"), [(1000, 1000), (1000, 4000), (4000, 1000)])
def test_on_a_known_shift_the_weights_are_the_ratio(few: int, many: int) -> None:
    method = Importance.fitted(KD(), answers(TRANSFER, few), answers(TARGET, many), penalty=1e-6)
    kinds = 4.0 * torch.eye(3)
    found = method.each(Outputs(kinds), batch_of(3))
    torch.testing.assert_close(found, TARGET / TRANSFER, rtol=1e-3, atol=0)


def test_the_weighted_loss_on_one_set_is_the_plain_loss_on_the_other() -> None:
    transfer, target = answers(TRANSFER, 1000), answers(TARGET, 1000)
    method = Importance.fitted(KD(temperature=1), transfer, target, penalty=1e-6)
    torch.manual_seed(0)
    head = torch.randn(3, 3)
    shifted = loss(method, transfer @ head, transfer)
    wanted = loss(KD(temperature=1), target @ head, target)
    plain = loss(KD(temperature=1), transfer @ head, transfer)
    torch.testing.assert_close(shifted, wanted, rtol=1e-3, atol=0)
    assert abs(plain - wanted) > 0.05 * wanted


def test_without_a_shift_it_is_the_method_alone() -> None:
    logits, student = answers(TRANSFER, 100), torch.randn(100, 3)
    fitted = Importance.fitted(KD(), logits, logits)
    torch.testing.assert_close(loss(fitted, student, logits), loss(KD(), student, logits))
    assert effective_samples(fitted.each(Outputs(logits), batch_of(100))) == pytest.approx(100, rel=1e-6)


@pytest.mark.parametrize("unit", [1.0, 250.0])
def test_given_weights_count_by_their_balance(unit: float) -> None:
    weights = torch.tensor([1.0, 2.0, 0.0, 5.0])
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    given = tuple((number + 7, float(weight) * unit) for number, weight in enumerate(weights))
    method = Importance(of=KD(), given=given[::-1])
    values = KD().loss(Outputs(student), Outputs(teacher), batch_of(4), None)["kd"]
    wanted = values.scale * (values.values * weights).sum() / weights.sum()
    torch.testing.assert_close(loss(method, student, teacher), wanted)
    again = type(method).model_validate_json(method.model_dump_json())
    assert again == method
    with pytest.raises(MethodError, match="no weight for the sample 11"):
        method.each(None, batch_of(5))
    assert not Importance(of=CE(), given=given).reads.teacher


def test_given_weights_and_a_ratio_are_multiplied() -> None:
    teacher = Outputs(torch.tensor([[0.0, 1, 2], [1.0, 0, 0]]))
    method = Importance(of=KD(), coefficients=(1.0, 0.0, 0.0), given=((7, 3.0), (8, 1.0)))
    torch.testing.assert_close(method.each(teacher, batch_of(2)), torch.tensor([1.5, torch.e / 2]))


def test_large_weights_are_cut() -> None:
    method = Importance(of=KD(), coefficients=(1.0, 0.0, 0.0), largest=3.0)
    found = method.each(Outputs(torch.tensor([[0.0, 1, 2], [9.0, 0, 0], [500.0, 0, 0]])), batch_of(3))
    assert found.tolist() == [1.0, 3.0, 3.0]


def test_the_effective_number_of_samples() -> None:
    assert effective_samples(torch.full((8,), 0.3)) == pytest.approx(8)
    assert effective_samples(torch.tensor([0.0, 0.0, 2.0])) == pytest.approx(1)
    assert effective_samples(torch.tensor([1.0, 3.0])) == pytest.approx(16 / 10)


def test_weights_that_leave_little_of_a_batch_are_said(run: Any) -> None:
    ids = run.stream.pool.ids.tolist()
    given = tuple((sample, float(place == 0) + 1e-6) for place, sample in enumerate(ids))
    with pytest.warns(UserWarning, match=r"16 samples count as .*importance\.largest"):
        run.start(Importance(of=KD(), given=given, largest=1e9))


def test_what_cannot_be_weighed_is_refused(run: Any) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Importance(given=((1, 0.0),))
    with pytest.raises(MethodError, match=r"holds 2 numbers, and there are 6 classes"):
        run.start(Importance(of=KD(), coefficients=(1.0, 1.0)))
    with pytest.raises(MethodError, match="weighs examples"):
        run.start(Importance(of=Relational()))
    with pytest.raises(MethodError, match="every frame of a sequence"):
        run.start(Importance(of=CTC()))
    with pytest.raises(MethodError, match="some not finite"):
        Importance.fitted(KD(), torch.full((2, 3), torch.inf), torch.zeros(2, 3))
