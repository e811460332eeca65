from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from limbeck.errors import DataError
from limbeck.evaluation import (
    accuracy,
    balanced_accuracy,
    brier,
    confusion,
    correct,
    ece,
    log_softmax,
    macro_f1,
    metrics,
    nll,
    per_class,
    probabilities,
)


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, size=300)
    logits = rng.normal(size=(300, 5)).astype(np.float32)
    logits[np.arange(300), labels] += 1.0
    return logits, labels


def test_accuracy_macro_f1_and_balance_equal_another_implementation(answers):
    logits, labels = answers
    predicted = logits.argmax(1)
    assert accuracy(logits, labels) == pytest.approx((predicted == labels).mean())
    assert macro_f1(logits, labels) == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert balanced_accuracy(logits, labels) == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_each_class_equals_another_implementation(answers):
    logits, labels = answers
    rows = per_class(logits, labels, names=list("abcde"))
    precision, recall, f1, support = precision_recall_fscore_support(labels, logits.argmax(1))
    assert [row.name for row in rows] == list("abcde")
    np.testing.assert_allclose([row.precision for row in rows], precision)
    np.testing.assert_allclose([row.recall for row in rows], recall)
    np.testing.assert_allclose([row.f1 for row in rows], f1)
    assert [row.support for row in rows] == support.tolist()


def test_a_class_that_neither_occurs_nor_is_predicted_has_no_numbers_and_changes_no_mean(answers):
    logits, labels = answers
    wider = np.concatenate([logits, np.full((len(logits), 1), -np.inf, np.float32)], axis=1)
    row = per_class(wider, labels)[5]
    assert (row.support, row.recall, row.precision, row.f1) == (0, None, None, None)
    assert metrics(wider, labels) == pytest.approx(metrics(logits, labels))


def test_metrics_are_the_single_numbers(answers):
    logits, labels = answers
    expected = {
        "accuracy": accuracy(logits, labels),
        "macro_f1": macro_f1(logits, labels),
        "nll": nll(logits, labels),
        "brier": brier(logits, labels),
        "ece": ece(logits, labels),
    }
    assert metrics(logits, labels) == expected
    assert correct(logits, labels).mean() == expected["accuracy"]


def test_confusion_counts_every_example_once(answers):
    logits, labels = answers
    table = confusion(logits, labels)
    np.testing.assert_array_equal(table.sum(axis=1), np.bincount(labels, minlength=5))
    np.testing.assert_array_equal(table.sum(axis=0), np.bincount(logits.argmax(1), minlength=5))


def test_probabilities_sum_to_one_and_ignore_a_constant_however_large():
    logits = np.array([[1000.0, 999.0, -np.inf], [-2000.0, -2000.0, -2000.0]])
    np.testing.assert_allclose(probabilities(logits).sum(1), 1)
    np.testing.assert_allclose(log_softmax(logits), log_softmax(logits + 500))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused_with_their_row(answers, bad):
    logits, labels = answers
    logits[17, 2] = bad
    with pytest.raises(DataError, match=r"example 17 .*1 of 300"):
        metrics(logits, labels)


@pytest.mark.parametrize("bad", [-1, 5])
def test_labels_outside_the_classes_are_refused_with_their_row(answers, bad):
    logits, labels = answers
    labels[4] = bad
    with pytest.raises(DataError, match=rf"label {bad} of example 4 .*5 classes"):
        metrics(logits, labels)


@pytest.mark.usefixtures("unchecked_shapes")
def test_counts_and_names_that_do_not_fit_are_refused(answers):
    logits, labels = answers
    with pytest.raises(DataError, match="one per example: 300 expected"):
        accuracy(logits, labels[:-1])
    with pytest.raises(DataError, match="got 2"):
        per_class(logits, labels, names=["a", "b"])
    with pytest.raises(DataError, match="at least one row"):
        accuracy(logits[:0], labels[:0])
