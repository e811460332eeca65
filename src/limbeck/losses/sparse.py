"""Distances from a teacher of whom only some classes are kept.

Two ways to keep few classes: the likeliest ``k``, with all others as one more bucket (:func:`top_k_kl`), or
classes drawn from the teacher (:func:`sampled_cross_entropy`). A third, stretching the likeliest ``k`` until
they sum to 1, is not offered. It is biased: it pulls the kept classes up and the others down even where the
student agrees with the teacher, as its gradient there is :math:`p_c - p_c / m` for a kept class and
:math:`p_c` for any other, with :math:`m` the kept mass. It is zero only if nothing was left out.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.losses import probability
from limbeck.losses.divergence import forward_kl
from limbeck.losses.widening import wide

_ROUNDING: Final = 0.01
"""A tail up to this mass is what storing in halves can feign, where the student has no class that could be in it."""


def top_k_kl(
    student_logits: Float[Tensor, "*batch classes"],
    classes: Int[Tensor, "*batch k"],
    log_probs: Float[Tensor, "*batch k"],
    *,
    tail: Float[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""KL divergence of the student from the teacher over the kept classes and one bucket for all others.

    .. math:: \sum_{c \in K} p_c (\log p_c - \log q_c) + \bar p (\log \bar p - \log \bar q),
              \quad \bar p = 1 - \sum_{c \in K} p_c, \; \bar q = \sum_{c \notin K} q_c

    A lower bound of the full divergence, equal to it where at most one class was left out. Stationary where
    the student agrees with the teacher; silent about how the student shares out the tail. Kept
    log-probabilities cannot be brought to another temperature: the mass of the tail changes with it.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        classes: The numbers of the classes that were kept of the teacher, each at most once per row.
        log_probs: Their natural logarithms at temperature 1, ``-inf`` for a class that is not there. Where they
            sum to more than 1 by rounding, the tail is empty and they are normalised. Gradients flow into
            both sides.
        tail: The logarithm of the mass of all other classes, ``-inf`` where there are none. By default what the
            kept ones leave of 1, which is lost where they sum to almost 1 and are rounded.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree on the buckets,
        infinite where the teacher believes in a bucket that the student does not have.

    References:
        Anshumann et al., `Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs
        <https://arxiv.org/abs/2503.16870>`_, 2025 (why keeping the top k alone is biased).
    """
    student = buckets(wide(student_logits), classes.long())
    kept = wide(log_probs)
    others = _log_complement(kept.logsumexp(-1, keepdim=True)) if tail is None else wide(tail)[..., None]
    feigned = student[..., -1:].isneginf() & (others < math.log(_ROUNDING))
    return forward_kl(student, torch.cat([kept, others.masked_fill(feigned, -torch.inf)], -1))


def fewer(
    log_probs: Float[Tensor, "*batch k"], tail: Float[Tensor, "*batch"], k: int
) -> tuple[Float[Tensor, "*batch fewer"], Float[Tensor, "*batch"]]:
    """The first ``k`` of the kept log-probabilities, and a tail into which the others have gone.

    Args:
        log_probs: Of the kept classes, the likeliest first.
        tail: The logarithm of the mass of all other classes.
        k: How many to keep; as many as there are, or fewer.
    """
    return log_probs[..., :k], torch.cat([log_probs[..., k:], tail[..., None]], -1).logsumexp(-1)


def top_k_of(
    logits: Float[Tensor, "*batch classes"], k: int
) -> tuple[Int[Tensor, "*batch k"], Float[Tensor, "*batch k"]]:
    """The likeliest classes and their log-probabilities, as :func:`top_k_kl` takes them.

    Args:
        logits: Unnormalised scores of the teacher. ``-inf`` marks a class that is not there.
        k: How many classes to keep, at most all.

    Returns:
        The numbers of the classes, likeliest first, and their log-probabilities (nats) among all classes.
    """
    log_probs, classes = probability.log_probs(logits).topk(k, -1)
    return classes, log_probs


