"""Resampling seeds and examples together, with an honest width when seeds are few."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

LEVEL: Final = 0.95
"""The share of intervals that should hold the true value."""

_NORMAL_QUANTILE: Final = 1.959963984540054
_BLOCK_NUMBERS: Final = 2_000_000


def interval(draws: Float[np.ndarray, " resamples"]) -> tuple[float, float]:
    """The two ends of the middle 95 % of resampled values."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def seed_weights(seeds: int, *, resamples: int, seed: int) -> Float[np.ndarray, "resamples seeds"]:
    r"""How much each seed counts in each resample; every row sums to 1.

    A bootstrap over S seeds is too narrow twice: its variance is that of the sample, :math:`(S-1)/S` of the
    unbiased one, and its percentiles are normal ones, where Student's t with S - 1 degrees of freedom is due.
    With three seeds both together leave out six parts in ten of the width. So every resample's weights are
    drawn away from equal weights by

    .. math:: \sqrt{S / (S - 1)} \; t_{S-1,\,0.975} / z_{0.975}

    which makes the part of the interval that comes from the seeds as wide as the t-interval, and leaves the
    part that comes from the examples as it is. Weights can be negative: they serve statistics that are
    linear in the seeds, or ratios of such.

    Args:
        seeds: How many seeds there are; with one, nothing is known of their spread and its weight is 1.
        resamples: How many rows.
        seed: Of the draws.

    References:
        Hesterberg, `What Teachers Should Know about the Bootstrap <https://arxiv.org/abs/1411.5279>`_, 2014,
        the expanded percentile interval; used here on the component of the seeds alone.
    """
    if seeds == 1:
        return np.ones((resamples, 1))
    counts = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    wider = math.sqrt(seeds / (seeds - 1)) * float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) / _NORMAL_QUANTILE
    return np.asarray(1 / seeds + wider * (counts - 1) / seeds)


def resampled_means(
    scores: Float[np.ndarray, "rows examples"], *, resamples: int, seed: int
) -> Float[np.ndarray, "resamples rows"]:
    """The mean of every row over examples drawn with replacement, the same draw for all rows.

    Args:
        scores: One number per row and example.
        resamples: How often to draw.
        seed: Of the draws.

    Note:
        Examples with equal scores in every row are drawn as one, with their count: the same distribution, and
        for scores of right and wrong a hundred times quicker.
    """
    rng = np.random.default_rng([seed, 2])
    examples = scores.shape[1]
    distinct, counts = np.unique(scores, axis=1, return_counts=True)
    if distinct.shape[1] * 8 <= examples:
        return np.asarray(
            rng.multinomial(examples, counts / examples, size=resamples) @ distinct.T / examples
        )
    block = max(1, _BLOCK_NUMBERS // examples)
    starts = range(0, resamples, block)
    return np.concatenate([_block(scores, min(block, resamples - start), rng) for start in starts])


def _block(
    scores: Float[np.ndarray, "rows examples"], resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "resamples rows"]:
    examples = scores.shape[1]
    drawn = rng.integers(0, examples, size=(resamples, examples))
    drawn += np.arange(resamples)[:, None] * examples
    counts = np.bincount(drawn.ravel(), minlength=resamples * examples).reshape(resamples, examples)
    return np.asarray(counts.astype(np.float64) @ scores.T / examples)
