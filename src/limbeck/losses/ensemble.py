"""Several teachers' logits made into one."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.losses.classification import cross_entropy
from limbeck.losses.probability import log_probs
from limbeck.losses.widening import wide


def mean_probability(
    logits: Float[Tensor, "teachers *batch classes"], *, temperature: float = 1.0
) -> Float[Tensor, "*batch classes"]:
    r"""Logits of the mean of the teachers' distributions.

    .. math:: T \log \frac{1}{K} \sum_k softmax(z_k / T)

    A student learns from them as from the mean of its divergences from each teacher: both have the same gradient.

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that a teacher does not have.
        temperature: At which the distributions are averaged; use the same with the result, whose softmax at it is
            their mean.

    Returns:
        Logits; at a temperature of 1 they are log-probabilities. ``-inf`` for a class that no teacher has.

    References:
        Hinton, Vinyals & Dean, `Distilling the Knowledge in a Neural Network
        <https://arxiv.org/abs/1503.02531>`_, 2015, section 1 (the arithmetic mean of an ensemble).
    """
    log_p = log_probs(logits, temperature=temperature)
    return _logits(log_p - math.log(len(logits)), temperature)


def mean_logit(logits: Float[Tensor, "teachers *batch classes"]) -> Float[Tensor, "*batch classes"]:
    r"""Mean of the teachers' logits: the geometric mean of their distributions, at every temperature.

    .. math:: \frac{1}{K} \sum_k z_k, \quad
              softmax\!\left(\tfrac{1}{K} \textstyle\sum_k z_k\right)_c \propto \prod_k softmax(z_k)_c^{1/K}

    A class that one teacher rules out is ruled out, unlike with :func:`mean_probability`.

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that a teacher does not have.

    Returns:
        Logits; ``-inf`` for a class that any teacher lacks. fp64 for fp64 logits, else fp32.

    References:
        Hinton, Vinyals & Dean, `Distilling the Knowledge in a Neural Network
        <https://arxiv.org/abs/1503.02531>`_, 2015, section 1 (the geometric mean of an ensemble).
    """
    return wide(logits).mean(0)


def weighted_probability(
    logits: Float[Tensor, "teachers *batch classes"],
    weights: Float[Tensor, " teachers *batch"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, "*batch classes"]:
    r"""Logits of a weighted mean of the teachers' distributions.

    .. math:: T \log \sum_k w_k \, softmax(z_k / T)

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that a teacher does not have.
        weights: Share of each teacher in each example, not negative, with a sum of 1 over the teachers; for
            instance from :func:`confidence_weights`.
        temperature: At which the distributions are averaged; use the same with the result.

    Returns:
        Logits; at a temperature of 1 they are log-probabilities. ``-inf`` for a class that no teacher with a share
        has.
    """
    log_p = log_probs(logits, temperature=temperature)
    shares = weights.to(log_p.dtype).log().unsqueeze(-1)
    return _logits(log_p + shares, temperature)


def confidence_weights(
    logits: Float[Tensor, "teachers batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, "teachers batch"]:
    r"""Share of each teacher in each example: the larger, the better it predicts the label (CA-MKD).

    .. math:: w_k = \frac{1}{K - 1} \left(1 - \frac{\exp CE_k}{\sum_j \exp CE_j}\right)

    where :math:`CE_k` is the cross-entropy of teacher :math:`k` against the label.

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that a teacher does not have.
        labels: Class numbers, :data:`~limbeck.types.ABSENT` where there is none.

    Returns:
        Shares that are not negative, with a sum of 1 over the teachers; equal for an example without a label, and
        1 for a single teacher.

    References:
        Zhang, Chen & Wang, `Confidence-Aware Multi-Teacher Knowledge Distillation
        <https://arxiv.org/abs/2201.00007>`_, 2022, section 3.
    """
    errors = torch.stack([cross_entropy(teacher, labels) for teacher in logits])
    if len(logits) == 1:
        return torch.ones_like(errors)
    largest = torch.finfo(errors.dtype).max  # a teacher without the label's class errs infinitely
    return (1.0 - errors.clamp_max(largest).softmax(0)) / (len(logits) - 1)


def _logits(log_parts: Tensor, temperature: float) -> Tensor:
    """The logits whose softmax at the temperature is the sum of the teachers' parts."""
    absent = log_parts.isneginf().all(0)  # the gradient of logsumexp is nan where nothing is finite
    log_p = log_parts.masked_fill(absent, 0.0).logsumexp(0).masked_fill(absent, -torch.inf)
    return log_p if temperature == 1.0 else log_p * temperature
