"""Divergences from a mixture of both distributions: finite even where one side rules a class out."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.losses.divergence import kl_of_log_probs
from limbeck.losses.probability import log_probs


def jensen_shannon(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    teacher_share: float = 0.5,
    normalised: bool = False,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""Jensen-Shannon divergence: how far both distributions are from a mixture of them.

    .. math:: s \, KL(p \| m) + (1 - s) \, KL(q \| m), \quad m = s p + (1 - s) q,
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Towards either end of the share it vanishes: :math:`JSD_s / s` tends to the forward KL for :math:`s \to 0`, and
    :math:`JSD_s / (1 - s)` to the reverse KL for :math:`s \to 1`. Code that puts the KLs themselves in place of
    the ends therefore jumps there; ``normalised`` divides by :math:`s (1 - s)`, with the KLs as true limits.
    Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        teacher_share: The share :math:`s` of the teacher in the mixture, between 0 and 1 without these.
        normalised: Whether to divide by :math:`s (1 - s)`, so that shares can be compared.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree; not normalised, at
        most the entropy of the shares, which is log 2 at a half, where it is symmetric too.

    References:
        Agarwal et al., `On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes
        <https://arxiv.org/abs/2306.13649>`_, 2024, section 2 (generalised).
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    log_m = _log_mixture(log_p, log_q, teacher_share)
    student_share = 1.0 - teacher_share
    value = teacher_share * kl_of_log_probs(log_p, log_m) + student_share * kl_of_log_probs(log_q, log_m)
    return value / (teacher_share * student_share) if normalised else value


def skew_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    skew: float = 0.1,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""KL divergence, from the teacher, of a student that has some of the teacher mixed in (DistiLLM).

    .. math:: KL(p \| \lambda p + (1 - \lambda) q), \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    With the teacher's entropy, which the authors' code leaves out, so that the value is a divergence. Not
    multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        skew: The teacher's share :math:`\lambda` in the mixture, from 0 (forward KL) to 1 (always 0).
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree, at most
        :math:`-\log \lambda` even where the teacher believes in a class that the student does not have.

    References:
        Ko, Kim, Chen & Yun, `DistiLLM: Towards Streamlined Distillation for Large Language Models
        <https://arxiv.org/abs/2402.03898>`_, 2024, section 3.1.
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    return kl_of_log_probs(log_p, _log_mixture(log_p, log_q, skew))


def skew_reverse_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    skew: float = 0.1,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""KL divergence, from the student, of a teacher that has some of the student mixed in (DistiLLM).

    .. math:: KL(q \| (1 - \lambda) p + \lambda q), \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    The gradient flows through the student's part of the mixture too. Not multiplied by :math:`T^2`; methods do
    that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        skew: The student's share :math:`\lambda` in the mixture, from 0 (reverse KL) to 1 (always 0).
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree, at most
        :math:`-\log \lambda` even where the student believes in a class that the teacher does not have.

    References:
        Ko, Kim, Chen & Yun, `DistiLLM: Towards Streamlined Distillation for Large Language Models
        <https://arxiv.org/abs/2402.03898>`_, 2024, section 3.1.
    """
    return skew_kl(teacher_logits, student_logits, skew=skew, temperature=temperature)


def _log_mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """log(share · p + (1 - share) · q): exact where both are equal, ``-inf`` where neither has the class."""
    if share in (0.0, 1.0):
        return log_p if share == 1.0 else log_q
    p_is_more = log_p > log_q
    more, less = torch.where(p_is_more, log_p, log_q), torch.where(p_is_more, log_q, log_p)
    share_of_less = torch.where(p_is_more, log_p.new_full((), 1.0 - share), log_p.new_full((), share))
    step = (less - more).masked_fill(more.isneginf(), 0.0)
    return more + torch.log1p(share_of_less * torch.expm1(step))
