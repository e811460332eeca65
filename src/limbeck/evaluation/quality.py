"""How often a model is right, over all examples and class by class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from limbeck.errors import DataError
from limbeck.evaluation.calibration import brier, ece, nll
from limbeck.evaluation.probabilities import check_labelled


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """How one class fares."""

    name: str
    support: int
    """How many examples have this label."""
    recall: float | None
    """Share of its examples that are found; absent without examples."""
    precision: float | None
    """Share of its predictions that are right; absent where it is never predicted."""
    f1: float | None
    """Harmonic mean of the two; absent where the class neither occurs nor is predicted."""


def metrics(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> dict[str, float]:
    """Accuracy, macro F1, NLL (nats), Brier score and calibration error, by those names.

    Args:
        logits: Unnormalised scores.
        labels: The right class of each example.

    Returns:
        ``accuracy``, ``macro_f1``, ``nll``, ``brier``, ``ece``.

    Raises:
        DataError: If logits are not finite, or a label is absent or outside the classes.
    """
    return {
        "accuracy": accuracy(logits, labels),
        "macro_f1": macro_f1(logits, labels),
        "nll": nll(logits, labels),
        "brier": brier(logits, labels),
        "ece": ece(logits, labels),
    }


def correct(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> Float[np.ndarray, " examples"]:
    """1 where the highest logit is the label's, else 0: the scores that verdicts are made from."""
    check_labelled(logits, labels)
    return np.asarray(logits.argmax(axis=1) == labels, dtype=np.float64)


def accuracy(logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]) -> float:
    """Share of examples whose highest logit is the label's."""
    return float(correct(logits, labels).mean())


def balanced_accuracy(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> float:
    """Mean recall over the classes that occur."""
    return _mean(row.recall for row in per_class(logits, labels) if row.recall is not None)


def macro_f1(logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]) -> float:
    """Mean F1 over the classes that occur or are predicted."""
    return _mean(row.f1 for row in per_class(logits, labels) if row.f1 is not None)


def per_class(
    logits: Float[np.ndarray, "examples classes"],
    labels: Int[np.ndarray, " examples"],
    *,
    names: Sequence[str] | None = None,
) -> tuple[ClassQuality, ...]:
    """Recall, precision and support of every class.

    Args:
        logits: Unnormalised scores.
        labels: The right class of each example.
        names: Of the classes; their numbers when not given.

    Raises:
        DataError: If logits and labels cannot be compared, or the names are not one per class.
    """
    table = confusion(logits, labels)
    names = [str(number) for number in range(len(table))] if names is None else names
    if len(names) != len(table):
        raise DataError(
            f"names must be given for each of the {len(table)} columns of the logits, got {len(names)} names."
        )
    return tuple(_one(name, table, number) for number, name in enumerate(names))


def confusion(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> Int[np.ndarray, "classes classes"]:
    """How many examples of each class (rows) are taken for each class (columns)."""
    check_labelled(logits, labels)
    classes = logits.shape[1]
    cells = np.bincount(labels.astype(np.int64) * classes + logits.argmax(axis=1), minlength=classes**2)
    return cells.reshape(classes, classes)


def _one(name: str, table: Int[np.ndarray, "classes classes"], number: int) -> ClassQuality:
    found = int(table[number, number])
    support, predicted = int(table[number].sum()), int(table[:, number].sum())
    return ClassQuality(
        name=name,
        support=support,
        recall=found / support if support else None,
        precision=found / predicted if predicted else None,
        f1=2 * found / (support + predicted) if support + predicted else None,
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
