"""Distances that keep the class of the label apart from all others."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from limbeck.losses.divergence import kl_of_log_probs
from limbeck.losses.probability import log_probs
from limbeck.types import ABSENT


def decoupled_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    temperature: float | Tensor = 1.0,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    r"""The two parts of the KL divergence: about the label's class, and about the order of the others (DKD).

    .. math:: KL([p_y, 1 - p_y] \| [q_y, 1 - q_y]), \quad
              KL(\hat p \| \hat q), \; \hat p_c = \frac{p_c}{1 - p_y}, \; \hat q_c = \frac{q_c}{1 - q_y}
              \; (c \ne y), \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    The forward KL is the first plus :math:`1 - p_y` times the second, so no constant weights make up the KL.
    The second does not depend on the logit of the label's class. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        labels: Class numbers, :data:`~limbeck.types.ABSENT` where there is none.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        The target and the non-target part: one number (nats) per example each, not negative but for rounding; 0
        where the two sides agree and for an example without a label.

    References:
        Zhao, Cui, Song, Qiu & Liang, `Decoupled Knowledge Distillation <https://arxiv.org/abs/2203.08679>`_, 2022,
        section 3.
    """
    target = _is_label(labels, student_logits.shape[-1])
    log_p, log_q = (_target_or_not(z, target, temperature) for z in (teacher_logits, student_logits))
    log_p_rest, log_q_rest = (_non_target(z, target, temperature) for z in (teacher_logits, student_logits))
    parts = kl_of_log_probs(log_p, log_q), kl_of_log_probs(log_p_rest, log_q_rest)
    return _labelled(parts, labels)


def normalised_cross_entropy(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    temperature: float | Tensor = 1.0,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    r"""Cross-entropy of the label's class, weighed by the teacher's belief in it, and of the others (NKD).

    .. math:: -p_y \log q_y \; (T = 1), \quad -\sum_{c \ne y} \hat p_c \log \hat q_c,
              \; \hat p_c = \frac{p_c}{1 - p_y}, \; \hat q_c = \frac{q_c}{1 - q_y},
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Neither is 0 where the two sides agree. The second is least there, the first is not: it goes on pulling the
    student towards the label. Not multiplied by :math:`T^2`; methods do that, for the second part.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        labels: Class numbers, :data:`~limbeck.types.ABSENT` where there is none.
        temperature: Divides both sets of logits in the second part; above 1 softens them. A tensor broadcasts to
            ``[*batch, 1]``. The first part is always at a temperature of 1.

    Returns:
        The target and the non-target part: one number (nats) per example each, not negative; 0 for an example
        without a label, and for the second part where there are but two classes.

    References:
        Yang, Zeng, Li, Zhang, Yuan & Li, `From Knowledge Distillation to Self-Knowledge Distillation: A Unified
        Approach with Normalized Loss and Customized Soft Labels <https://arxiv.org/abs/2303.13005>`_, 2023,
        section 3.1.
    """
    target = _is_label(labels, student_logits.shape[-1])
    log_p, log_q = (
        log_probs(z).masked_fill(~target, 0.0).sum(-1, keepdim=True) for z in (teacher_logits, student_logits)
    )
    log_p_rest, log_q_rest = (_non_target(z, target, temperature) for z in (teacher_logits, student_logits))
    return _labelled((_cross_entropy(log_p, log_q), _cross_entropy(log_p_rest, log_q_rest)), labels)


def _is_label(labels: Tensor, classes: int) -> Bool[Tensor, "*batch classes"]:
    """Which class is the label; none for an example without one."""
    return labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)


def _target_or_not(
    logits: Tensor, target: Tensor, temperature: float | Tensor
) -> Float[Tensor, "*batch target_or_not"]:
    """Log-probabilities of the label's class and of all others together: from sums, as 1 - p would cancel."""
    log_p = log_probs(logits, temperature=temperature)
    others = log_p.masked_fill(target, -torch.inf)
    none = _is_empty(others)  # logsumexp has no gradient there
    rest = others.masked_fill(none, 0.0).logsumexp(-1, keepdim=True).masked_fill(none, -torch.inf)
    return torch.cat([log_p.masked_fill(~target, 0.0).sum(-1, keepdim=True), rest], -1)


def _non_target(
    logits: Tensor, target: Tensor, temperature: float | Tensor
) -> Float[Tensor, "*batch classes"]:
    """Log-probabilities among the classes that are not the label; ``-inf`` for it, and for all where it is alone."""
    others = logits.masked_fill(target, -torch.inf)
    none = _is_empty(others)
    return log_probs(others.masked_fill(none, 0.0), temperature=temperature).masked_fill(none, -torch.inf)


def _is_empty(logits: Tensor) -> Bool[Tensor, "*batch one"]:
    """Whether no class of a row is there."""
    return logits.isneginf().all(-1, keepdim=True)


def _cross_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Cross-entropy against probabilities, where one of 0 counts nothing even for an absent class."""
    return -(log_p.exp() * log_q.masked_fill(log_p.isneginf(), 0.0)).sum(-1)


def _labelled(parts: tuple[Tensor, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
    """The parts, with 0 for an example without a label."""
    target, non_target = (part.masked_fill(labels == ABSENT, 0.0) for part in parts)
    return target, non_target
