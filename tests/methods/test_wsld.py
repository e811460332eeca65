"""Samples weighed by how far the student is behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from tests.methods.modified import CLASSES, EXAMPLES, LABELS, STUDENT, TEACHER, gradient, kl, loss

from limbeck.methods import KD, WSLD
from limbeck.types import ABSENT


def wsld_factor() -> np.ndarray:
    rows, labels = np.arange(EXAMPLES), LABELS.numpy()
    ours, theirs = (-log_softmax(logits.numpy(), 1)[rows, labels] for logits in (STUDENT, TEACHER))
    return np.where(labels == ABSENT, 1.0, 1 - np.exp(-ours / theirs))


def test_wsld_listens_less_where_the_student_is_the_better() -> None:
    values = 4 * kl(STUDENT.numpy() / 2, TEACHER.numpy() / 2)
    each = wsld_factor()
    assert ((each > 0) & (each <= 1)).all()
    assert float(loss(WSLD(of=KD(temperature=2)))) == pytest.approx((each * values).mean(), rel=1e-9)


def test_the_factor_of_wsld_has_no_gradient() -> None:
    expected = torch.from_numpy(wsld_factor())[:, None] * gradient(KD())
    torch.testing.assert_close(gradient(WSLD(of=KD())), expected)


def test_wsld_is_finite_where_both_sides_are_certain() -> None:
    certain = torch.nn.functional.one_hot(LABELS.clamp(min=0), CLASSES).double() * 1e4
    assert float(loss(WSLD(), student=certain, teacher=certain)) == 0
    assert torch.isfinite(loss(WSLD(), teacher=certain))