def sampled_cross_entropy(
    student_logits: Float[Tensor, "*batch classes"],
    classes: Int[Tensor, "*batch draws"],
    weights: Float[Tensor, "*batch draws"],
) -> Float[Tensor, "*batch"]:
    r"""Cross-entropy of the student against classes that were drawn from the teacher.

    .. math:: -\sum_i w_i \log q_{c_i}, \quad q = softmax(z^s)

    With draws from the teacher's distribution and equal weights, its expectation and that of its gradient
    are those of the cross-entropy against the whole distribution. As a cross-entropy it is not zero at
    agreement: the teacher's entropy is not in it.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        classes: The numbers of the drawn classes; one that was drawn twice stands there twice, or once with
            the weight of both.
        weights: Summing to 1 per example. A weight of 0 counts nothing, even for an absent class.

    Returns:
        One number (nats) per example, not negative.

    References:
        Anshumann et al., `Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs
        <https://arxiv.org/abs/2503.16870>`_, 2025.
    """
    log_q = probability.log_probs(student_logits).gather(-1, classes.long())
    return -(weights * log_q.masked_fill(weights == 0, 0.0)).sum(-1)


def sampled_targets(
    logits: Float[Tensor, "*batch classes"],
    draws: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "*batch draws"], Float[Tensor, "*batch draws"]]:
    r"""Classes drawn from the teacher with replacement, and what each of them weighs.

    .. math:: w_i = \frac{p_{c_i} / r_{c_i}}{\sum_j p_{c_j} / r_{c_j}},
              \quad p = softmax(z^t), \; r = softmax(z^t / T)

    At temperature 1 every draw weighs the same, and :func:`sampled_cross_entropy` is unbiased. Another
    temperature may lower the variance; normalising then leaves a bias that shrinks as one over the draws.

    Args:
        logits: Unnormalised scores of the teacher, from which no gradient comes back. ``-inf`` marks a class
            that is not there and is never drawn.
        draws: How many classes to draw for each example.
        temperature: Divides the logits of the distribution that is drawn from; above 1 flattens it.
        generator: Where the random numbers come from, on the device of the logits.

    Returns:
        The numbers of the drawn classes, repeated as often as drawn, and their weights, which sum to 1.

    References:
        Anshumann et al., `Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs
        <https://arxiv.org/abs/2503.16870>`_, 2025.
    """
    log_p = probability.log_probs(logits.detach())
    log_r = probability.log_probs(logits.detach(), temperature=temperature)
    rows = log_r.exp().reshape(-1, logits.shape[-1])
    drawn = torch.multinomial(rows, draws, replacement=True, generator=generator)
    classes = drawn.reshape(*logits.shape[:-1], draws)
    return classes, (log_p.gather(-1, classes) - log_r.gather(-1, classes)).softmax(-1)


def buckets(
    logits: Float[Tensor, "*batch classes"], classes: Int[Tensor, "*batch k"]
) -> Float[Tensor, "*batch k_and_tail"]:
    """The logits of some classes, and one for all others together: no mass is ever taken as 1 less another.

    Args:
        logits: Unnormalised scores, or log-probabilities.
        classes: The numbers of some classes, each at most once per row.
    """
    others = logits.scatter(-1, classes, -torch.inf)
    empty = others.detach().amax(-1, keepdim=True).isneginf()
    tail = others.masked_fill_(empty, 0.0).logsumexp(-1, keepdim=True)  # has no gradient where all is -inf
    return torch.cat([logits.gather(-1, classes), tail.masked_fill(empty, -torch.inf)], -1)


def _log_complement(log_mass: Tensor) -> Tensor:
    """log(1 - exp(x)), and ``-inf`` without a gradient where x is not below 0."""
    full = log_mass >= 0
    return (-torch.expm1(log_mass.masked_fill(full, -1.0))).log().masked_fill(full, -torch.inf)
