"""What each response-based method means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.errors import MethodError
from limbeck.methods import (
    CE,
    KD,
    AdaptiveKL,
    AlphaBeta,
    Correlation,
    DecoupledKD,
    Gaussian,
    JensenShannon,
    ListNet,
    LogitMSE,
    MarginMSE,
    Method,
    MultiLabel,
    NormalisedKD,
    Ordinal,
    PseudoLabel,
    Regression,
    ReverseKL,
    Sampled,
    SkewKL,
    SkewReverseKL,
    TopK,
    TotalVariation,
    total,
)
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


DIVERGENCES = [KD, ReverseKL, JensenShannon, SkewKL, SkewReverseKL, AlphaBeta, AdaptiveKL]


@pytest.mark.parametrize("kind", DIVERGENCES, ids=lambda kind: kind.__name__)
def test_a_temperature_does_not_change_the_size_of_the_gradient(kind: type[Method]) -> None:
    near = STUDENT + 0.01 * torch.randn(6, 4, generator=GENERATOR, dtype=torch.float64)
    soft, softer = (gradient(kind(temperature=temperature), near).norm() for temperature in (50.0, 400.0))
    torch.testing.assert_close(soft, softer, rtol=0.2, atol=0)


@pytest.mark.parametrize(
    "kind", [*DIVERGENCES, TotalVariation, Ordinal, MultiLabel, ListNet, LogitMSE, MarginMSE]
)
def test_nothing_pulls_where_the_student_answers_as_the_teacher_does(kind: type[Method]) -> None:
    assert gradient(kind(), STUDENT.clone()).abs().max() < 1e-9


@pytest.mark.parametrize("kind", [*DIVERGENCES, TotalVariation], ids=lambda kind: kind.__name__)
def test_what_is_logged_is_the_divergence_and_not_the_cross_entropy(kind: type[Method]) -> None:
    """Without the teacher's entropy the gradient is right and the number that a reader sees is not."""
    for answers in (STUDENT, 1e-3 * STUDENT):  # sure of itself, and of nothing
        outputs = Outputs(answers)
        (term,) = kind().loss(outputs, Outputs(answers.clone()), BATCH, None).values()
        assert term.values.abs().max() < 1e-9


def test_skewed_by_nothing_are_the_plain_divergences() -> None:
    torch.testing.assert_close(gradient(SkewKL(skew=0.0), TEACHER), gradient(KD(), TEACHER))
    torch.testing.assert_close(gradient(SkewReverseKL(skew=0.0), TEACHER), gradient(ReverseKL(), TEACHER))


def test_total_variation_is_multiplied_by_its_temperature_once() -> None:
    def expected(temperature: float) -> Tensor:
        student = STUDENT.clone().requires_grad_()
        gap = torch.softmax(TEACHER / temperature, -1) - torch.softmax(student / temperature, -1)
        (found,) = torch.autograd.grad(temperature * gap.abs().sum(-1).mean() / 2, student)
        return found

    for temperature in (1.0, 4.0):
        found = gradient(TotalVariation(temperature=temperature), TEACHER)
        torch.testing.assert_close(found, expected(temperature))


def test_the_parts_of_decoupled_kd_make_kd_where_each_row_has_its_own_weight() -> None:
    terms = DecoupledKD(temperature=2.0, non_target_weight=1.0).loss(
        Outputs(STUDENT), Outputs(TEACHER), BATCH, None
    )
    believed = torch.softmax(TEACHER / 2, -1)[torch.arange(6), BATCH.labels]
    target, others = (terms[f"decoupled-kd-{part}"] for part in ("target", "others"))
    whole = KD(temperature=2.0).loss(Outputs(STUDENT), Outputs(TEACHER), BATCH, None)["kd"]
    torch.testing.assert_close(target.values + (1 - believed) * others.values, whole.values)
    assert target.scale == others.scale == whole.scale


def test_normalised_kd_keeps_its_target_at_a_temperature_of_one() -> None:
    cold, hot = (
        NormalisedKD(temperature=temperature).loss(Outputs(STUDENT), Outputs(TEACHER), BATCH, None)
        for temperature in (1.0, 4.0)
    )
    assert torch.equal(cold["normalised-kd-target"].values, hot["normalised-kd-target"].values)
    assert hot["normalised-kd-target"].scale == 1.0
    assert hot["normalised-kd-others"].scale == 16 * 1.5


def test_correlation_does_not_ask_for_the_teachers_certainty() -> None:
    p = torch.softmax(TEACHER, -1)
    flatter = (0.5 * p + 0.5 / 4).log()  # an affine map of the probabilities
    terms = Correlation().loss(Outputs(flatter), Outputs(TEACHER), BATCH, None)
    assert all(term.values.abs().max() < 1e-9 for term in terms.values())


def test_every_class_kept_is_kd() -> None:
    torch.testing.assert_close(gradient(TopK(k=4), TEACHER), gradient(KD(temperature=1.0), TEACHER))
    torch.testing.assert_close(gradient(TopK(k=99), TEACHER), gradient(TopK(k=3), TEACHER))


def test_regression_is_linear_in_large_differences() -> None:
    far = STUDENT + 100.0
    torch.testing.assert_close(
        gradient(Regression(linear_from=2.0), far), torch.full((6, 4), -2.0 / 24).double()
    )
    torch.testing.assert_close(gradient(Regression(), far), torch.full((6, 4), -200.0 / 24).double())


def test_gaussian_needs_a_variance_for_each_mean() -> None:
    with pytest.raises(MethodError, match="an even number"):
        Gaussian().loss(Outputs(STUDENT[:, :3]), Outputs(TEACHER[:, :3]), BATCH, None)
    equal = torch.cat([STUDENT[:, :2], TEACHER[:, 2:]], 1)  # the teacher's variances
    value = Gaussian().loss(Outputs(equal), Outputs(TEACHER), BATCH, None)["gaussian"].values
    expected = ((equal[:, :2] - TEACHER[:, :2]).square() / (2 * TEACHER[:, 2:].exp())).mean(1)
    torch.testing.assert_close(value, expected)


def test_margins_are_those_of_the_first_item() -> None:
    value = MarginMSE().loss(Outputs(STUDENT), Outputs(TEACHER), BATCH, None)["margin-mse"].values
    ours, theirs = (side[:, :1] - side[:, 1:] for side in (STUDENT, TEACHER))
    torch.testing.assert_close(value, (ours - theirs).square().mean(1))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_many_draws_are_kd_and_few_are_not(temperature: float) -> None:
    torch.manual_seed(0)
    expected = gradient(KD(temperature=1.0), TEACHER)
    found = gradient(Sampled(draws=200_000, draw_temperature=temperature), TEACHER)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    assert (gradient(Sampled(draws=2), TEACHER) - expected).abs().max() > 2e-3
