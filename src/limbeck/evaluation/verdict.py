"""What may be claimed: student against baseline and teacher, with intervals over seeds and examples.

Scores are per example and higher is better: 1 for right and 0 for wrong, or a negative loss. Every interval
is a crossed bootstrap, which draws seeds and examples together, because a claim about a method has to hold
for another seed and for other examples; :mod:`limbeck.evaluation.bootstrap` says how few seeds are treated.

References:
    Owen & Eckles, `Bootstrapping data arrays of arbitrary order <https://arxiv.org/abs/1106.2125>`_, 2012:
    drawing both factors independently is mildly conservative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr

from limbeck.errors import DataError
from limbeck.evaluation.bootstrap import interval, resampled_means, seed_weights

RESAMPLES: Final = 2000
"""How often seeds and examples are drawn."""

_ONE_SEED: Final = "one seed: the interval covers other examples, not other seeds"
_NORMAL_QUANTILE: Final = 1.96

Word = Literal["beats", "ties", "hurts", "open"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its 95 % interval, or the reason why there is none."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None
    """Why the value is absent, or what the interval leaves out."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the student does better than a baseline."""

    word: Word
    difference: float
    """Mean score of the student less that of the baseline."""
    low: float
    high: float
    margin: float
    p: float | None
    """Of a paired t-test over seeds, two-sided; absent with one seed. It ignores the choice of examples."""
    seeds: int
    reason: str | None = None
    """What the interval leaves out."""


