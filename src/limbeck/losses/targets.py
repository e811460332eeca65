"""Class distributions to learn from where there is no other model to ask."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from limbeck.losses.widening import wide
from limbeck.types import ABSENT


def virtual_teacher_logits(
    labels: Int[Tensor, " batch"], *, classes: int, confidence: float = 0.9
) -> Float[Tensor, "batch classes"]:
    r"""Logits of a made-up teacher that believes in the label, and in all other classes evenly (Tf-KD).

    .. math:: z_c = \log p_c, \quad p_y = a, \; p_{c \ne y} = \frac{1 - a}{C - 1}

    At a temperature of 1 they teach what label smoothing by :math:`\epsilon = (1 - a)\, C / (C - 1)` teaches. The
    authors' code softens the probabilities themselves as if they were logits; here a temperature softens the
    distribution, as with a real teacher.

    Args:
        labels: Class numbers, :data:`~limbeck.types.ABSENT` where there is none.
        classes: How many classes there are.
        confidence: Probability :math:`a` of the label's class, at a temperature of 1.

    Returns:
        Log-probabilities (nats) in fp32; ``-inf`` for the other classes at a confidence of 1. Even for an example
        without a label.

    References:
        Yuan, Tay, Li, Wang & Feng, `Revisiting Knowledge Distillation via Label Smoothing Regularization
        <https://arxiv.org/abs/1909.11723>`_, 2020 (teacher-free distillation, with a manually designed teacher).
    """
    hit = _one_hot(labels, classes)
    doubt = (1.0 - confidence) / max(classes - 1, 1)
    wrong = torch.full((classes,), doubt, device=labels.device)
    probabilities = torch.where(hit, confidence, wrong)
    return probabilities.masked_fill((labels == ABSENT).unsqueeze(-1), 1.0 / classes).log()


def blended_targets(
    labels: Int[Tensor, " batch"], past_probabilities: Float[Tensor, "batch classes"], *, share: float
) -> Float[Tensor, "batch classes"]:
    r"""Labels mixed with what the model itself believed earlier (PS-KD).

    .. math:: (1 - s)\, \mathbb{1}[c = y] + s\, p^{past}_c

    Args:
        labels: Class numbers, :data:`~limbeck.types.ABSENT` where there is none.
        past_probabilities: Its distribution for each example, an epoch ago.
        share: Weight :math:`s` of the past, from 0 to 1; the paper lets it grow with the epochs.

    Returns:
        A distribution for each example, fp64 for fp64 probabilities, else fp32; the past alone where there is
        no label.

    References:
        Kim, Ji, Yoon & Hwang, `Self-Knowledge Distillation with Progressive Refinement of Targets
        <https://arxiv.org/abs/2006.12000>`_, 2021, section 3.
    """
    past = wide(past_probabilities)
    hit = _one_hot(labels, past.shape[1]).to(past.dtype)
    mixed = hit.lerp(past, share)
    return torch.where((labels == ABSENT).unsqueeze(-1), past, mixed)


def _one_hot(labels: Tensor, classes: int) -> Bool[Tensor, "batch classes"]:
    """Which class is the label; none for an example without one."""
    return labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)
