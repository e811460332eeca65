"""Distances between the class distributions of two sets of logits."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from limbeck.losses.probability import log_probs


def forward_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""KL divergence of the student from the teacher, at a temperature.

    .. math:: KL(p \| q) = \sum_c p_c (\log p_c - \log q_c),
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Mean-seeking. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree, infinite where
        the teacher believes in a class that the student does not have.

    References:
        Hinton, Vinyals & Dean, `Distilling the Knowledge in a Neural Network
        <https://arxiv.org/abs/1503.02531>`_, 2015, section 2.
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    absent = log_p.isneginf()  # 0 · log 0 = 0; without this, -inf - -inf is nan
    return (log_p.exp() * (log_p - log_q).masked_fill(absent, 0.0)).sum(-1)
