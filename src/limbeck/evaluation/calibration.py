"""Whether a model is right as often as it says: ECE, reliability, NLL, Brier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from limbeck.evaluation.probabilities import check_labelled, log_softmax, probabilities

BINS: Final = 15
"""How many bins of confidence the calibration error is measured over."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The examples whose confidence lies in ``(low, high]``; one bar of a reliability diagram."""

    low: float
    high: float
    count: int
    confidence: float | None
    """Mean probability of the predicted class; absent where the bin is empty."""
    accuracy: float | None
    """Share of right predictions; absent where the bin is empty."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be believed."""

    ece: float
    nll: float
    """Nats per example."""
    brier: float
    bins: tuple[Bin, ...]


def calibration(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"], *, bins: int = BINS
) -> Calibration:
    """All calibration numbers at once; arguments as in :func:`reliability`."""
    bars = reliability(logits, labels, bins=bins)
    return Calibration(ece=_error(bars), nll=nll(logits, labels), brier=brier(logits, labels), bins=bars)


def reliability(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"], *, bins: int = BINS
) -> tuple[Bin, ...]:
    """The bars of a reliability diagram over bins of equal width.

    Args:
        logits: Unnormalised scores.
        labels: The right class of each example.
        bins: How many; 15 as in the paper.

    Returns:
        One :class:`Bin` each, from low to high confidence, empty ones too.

    Raises:
        DataError: If logits and labels cannot be compared.

    References:
        Guo, Pleiss, Sun & Weinberger, `On Calibration of Modern Neural Networks
        <https://arxiv.org/abs/1706.04599>`_, 2017, section 2.
    """
    check_labelled(logits, labels)
    chances = probabilities(logits)
    confidence = chances.max(axis=1)
    right = (chances.argmax(axis=1) == labels).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    confidences = np.bincount(place, weights=confidence, minlength=bins)
    rights = np.bincount(place, weights=right, minlength=bins)
    return tuple(
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(counts[number]),
            confidence=float(confidences[number] / counts[number]) if counts[number] else None,
            accuracy=float(rights[number] / counts[number]) if counts[number] else None,
        )
        for number in range(bins)
    )


def ece(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"], *, bins: int = BINS
) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy; see :func:`reliability`."""
    return _error(reliability(logits, labels, bins=bins))


def nll(logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]) -> float:
    """Mean negative log-probability of the right class, in nats."""
    check_labelled(logits, labels)
    return float(-np.take_along_axis(log_softmax(logits), labels[:, None], axis=1).mean())


def brier(logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]) -> float:
    """Squared distance of the probabilities from the right answer, summed over classes: 0 best, 2 worst.

    References:
        Brier, `Verification of Forecasts Expressed in Terms of Probability
        <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>`_, 1950.
    """
    check_labelled(logits, labels)
    distance = probabilities(logits)
    distance[np.arange(len(labels)), labels] -= 1.0
    return float((distance**2).sum(axis=1).mean())


def _error(bars: tuple[Bin, ...]) -> float:
    total = sum(bar.count for bar in bars)
    gaps = (
        bar.count * abs(bar.accuracy - bar.confidence)
        for bar in bars
        if bar.accuracy is not None and bar.confidence is not None
    )
    return sum(gaps) / total
