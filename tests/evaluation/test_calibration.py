from __future__ import annotations

import math

import numpy as np
import pytest

from limbeck.evaluation import brier, calibration, ece, nll, reliability

RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 4, size=200)
LOGITS = (RNG.normal(size=(200, 4)) * 3).astype(np.float32)


def chances(row: np.ndarray) -> list[float]:
    weights = [math.exp(float(score)) for score in row]
    return [weight / sum(weights) for weight in weights]


def test_nll_and_brier_equal_their_definitions():
    rows = [chances(row) for row in LOGITS]
    expected = [-math.log(row[label]) for row, label in zip(rows, LABELS, strict=True)]
    squares = [
        sum((chance - (number == label)) ** 2 for number, chance in enumerate(row))
        for row, label in zip(rows, LABELS, strict=True)
    ]
    assert nll(LOGITS, LABELS) == pytest.approx(np.mean(expected), rel=1e-12)
    assert brier(LOGITS, LABELS) == pytest.approx(np.mean(squares), rel=1e-12)


def test_ece_equals_its_definition_bin_by_bin():
    total = 0.0
    for number in range(15):
        inside = [
            (max(row), int(np.argmax(row)) == label)
            for row, label in zip(map(chances, LOGITS), LABELS, strict=True)
            if number / 15 < max(row) <= (number + 1) / 15
        ]
        if inside:
            confidence, right = np.mean(inside, axis=0)
            total += len(inside) / len(LABELS) * abs(confidence - right)
    assert ece(LOGITS, LABELS) == pytest.approx(total, rel=1e-12)


def test_bins_hold_every_example_and_carry_what_the_error_is_made_of():
    found = calibration(LOGITS, LABELS)
    assert len(found.bins) == 15
    assert sum(bar.count for bar in found.bins) == len(LABELS)
    assert all((bar.count == 0) == (bar.accuracy is None) for bar in found.bins)
    assert found.ece == ece(LOGITS, LABELS)
    assert found.nll == nll(LOGITS, LABELS)
    assert found.brier == brier(LOGITS, LABELS)


def test_certain_answers_fall_in_the_last_bin_and_are_perfect_when_right():
    logits = np.full((3, 2), -1000.0)
    logits[np.arange(3), [0, 1, 0]] = 1000.0
    assert reliability(logits, np.array([0, 1, 0]))[-1].count == 3
    assert ece(logits, np.array([0, 1, 0])) == 0
    assert ece(logits, np.array([1, 0, 1])) == 1
    assert brier(logits, np.array([1, 0, 1])) == 2


def test_a_model_that_says_what_it_is_right_by_has_no_error():
    logits = np.log(np.tile([0.8, 0.2], (10, 1)))
    assert ece(logits, np.array([0] * 8 + [1] * 2)) == pytest.approx(0, abs=1e-12)
