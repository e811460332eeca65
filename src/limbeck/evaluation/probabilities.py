"""From logits to probabilities, in float64 and in log space, after a check that they can be measured."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from limbeck.errors import DataError


def log_softmax(logits: Float[np.ndarray, "*batch classes"]) -> Float[np.ndarray, "*batch classes"]:
    """Log-probabilities (nats) in float64.

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that is not there.
    """
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def probabilities(logits: Float[np.ndarray, "*batch classes"]) -> Float[np.ndarray, "*batch classes"]:
    """Probabilities in float64; each row sums to 1. Logits as in :func:`log_softmax`."""
    return np.asarray(np.exp(log_softmax(logits)))


def check_logits(logits: Float[np.ndarray, "examples classes"], *, owner: str = "logits") -> None:
    """Refuse logits that have no probabilities.

    Args:
        logits: One row per example.
        owner: Whose they are; opens the message.

    Raises:
        DataError: If there are no rows, or a row holds NaN, ``+inf``, or nothing but ``-inf``.
    """
    if logits.ndim != 2 or not logits.size:
        raise DataError(
            f"{owner} must be a table [examples, classes] with at least one row, got {logits.shape}."
        )
    broken = ~np.isfinite(logits.max(axis=-1))  # the maximum of a row with NaN is NaN
    if broken.any():
        row = int(broken.argmax())
        raise DataError(
            f"{owner} of example {row} are not finite "
            f"({int(broken.sum())} of {len(logits)} examples are like this); "
            "look at the inputs of that example and at the number format of the model."
        )


def check_labelled(
    logits: Float[np.ndarray, "examples classes"],
    labels: Int[np.ndarray, " examples"],
    *,
    owner: str = "logits",
) -> None:
    """Refuse logits and labels that cannot be compared.

    Raises:
        DataError: As :func:`check_logits`, or if the counts differ or a label is outside the classes.
    """
    check_logits(logits, owner=owner)
    if labels.shape != (len(logits),):
        raise DataError(f"labels must be one per example: {len(logits)} expected, got shape {labels.shape}.")
    outside = (labels < 0) | (labels >= logits.shape[1])
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"label {int(labels[row])} of example {row} is not one of the {logits.shape[1]} classes "
            f"(0 to {logits.shape[1] - 1}); measure on labelled examples only."
        )