def verdict(
    student: Float[np.ndarray, "seeds examples"],
    baseline: Float[np.ndarray, "baseline_seeds examples"],
    *,
    margin: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Verdict:
    """Compare a student with a baseline, pair by pair.

    The interval decides, in this order: *beats* if all of it is above 0, *hurts* if all of it is below,
    *ties* if all of it is within the margin, else *open*. ``p`` stands beside it and decides nothing.

    Args:
        student: Its scores, a row per seed.
        baseline: Its scores with the same seeds in the same order, or one row for a baseline without seeds.
        margin: The largest difference that does not matter, in units of the score.
        resamples: How often seeds and examples are drawn.
        seed: Of the draws; the same input gives the same verdict.

    Raises:
        DataError: If the scores do not pair, or the margin is negative.
    """
    if not margin >= 0:
        raise DataError(f"evaluation.margin must be at least 0, got {margin}.")
    differences = _paired(student, baseline)
    seeds = len(differences)
    means = resampled_means(differences, resamples=resamples, seed=seed)
    low, high = interval((means * seed_weights(seeds, resamples=resamples, seed=seed)).sum(axis=1))
    return Verdict(
        word=_word(low, high, margin),
        difference=float(differences.mean()),
        low=low,
        high=high,
        margin=margin,
        p=_paired_t(differences.mean(axis=1)),
        seeds=seeds,
        reason=_ONE_SEED if seeds == 1 else None,
    )


def retention(
    student: Float[np.ndarray, "seeds examples"],
    teacher: Float[np.ndarray, " examples"],
    *,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """How much of the teacher's score the student keeps: student / teacher.

    Args:
        student: Its scores, a row per seed.
        teacher: Its scores on the same examples.
        higher_is_better: False for a loss or an error: the ratio is then teacher / student.
        resamples: How often seeds and examples are drawn.
        seed: Of the draws.

    Returns:
        The ratio; absent, with the reason, where the denominator is not clearly above 0.

    Raises:
        DataError: If the scores are not of the same examples.
    """
    rows = _stacked(student, teacher[None])
    means = resampled_means(rows, resamples=resamples, seed=seed)
    weights = seed_weights(len(student), resamples=resamples, seed=seed)
    draws = np.stack([(means[:, :-1] * weights).sum(axis=1), means[:, -1]])
    value = np.stack([student.mean(), teacher.mean()])
    if higher_is_better:
        return _ratio(draws[0], draws[1], value[0], value[1], owner="the teacher's score", seeds=len(student))
    return _ratio(draws[1], draws[0], value[1], value[0], owner="the student's score", seeds=len(student))


def gap(
    student: Float[np.ndarray, "seeds examples"],
    baseline: Float[np.ndarray, "baseline_seeds examples"],
    teacher: Float[np.ndarray, " examples"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """How much of what there was to gain is gained: (student - baseline) / (teacher - baseline).

    Args:
        student: Its scores, a row per seed.
        baseline: Those of the same student without a teacher, with the same seeds in the same order,
            or one row.
        teacher: Its scores on the same examples.
        resamples: How often seeds and examples are drawn.
        seed: Of the draws.

    Returns:
        The share, 1 where the student equals the teacher; absent, with the reason, where the teacher is not
        clearly above the baseline.

    Raises:
        DataError: If the scores do not pair.
    """
    gained, possible = _paired(student, baseline), _paired(np.broadcast_to(teacher, baseline.shape), baseline)
    seeds = len(gained)
    possible = np.broadcast_to(possible, gained.shape)
    means = resampled_means(_stacked(gained, possible), resamples=resamples, seed=seed)
    weights = seed_weights(seeds, resamples=resamples, seed=seed)
    return _ratio(
        (means[:, :seeds] * weights).sum(axis=1),
        (means[:, seeds:] * weights).sum(axis=1),
        gained.mean(),
        possible.mean(),
        owner="the teacher's lead over the baseline",
        seeds=seeds,
    )


def validation_warning(examples: int, *, margin: float, disagreement: float = 0.1) -> str | None:
    """A sentence where validation data are too few to choose by, else None.

    Args:
        examples: How many validation examples there are.
        margin: The largest difference that does not matter.
        disagreement: Share of examples on which exactly one of two candidates is right, or the mean squared
            difference of their scores. Two trainings of one small net differ on about a tenth.
    """
    half = _NORMAL_QUANTILE * math.sqrt(disagreement / examples)
    if half <= margin:
        return None
    needed = (
        f"{math.ceil(disagreement * (_NORMAL_QUANTILE / margin) ** 2):,} would do"
        if margin
        else "none are enough"
    )
    return (
        f"{examples:,} validation examples cannot tell apart choices that differ by less than {half:.4f}, "
        f"and the margin is {margin:g} ({needed}): what was chosen on them may have been chosen by luck."
    )


def _word(low: float, high: float, margin: float) -> Word:
    if low > 0:
        return "beats"
    if high < 0:
        return "hurts"
    return "ties" if -margin <= low and high <= margin else "open"


def _paired_t(differences: Float[np.ndarray, " seeds"]) -> float | None:
    seeds = len(differences)
    if seeds == 1:
        return None
    mean, error = abs(float(differences.mean())), float(differences.std(ddof=1)) / math.sqrt(seeds)
    if error <= 1e-12 * mean:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(seeds - 1, -mean / error))


def _ratio(
    over: Float[np.ndarray, " resamples"],
    under: Float[np.ndarray, " resamples"],
    over_value: float,
    under_value: float,
    *,
    owner: str,
    seeds: int,
) -> Interval:
    if (under <= 0).any():
        ends = "{:.4f} to {:.4f}".format(*interval(under))
        reason = f"{owner} is {under_value:.4f} ({ends}), too near 0 or below it to divide by"
        return Interval(None, None, None, reason)
    low, high = interval(over / under)
    return Interval(float(over_value / under_value), low, high, _ONE_SEED if seeds == 1 else None)


def _paired(
    student: Float[np.ndarray, "seeds examples"], baseline: Float[np.ndarray, "baseline_seeds examples"]
) -> Float[np.ndarray, "seeds examples"]:
    _stacked(student, baseline)
    if len(baseline) not in (1, len(student)):
        raise DataError(
            f"the baseline must have the student's {len(student)} seeds, or one row when it has none, "
            f"got {len(baseline)}; train both with the same list of seeds."
        )
    return np.asarray(student - baseline, dtype=np.float64)


def _stacked(
    student: Float[np.ndarray, "seeds examples"], other: Float[np.ndarray, "rows examples"]
) -> Float[np.ndarray, "all_rows examples"]:
    if not student.size or student.ndim != 2 or other.ndim != 2 or student.shape[1] != other.shape[1]:
        raise DataError(
            "scores must be tables [seeds, examples] of the same examples, "
            f"got {student.shape} for the student and {other.shape} beside it."
        )
    rows = np.concatenate([student, other]).astype(np.float64)
    if not np.isfinite(rows).all():
        raise DataError("scores must be finite; one of them is not: look at the logits that they come from.")
    return rows
