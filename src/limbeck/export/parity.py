"""Whether a written file answers as the trained student does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from limbeck.errors import ExportMismatchError
from limbeck.evaluation import agreement, metrics
from limbeck.export.runtime import Runner
from limbeck.recipe.exports import Exports

_BATCH_EXAMPLES: Final = 256
_CHANCE: Final = 0.025


@dataclass(frozen=True, slots=True)
class Parity:
    """A file's answers on held-out samples, beside the student's."""

    max_abs_error: float
    """Largest difference of a logit."""
    scale: float
    """Largest absolute logit of the student."""
    agreement: float
    """Share of samples on which both choose the same class."""
    metrics: dict[str, float]
    """The file's own, against the labels."""
    samples: int
    """How many were compared."""

    def short_of(self, share: float) -> bool:
        """Whether both agree on less than a share of the samples, by more than chance would have it.

        One-sided, at 2.5 %: of 36 samples two may differ at a share of 0.95, of 10,000 some 540.
        """
        differing = round((1 - self.agreement) * self.samples)
        return differing > 0 and bool(binom.sf(differing - 1, self.samples, 1 - share) < _CHANCE)


def answers(run: Runner, raw: NDArray[Any]) -> NDArray[np.float32]:
    """Logits ``[n, classes]`` for many samples: the first alone, so that two batch sizes are tried."""
    edges = [0, 1, *range(1 + _BATCH_EXAMPLES, len(raw), _BATCH_EXAMPLES), len(raw)]
    parts = [run(raw[start:end]) for start, end in itertools.pairwise(edges) if end > start]
    return np.concatenate(parts)


def parity(logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]) -> Parity:
    """Compare a file's logits with the student's.

    Args:
        logits: ``[n, classes]``, the file's.
        reference: ``[n, classes]``, the trained student's, in fp32.
        labels: ``[n]``, all known.
    """
    if logits.shape != reference.shape or not np.isfinite(logits).all():
        return Parity(float("inf"), float(np.abs(reference).max()), 0.0, {}, len(reference))
    return Parity(
        max_abs_error=float(np.abs(logits - reference).max()),
        scale=float(np.abs(reference).max()),
        agreement=float(agreement(logits, reference)),
        metrics=metrics(logits, labels),
        samples=len(reference),
    )


def check_parity(found: Parity, path: Path, precision: str, exports: Exports) -> None:
    """Refuse a file that answers otherwise than the student.

    Raises:
        ExportMismatchError: If a fp32 logit differs by more than ``fp32_error`` times the largest logit (at
            least 1), or an int8 file is :meth:`Parity.short_of` ``int8_agreement``.
    """
    if precision == "fp32":
        bound = exports.fp32_error * max(1.0, found.scale)
        if not found.max_abs_error <= bound:
            raise ExportMismatchError(
                f"{path.name}: a logit differs from the student's by {found.max_abs_error:.3g}; at most "
                f"{bound:.3g} is allowed. The student may draw random numbers or depend on its batch; "
                "leave this format out of export.formats, or raise export.fp32_error."
            )
    elif found.short_of(exports.int8_agreement):
        raise ExportMismatchError(
            f"{path.name}: agrees with the student on {found.agreement:.4f} of the held-out samples; at "
            f"least {exports.int8_agreement:g} is asked for. Raise export.calibration_examples, lower "
            "export.int8_agreement, or leave 'onnx-int8' out of export.formats."
        )
