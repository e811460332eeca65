"""Distances between independent answers to several yes-or-no questions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.losses.divergence import forward_kl


def binary_kl(
    student_logits: Float[Tensor, "batch labels"],
    teacher_logits: Float[Tensor, "batch labels"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, " batch"]:
    r"""Mean over the labels of the KL divergence of the student's yes or no from the teacher's.

    .. math:: \frac{1}{L} \sum_l p_l \log\frac{p_l}{q_l} + (1 - p_l) \log\frac{1 - p_l}{1 - q_l},
              \quad p = \sigma(z^t / T), \; q = \sigma(z^s / T)

    Binary cross-entropy less the teacher's entropy. The divergence of two classes with the logits
    :math:`[z, 0]`, which is how it is computed. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: The log-odds of each label. ``-inf`` says no for certain, and both sides must say so.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[batch, 1]``.

    Returns:
        One number (nats per label) per example, not negative but for rounding; 0 where the two agree.

    References:
        Yang et al., `Multi-Label Knowledge Distillation <https://arxiv.org/abs/2308.06453>`_, 2023
        (one binary problem per label).
    """
    if isinstance(temperature, Tensor):
        temperature = temperature[..., None]
    student, teacher = (torch.stack([z, torch.zeros_like(z)], -1) for z in (student_logits, teacher_logits))
    return forward_kl(student, teacher, temperature=temperature).mean(-1)
