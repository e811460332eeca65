"""Distances between the class distributions of two sets of logits."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.losses.probability import log_probs


def forward_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""KL divergence of the student from the teacher, at a temperature.

    .. math:: KL(p \| q) = \sum_c p_c (\log p_c - \log q_c),
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Mean-seeking. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree, infinite where
        the teacher believes in a class that the student does not have.

    References:
        Hinton, Vinyals & Dean, `Distilling the Knowledge in a Neural Network
        <https://arxiv.org/abs/1503.02531>`_, 2015, section 2.
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    return kl_of_log_probs(log_p, log_q)


def reverse_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""KL divergence of the teacher from the student, at a temperature.

    .. math:: KL(q \| p) = \sum_c q_c (\log q_c - \log p_c),
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Mode-seeking: the student may leave out what it cannot cover. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree, infinite where
        the student believes in a class that the teacher does not have.

    References:
        Gu, Dong, Wei & Huang, `MiniLLM: Knowledge Distillation of Large Language Models
        <https://arxiv.org/abs/2306.08543>`_, 2024, section 2.
    """
    return forward_kl(teacher_logits, student_logits, temperature=temperature)


def total_variation(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""Total variation distance: the mass that would have to move from one distribution to make the other.

    .. math:: \frac{1}{2} \sum_c |p_c - q_c|, \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    It falls as :math:`1 / T`, so the factor that undoes the temperature is :math:`T`, not :math:`T^2`; methods
    multiply. Its gradient knows only the sign of each difference and vanishes for a class on which both agree.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number from 0 (the two agree) to 1 per example, at most :math:`\sqrt{KL / 2}` for either KL.

    References:
        Wen, Li, Du & Mou, `f-Divergence Minimization for Sequence-Level Knowledge Distillation
        <https://arxiv.org/abs/2307.15190>`_, 2023 (total variation distillation).
    """
    p = log_probs(teacher_logits, temperature=temperature).exp()
    q = log_probs(student_logits, temperature=temperature).exp()
    return (p - q).abs().sum(-1) / 2


def alpha_beta(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    teacher_power: float,
    student_power: float,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""Alpha-beta divergence: powers of both distributions weigh which classes count (ABKD).

    .. math:: -\frac{1}{a b} \sum_c p_c^a q_c^b - \frac{a}{a + b} p_c^{a + b} - \frac{b}{a + b} q_c^{a + b},
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Where :math:`a`, :math:`b` or their sum is 0, the limit: forward KL at (1, 0), reverse KL at (0, 1), half the
    squared distance of the log-probabilities at (0, 0), and, with the factor :math:`1 / a^2`,
    :math:`\sum_c (r_c^a - 1 - a \log r_c) / a^2, \, r = p / q` at :math:`(a, -a)`. Not multiplied by
    :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        teacher_power: The exponent :math:`a`. Larger ones care more for the classes that the teacher believes in.
        student_power: The exponent :math:`b`, likewise for the student. With a negative power or two zeros, both
            sides must have the same classes, and a small probability makes the value large, up to infinity.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number per example, not negative but for rounding; 0 where the two agree.

    References:
        Wang et al., `ABKD: Pursuing a Proper Allocation of the Probability Mass in Knowledge Distillation via
        Alpha-Beta-Divergence <https://arxiv.org/abs/2505.04560>`_, 2025.

        Cichocki, Cruces & Amari, `Generalized Alpha-Beta Divergences and Their Application to Robust Nonnegative
        Matrix Factorization <https://doi.org/10.3390/e13010134>`_, 2011, section 2 (the limits).
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    absent = log_p.isneginf() & log_q.isneginf()
    log_p, log_q = log_p.masked_fill(absent, 0.0), log_q.masked_fill(absent, 0.0)
    if abs(teacher_power) < abs(student_power):  # the divergence of the swapped sides with swapped powers
        return _alpha_beta(log_q, log_p, student_power, teacher_power).sum(-1)
    return _alpha_beta(log_p, log_q, teacher_power, student_power).sum(-1)


def adaptive_kl(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    head_mass: float = 0.5,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""Forward KL as far as the two differ on the teacher's likely classes, reverse KL for the rest (AKL).

    .. math:: w \, KL(p \| q) + (1 - w) \, KL(q \| p), \quad
              w = \frac{\sum_{c \in H} |p_c - q_c|}{\sum_c |p_c - q_c|}

    where :math:`H`, the head, is the teacher's likeliest class and those after it as long as all of them together
    hold at most ``head_mass``. No gradient flows through :math:`w`, which jumps where a class enters the head.
    Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        head_mass: The teacher's probability, from 0 to 1, that the head may hold.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number (nats) per example, not negative but for rounding: 0 where the two agree, infinite where a side
        believes in a class that the other does not have, if that side's KL has any weight.

    References:
        Wu, Tao, Wang, Yang, Zhao & Wong, `Rethinking Kullback-Leibler Divergence in Knowledge Distillation for
        Large Language Models <https://arxiv.org/abs/2404.02657>`_, 2025 (adaptive KL).
    """
    log_p = log_probs(teacher_logits, temperature=temperature)
    log_q = log_probs(student_logits, temperature=temperature)
    forward, reverse = kl_of_log_probs(log_p, log_q), kl_of_log_probs(log_q, log_p)
    share = _share_of_head(log_p.detach().exp(), log_q.detach().exp(), head_mass)
    # 0 · inf = 0: a side may lack a class
    return share * forward.masked_fill(share == 0, 0.0) + (1 - share) * reverse.masked_fill(share == 1, 0.0)


def kl_of_log_probs(
    log_p: Float[Tensor, "*batch classes"], log_q: Float[Tensor, "*batch classes"]
) -> Float[Tensor, "*batch"]:
    """KL divergence of the second distribution from the first, given the logarithms of both."""
    absent = log_p.isneginf()  # 0 · log 0 = 0; without this, -inf - -inf is nan
    return (log_p.exp() * (log_p - log_q).masked_fill(absent, 0.0)).sum(-1)


def _share_of_head(p: Tensor, q: Tensor, mass: float) -> Tensor:
    """The part of the absolute differences that lies in the head of ``p``; 0 where there are none."""
    p, order = p.sort(dim=-1, descending=True, stable=True)
    gaps = (p - q.gather(-1, order)).abs()
    head = p.cumsum(-1) <= mass
    head[..., 0] = True
    return (gaps * head).sum(-1) / gaps.sum(-1).clamp(min=torch.finfo(gaps.dtype).tiny)


def _alpha_beta(log_p: Tensor, log_q: Tensor, power: float, other_power: float) -> Tensor:
    r"""Each class's part of the divergence, for a power of p that is not smaller than that of q.

    As a difference that needs no case for a vanishing power of q, or sum:
    :math:`\frac{1}{a} \left( \frac{q^{a + b} - p^{a + b}}{a + b} - \frac{p^a q^b - p^{a + b}}{b} \right)`.
    """
    step = log_q - log_p
    if power == 0.0:
        return step.square() / 2
    both = power + other_power
    start = both * log_p if both != 0.0 else torch.zeros_like(log_p)
    to_q = _growth(start, both * log_q, step, both)
    to_mixed = _growth(start, power * log_p + other_power * log_q, step, other_power)
    return (to_q - to_mixed) / power


def _growth(start: Tensor, end: Tensor, step: Tensor, power: float) -> Tensor:
    """(exp(end) - exp(start)) / power, for end = start + power · step, without overflow or cancellation."""
    if power == 0.0:
        return start.exp() * step.masked_fill(start.isneginf(), 0.0)
    rises = power * step > 0
    larger, sign = torch.where(rises, end, start), torch.where(rises, -1.0, 1.0)
    return larger.exp() * torch.expm1(power * step * sign) * sign / power
