"""Distances between logits themselves, and between probabilities up to scale and offset."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from limbeck.losses.geometry import directions
from limbeck.losses.probability import log_probs
from limbeck.losses.widening import wide

SMALLEST_SPREAD: Final = 1e-7
"""Added in squares to the standard deviation of :func:`standardised`, in units of logits."""

_ROUNDINGS: Final = 8
"""Deviations from the mean up to this many roundings of a row are none, in the correlation distances."""


def logit_mse(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    centred: bool = False,
) -> Float[Tensor, "*batch"]:
    r"""Mean squared difference of the logits, over the classes that both sides have.

    .. math:: \frac{1}{C} \sum_c (d_c - m)^2, \quad d = z^s - z^t,
              \quad m = \begin{cases} \frac{1}{C} \sum_c d_c & \text{centred} \\ 0 & \text{else} \end{cases}

    Has no temperature: one would only divide it by :math:`T^2`. Half of the centred one is what :math:`T^2` times
    the forward KL tends to as :math:`T` grows.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        centred: Whether to take each side's mean away first, which makes the loss blind to a constant added to
            the logits of a row, as a softmax is.

    Returns:
        One number (squared units of logit) per example, not negative; 0 where the two agree and where they have
        no class in common.

    References:
        Ba & Caruana, `Do Deep Nets Really Need to be Deep? <https://arxiv.org/abs/1312.6184>`_, 2014, section 2.

        Kim, Oh, Kim, Cho & Yun, `Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge
        Distillation <https://arxiv.org/abs/2105.08919>`_, 2021, section 3 (the limit of large temperatures).
    """
    there = ~(student_logits.isneginf() | teacher_logits.isneginf())
    student, teacher = (wide(z).masked_fill(~there, 0.0) for z in (student_logits, teacher_logits))
    gaps = student - teacher
    if centred:
        gaps = _deviations(gaps, there)
    return gaps.square().sum(-1) / there.sum(-1).clamp(min=1)


def standardised(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    r"""Logits with a mean of 0 and a standard deviation of 1 in each row (LS-KD).

    .. math:: \frac{z_c - \mu}{\sqrt{\sigma^2 + \epsilon^2}}, \quad \mu = \frac{1}{C} \sum_c z_c,
              \; \sigma^2 = \frac{1}{C} \sum_c (z_c - \mu)^2, \; \epsilon = 10^{-7}

    What is left is the shape of a row: two models whose logits differ by a positive factor and a constant become
    equal, and so does their confidence lose its meaning. With two classes nothing is left but a sign, as every row
    becomes (1, -1) or (-1, 1). The variance is that of the population, as in the paper; the authors' code divides
    by :math:`C - 1`. A row of equal logits becomes zeros, with a gradient of the order :math:`1 / \epsilon`.

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that is not there; it stays so and does not count.

    Returns:
        Scores without a unit: fp64 for fp64 logits, else fp32.

    References:
        Sun, Ren, Li, Wang & Cao, `Logit Standardization in Knowledge Distillation
        <https://arxiv.org/abs/2403.01427>`_, 2024, section 4.
    """
    there = ~logits.isneginf()
    deviations = _deviations(wide(logits).masked_fill(~there, 0.0), there)
    variance = deviations.square().sum(-1, keepdim=True) / _count(there)
    return (deviations / (variance + SMALLEST_SPREAD**2).sqrt()).masked_fill(~there, -torch.inf)


def correlation_distance(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""1 minus the correlation, over the classes, of the probabilities of an example (DIST, inter-class).

    .. math:: 1 - \rho(q, p), \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    with Pearson's :math:`\rho`. Blind to a positive scale and an offset of the probabilities, but not of the logits.
    Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number from 0 to 2 per example; 0 where the two agree. 1, without a gradient, where either side holds
        all classes equally likely, as there is no correlation then.

    References:
        Huang, You, Wang, Qian & Xu, `Knowledge Distillation from A Stronger Teacher
        <https://arxiv.org/abs/2205.10536>`_, 2022, section 3 (inter-class relation).
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    return _uncorrelated(log_q, log_p, ~(log_p.isneginf() & log_q.isneginf()))


def class_correlation_distance(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, " classes"]:
    r"""1 minus the correlation, over the examples, of the probabilities of a class (DIST, intra-class).

    .. math:: 1 - \rho(q_{\cdot c}, p_{\cdot c}), \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    with Pearson's :math:`\rho`. Couples the batch: which examples stand out in a class depends on the others.
    Blind to a positive scale and an offset of a class's probabilities. Not multiplied by :math:`T^2`; methods do
    that.

    Args:
        student_logits: Unnormalised scores; all axes but the last count as examples. ``-inf`` marks a class that
            is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number from 0 to 2 per class; 0 where the two agree and for a class that neither side has in any
        example. 1, without a gradient, where either side holds a class equally likely in all examples, as in a
        batch of one.

    References:
        Huang, You, Wang, Qian & Xu, `Knowledge Distillation from A Stronger Teacher
        <https://arxiv.org/abs/2205.10536>`_, 2022, section 3 (intra-class relation).
    """
    log_p = log_probs(teacher_logits, temperature=temperature).reshape(-1, teacher_logits.shape[-1]).mT
    log_q = log_probs(student_logits, temperature=temperature).reshape(-1, student_logits.shape[-1]).mT
    nowhere = (log_p.isneginf() & log_q.isneginf()).all(-1)
    values = _uncorrelated(log_q, log_p, torch.ones_like(log_p, dtype=torch.bool))
    return values.masked_fill(nowhere, 0.0)


def _uncorrelated(
    log_q: Tensor, log_p: Tensor, there: Bool[Tensor, "*rows entries"]
) -> Float[Tensor, "*rows"]:
    """1 - Pearson's correlation of the exponentials of two rows, over the entries that are there.

    As half the squared distance of the two directions, which is 0 exactly where they agree.
    """
    student, teacher = (directions(_spread(log_row, there)) for log_row in (log_q, log_p))
    constant = ~(student.any(-1) & teacher.any(-1))
    return ((student - teacher).square().sum(-1) / 2).masked_fill(constant, 1.0)


def _spread(log_row: Tensor, there: Tensor) -> Tensor:
    """A row's deviations from its mean in units of its largest entry; exactly 0 where they are but rounding."""
    largest = log_row.detach().amax(-1, keepdim=True)
    largest = largest.masked_fill(largest.isneginf(), 0.0)
    row = (log_row - largest).exp()
    deviations = _deviations(row, there)
    roundings = torch.finfo(row.dtype).eps * (_ROUNDINGS - largest)  # of the sum, and of the logarithm
    rounding = roundings * torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    length = torch.linalg.vector_norm(deviations, dim=-1, keepdim=True)
    return deviations.masked_fill(length <= rounding, 0.0)


def _deviations(rows: Tensor, there: Tensor) -> Tensor:
    """Differences from the mean of the entries that are there; 0 for the others, which hold 0."""
    return (rows - rows.sum(-1, keepdim=True) / _count(there)).masked_fill(~there, 0.0)


def _count(there: Tensor) -> Tensor:
    """How many entries of each row are there, at least 1."""
    return there.sum(-1, keepdim=True).clamp(min=1)
