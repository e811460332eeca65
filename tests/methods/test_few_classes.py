"""Methods that compare with a few classes take them from a store; the others are refused before the first step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.errors import LimbeckError, TeacherError
from limbeck.methods import (
    CE,
    KD,
    METHODS,
    DecoupledKD,
    Hint,
    Method,
    PseudoLabel,
    Sampled,
    TopK,
    WarmUp,
    total,
)
from limbeck.methods.standardise import Standardise
from limbeck.teachers.store import SampledAnswers, TopKAnswers, TopKSampledAnswers
from limbeck.training.terms import fitting
from limbeck.types import CLEAN, Batch, Few, Offer, Outputs

ROWS, CLASSES = 6, 12
GENERATOR = torch.Generator().manual_seed(3)
STUDENT, TEACHER = (2 * torch.randn(2, ROWS, CLASSES, generator=GENERATOR)).unbind()
BATCH = Batch(
    torch.arange(ROWS), torch.zeros(ROWS, 2), torch.arange(ROWS) % CLASSES, torch.full((ROWS,), CLEAN)
)


def kept(kind: TopKAnswers | TopKSampledAnswers | SampledAnswers) -> Outputs:
    return kind.decode(kind.encode(Outputs(TEACHER), BATCH.ids, CLEAN), CLASSES)


def loss(method: Method, teacher: Outputs) -> tuple[Tensor, Tensor]:
    student = Outputs(STUDENT.clone().requires_grad_())
    divisors = {name: weights.sum() for name, weights in method.weights(teacher, BATCH).items()}
    value = total(method.loss(student, teacher, BATCH, None), divisors)
    return value.detach(), torch.autograd.grad(value, student.logits)[0]


class Answering:
    """A teacher of which only the offer is looked at."""

    digest = "0"

    def __init__(self, few: Few | None) -> None:
        self.offer = Offer(classes=CLASSES, few=few)

    def __call__(self, batch: Batch) -> Outputs:
        raise NotImplementedError


@pytest.mark.parametrize("k", [1, 3, 5, 12])
@pytest.mark.parametrize("held", [5, 12])
def test_top_k_from_a_store_is_top_k_from_whole_logits(k: int, held: int) -> None:
    if k > held:
        return
    for kind in (TopKAnswers(k=held), TopKSampledAnswers(k=held, draws=4)):
        for found, expected in zip(
            loss(TopK(k=k), kept(kind)), loss(TopK(k=k), Outputs(TEACHER)), strict=True
        ):
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_the_tail_that_is_kept_counts_where_the_rounded_classes_seem_to_sum_to_1() -> None:
    certain = torch.full((ROWS, CLASSES), 0.0)
    certain[:, 0] = 12.0
    kind = TopKAnswers(k=1)
    stored = kind.decode(kind.encode(Outputs(certain), BATCH.ids, CLEAN), CLASSES)
    found, expected = loss(TopK(k=1), stored), loss(TopK(k=1), Outputs(certain))
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=1e-4)


def test_draws_from_a_store_are_fitted_and_the_first_of_them_do_alone() -> None:
    kind = SampledAnswers(draws=4000)
    whole = -(TEACHER.softmax(1) * STUDENT.log_softmax(1)).sum(1).mean()
    for draws in (2000, 4000):
        found, gradient = loss(Sampled(draws=draws), kept(kind))
        torch.testing.assert_close(found, whole, atol=0.1, rtol=0)
        torch.testing.assert_close(
            gradient, (STUDENT.softmax(1) - TEACHER.softmax(1)) / ROWS, atol=0.01, rtol=0
        )
    exact, _ = loss(Sampled(draws=50), kept(TopKSampledAnswers(k=11, draws=50)))
    torch.testing.assert_close(exact, whole, atol=1e-3, rtol=0)


def test_a_pseudo_label_is_the_likeliest_class_that_is_kept() -> None:
    assert torch.equal(
        loss(PseudoLabel(), kept(TopKAnswers(k=2)))[0], loss(PseudoLabel(), Outputs(TEACHER))[0]
    )


def test_who_takes_a_few_classes_is_exactly_known() -> None:
    taking = {name for name, kind in METHODS.items() if kind().reads.teacher and kind().reads.few is not None}
    logit_free = {name for name in taking if METHODS[name]().reads.inside}
    assert taking - logit_free == {"top-k", "sampled", "pseudo-label"}
    assert "head-regression" not in logit_free


def test_a_sum_needs_what_its_parts_need() -> None:
    assert (TopK(k=4) + CE()).reads.few == Few(likeliest=4)
    assert (TopK(k=4) + Sampled(draws=9)).reads.few == Few(likeliest=4, draws=9)
    assert (TopK(k=4) + Hint()).reads.few == Few(likeliest=4)
    assert (TopK(k=4) + KD()).reads.few is None
    assert (Sampled() + Sampled(draw_temperature=2.0)).reads.few is None
    assert WarmUp(of=TopK(k=4)).reads.few == Few(likeliest=4)
    assert Standardise(of=KD()).reads.few is None


@pytest.mark.parametrize(
    ("method", "few", "said"),
    [
        (KD(), Few(likeliest=8), "reads whole logits of the teacher, and this .* the 8 likeliest"),
        (TopK(k=9), Few(likeliest=8), "reads the 9 likeliest classes"),
        (Sampled(), Few(likeliest=8), "reads 50 drawn classes"),
        (Sampled(draw_temperature=2.0), Few(draws=50), "at a temperature of 2"),
        (TopK() + KD(), Few(likeliest=8), "whole logits"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_do_is_refused_with_the_cure(method: Method, few: Few, said: str) -> None:
    with pytest.raises(TeacherError, match=said) as caught:
        fitting(method, Answering(few))
    assert "teacher.keep: float16" in str(caught.value)
    fitting(method, Answering(None))


@pytest.mark.parametrize("method", [KD(), DecoupledKD()], ids=str)
def test_reading_whole_logits_of_a_few_classes_is_an_error_and_never_a_guess(method: Method) -> None:
    with pytest.raises(LimbeckError, match="hole logits"):
        loss(method, kept(TopKAnswers(k=2)))
