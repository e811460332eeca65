from __future__ import annotations

import numpy as np
import pytest

from limbeck.errors import DataError
from limbeck.evaluation import agreement, fidelity, inherited_errors, kl_nats, log_softmax, lost

RNG = np.random.default_rng(2)
LABELS = RNG.integers(0, 3, size=80)
TEACHER = RNG.normal(size=(80, 3))
STUDENT = TEACHER + RNG.normal(size=(80, 3))


def test_a_student_equal_to_its_teacher_agrees_in_everything():
    found = fidelity(TEACHER + 5.0, TEACHER, LABELS)
    assert (found.agreement, found.inherited_errors, found.lost, found.gained) == (1, 1, 0, 0)
    assert found.kl_nats == pytest.approx(0, abs=1e-12)


def test_kl_equals_its_definition_and_is_not_symmetric():
    p, q = np.exp(log_softmax(TEACHER)), np.exp(log_softmax(STUDENT))
    expected = np.mean(
        [sum(a * np.log(a / b) for a, b in zip(x, y, strict=True)) for x, y in zip(p, q, strict=True)]
    )
    assert kl_nats(STUDENT, TEACHER) == pytest.approx(expected)
    assert kl_nats(TEACHER, STUDENT) != pytest.approx(expected)


def test_a_class_absent_from_both_changes_no_divergence():
    absent = np.full((80, 1), -np.inf)
    wider = kl_nats(np.hstack([STUDENT, absent]), np.hstack([TEACHER, absent]))
    assert wider == pytest.approx(kl_nats(STUDENT, TEACHER))


def test_inherited_errors_count_the_same_wrong_class_only():
    labels = np.array([0, 0, 0, 0])
    teacher = np.eye(3)[[1, 1, 2, 0]]
    student = np.eye(3)[[1, 2, 2, 1]]
    assert inherited_errors(student, teacher, labels) == pytest.approx(2 / 3)
    assert agreement(student, teacher) == 0.5


def test_a_teacher_without_mistakes_leaves_nothing_to_inherit():
    assert inherited_errors(STUDENT, np.eye(3)[LABELS], LABELS) is None


def test_lost_samples_are_those_the_teacher_has_right_and_the_student_wrong_worst_first():
    missing = lost(STUDENT, TEACHER, LABELS)
    expected = {
        row
        for row in range(80)
        if TEACHER[row].argmax() == LABELS[row] and STUDENT[row].argmax() != LABELS[row]
    }
    assert {row for rows in missing.values() for row in rows} == expected
    assert list(missing) == sorted(missing)
    for label, rows in missing.items():
        chance = log_softmax(STUDENT)[rows, label]
        assert (np.diff(chance) >= 0).all()
        assert all(LABELS[row] == label for row in rows)
    found = fidelity(STUDENT, TEACHER, LABELS)
    assert found.lost == len(expected)
    right = (STUDENT.argmax(1) == LABELS).sum() - (TEACHER.argmax(1) == LABELS).sum()
    assert found.gained - found.lost == right


@pytest.mark.usefixtures("unchecked_shapes")
def test_answers_for_other_classes_are_refused():
    with pytest.raises(DataError, match="same rows and the same list of classes"):
        agreement(STUDENT[:, :2], TEACHER)
