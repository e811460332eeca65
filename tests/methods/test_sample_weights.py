"""Samples weighed by what the teacher says of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tests.methods.modified import BATCH, EXAMPLES, LABELS, STUDENT, TEACHER, PerClass, kl, loss, traced

from limbeck.errors import MethodError
from limbeck.methods import CE, KD, WSLD, Method, SampleWeights
from limbeck.types import ABSENT, Batch, Outputs


def entropy_weight(logits: np.ndarray) -> np.ndarray:
    p = softmax(logits, 1)
    return 1 + (p * np.log(p)).sum(1) / np.log(p.shape[1])


WEIGHTS = {
    "confidence": softmax(TEACHER.numpy(), 1).max(1),
    "entropy": entropy_weight(TEACHER.numpy()),
    "teacher-correct": np.array([1, 0.25, 1, 1, 1, 1]),
}


@pytest.mark.parametrize("by", WEIGHTS)
def test_samples_are_averaged_by_their_weights(by: str) -> None:
    method = SampleWeights(of=KD(temperature=2), by=by, wrong_weight=0.25)
    values = 4 * kl(STUDENT.numpy() / 2, TEACHER.numpy() / 2)
    expected = (WEIGHTS[by] * values).sum() / WEIGHTS[by].sum()
    assert float(loss(method)) == pytest.approx(expected, rel=1e-6)


def test_weights_multiply_those_of_the_inner_terms() -> None:
    found = SampleWeights(of=KD() + CE()).weights(Outputs(TEACHER), BATCH)
    np.testing.assert_allclose(found["ce"], WEIGHTS["confidence"] * (LABELS != ABSENT).numpy(), rtol=1e-6)


def test_equal_weights_are_none() -> None:
    turned = torch.stack([TEACHER[0].roll(number) for number in range(EXAMPLES)])
    for by in ("confidence", "entropy"):
        torch.testing.assert_close(loss(SampleWeights(by=by), teacher=turned), loss(KD(), teacher=turned))
    torch.testing.assert_close(loss(SampleWeights(by="teacher-correct", wrong_weight=1)), loss(KD()))


def test_a_wrong_teacher_is_left_out() -> None:
    rows = torch.tensor([0, 2, 3, 4, 5])
    kept = Batch(BATCH.ids[rows], BATCH.inputs[rows], LABELS[rows], BATCH.views[rows])
    expected = loss(KD(), student=STUDENT[rows], teacher=TEACHER[rows], batch=kept)
    torch.testing.assert_close(loss(SampleWeights(by="teacher-correct")), expected)


def test_only_teacher_correct_reads_labels() -> None:
    assert SampleWeights(by="teacher-correct").reads.labels == "some"
    assert SampleWeights(by="entropy").reads.labels == "none"
    assert SampleWeights(of=CE()).reads.teacher


@pytest.mark.parametrize("kind", [SampleWeights, WSLD])
def test_other_units_than_examples_are_refused_before_the_first_step(kind: type[Method]) -> None:
    with pytest.raises(MethodError, match=r"'per-class' has values of the shape \[10\] for 6 examples"):
        kind.model_validate({"of": PerClass()}).init(traced())
