"""What each response-based method means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.methods import CE, KD, Method, PseudoLabel, total
from limbeck.types import CLEAN, Batch, Outputs

GENERATOR = torch.Generator().manual_seed(1)
STUDENT, TEACHER = (3 * torch.randn(2, 6, 4, generator=GENERATOR, dtype=torch.float64)).unbind()
BATCH = Batch(torch.arange(6), torch.zeros(6, 2), torch.arange(6) % 4, torch.full((6,), CLEAN))


def gradient(method: Method, teacher: Tensor, batch: Batch = BATCH) -> Tensor:
    student = Outputs(STUDENT.clone().requires_grad_())
    answers = Outputs(teacher) if method.reads.teacher else None
    divisors = {name: weights.sum() for name, weights in method.weights(answers, batch).items()}
    (found,) = torch.autograd.grad(
        total(method.loss(student, answers, batch, None), divisors), student.logits
    )
    return found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kd_pulls_each_logit_by_the_temperature_times_the_gap(temperature: float) -> None:
    p, q = (torch.softmax(logits / temperature, -1) for logits in (TEACHER, STUDENT))
    torch.testing.assert_close(gradient(KD(temperature=temperature), TEACHER), temperature * (q - p) / 6)


def test_kd_at_a_high_temperature_matches_centred_logits() -> None:
    gap = (STUDENT - STUDENT.mean(-1, keepdim=True)) - (TEACHER - TEACHER.mean(-1, keepdim=True))
    found = gradient(KD(temperature=1e4), TEACHER)
    torch.testing.assert_close(found, gap / (4 * 6), rtol=1e-2, atol=1e-4)


def test_ce_is_the_mean_over_labelled_rows_only() -> None:
    labels = BATCH.labels.clone()
    labels[2:] = -1
    partly = Batch(BATCH.ids, BATCH.inputs, labels, BATCH.views)
    expected = torch.softmax(STUDENT, -1)
    expected[torch.arange(2), labels[:2]] -= 1
    expected[2:] = 0
    torch.testing.assert_close(gradient(CE(), TEACHER, partly), expected / 2)


def test_a_pseudo_label_is_a_label_where_the_teacher_is_right() -> None:
    right = torch.nn.functional.one_hot(BATCH.labels, 4).double()
    torch.testing.assert_close(gradient(PseudoLabel(), right), gradient(CE(), right))


def test_a_pseudo_label_ignores_how_sure_the_teacher_is() -> None:
    assert torch.equal(gradient(PseudoLabel(), TEACHER), gradient(PseudoLabel(), 10 * TEACHER))
