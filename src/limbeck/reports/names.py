"""What readers call things that the report names by a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NAMES: Final[Mapping[str, str]] = {
    "teacher": "Teacher",
    "student": "Student",
    "baseline": "Baseline",
    "no-teacher": "No teacher (baseline)",
    "pseudo-labels": "Hard pseudo-labels",
    "supervised": "Supervised on all labels",
    "direct": "Straight from the teacher",
    "quantised-teacher": "Teacher, only quantised",
    "linear": "Linear model",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "nll": "NLL (nats)",
    "brier": "Brier score",
    "ece": "Calibration error",
    "agreement": "Agreement with the teacher",
    "baseline_agreement": "The baseline's agreement",
    "kl_nats": "KL from the teacher (nats)",
    "inherited_errors": "Teacher's mistakes it repeats",
    "baseline_inherited_errors": "Teacher's mistakes the baseline repeats",
    "lost": "Lost: teacher right, student wrong",
    "gained": "Gained: student right, teacher wrong",
    "distil": "Distil",
    "train_validation": "In training and validation data",
    "train_test": "In training and test data",
    "validation_test": "In validation and test data",
    "within_train": "Twice within training data",
}
_VERDICTS: Final[Mapping[str, str]] = {
    "beats": "beats",
    "ties": "ties with",
    "hurts": "is worse than",
    "open": "cannot be told apart from",
}
LOWER_IS_BETTER: Final = frozenset({"nll", "brier", "ece"})
"""Metrics in which less is better."""


def named(key: str) -> str:
    """A key in readers' words; an unknown one loses its hyphens and underscores."""
    if key in _NAMES:
        return _NAMES[key]
    words = key.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def judged(word: str) -> str:
    """A verdict's word, to stand between the student and what it is compared with."""
    return _VERDICTS.get(word, word)
