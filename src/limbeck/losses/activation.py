"""Distances to the teacher's activations that know, channel by channel, what matters in them.

Features are maps ``[batch, channels, height, width]``, tokens ``[batch, tokens, width]`` or vectors
``[batch, width]``, and a constant stands for each channel (the width of the last two).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.losses.hint import width_last
from limbeck.losses.widening import widened


def partial_error(
    student: Float[Tensor, " batch *axes"],
    teacher: Float[Tensor, " batch *axes"],
    margin: Float[Tensor, " channels"],
) -> Float[Tensor, " batch"]:
    r"""Squared difference before a ReLU, where the student's negative numbers need only be low enough (OFD).

    .. math:: \frac{1}{D} \sum_d \begin{cases} 0 & s_d \le t'_d \le 0 \\ (s_d - t'_d)^2 & \text{else} \end{cases},
              \quad t'_d = \max(t_d, m_c)

    Args:
        student: Features, in the teacher's units.
        teacher: Features before the teacher's ReLU. Gradients flow into both.
        margin: The negative number :math:`m_c` of each channel below which the ReLU's input is as good as
            any other; :func:`relu_margin` of the teacher's batch normalisation.

    Returns:
        One number (squared units) per example, not negative; 0 where the two agree above the margins. The
        authors' code takes the sum over the elements, to which its weight of 0.001 belongs.

    References:
        Heo, Kim, Yun, Park, Kwak & Choi, `A Comprehensive Overhaul of Feature Distillation
        <https://arxiv.org/abs/1904.01866>`_, 2019, section 3.
    """
    student, teacher = widened(width_last(student), width_last(teacher))
    target = torch.maximum(teacher, margin.to(teacher))
    enough = (student <= target) & (target <= 0)
    return (student - target).masked_fill(enough, 0.0).square().flatten(1).mean(-1)


def relu_margin(
    mean: Float[Tensor, " channels"], scale: Float[Tensor, " channels"]
) -> Float[Tensor, " channels"]:
    r"""The expectation of a normal variable where it is negative.

    .. math:: E[x \mid x < 0] = \mu - \sigma \frac{\varphi(\mu / \sigma)}{\Phi(-\mu / \sigma)},
              \quad x \sim N(\mu, \sigma^2)

    For the input of a ReLU that follows a batch normalisation: its shift is the mean of each channel, its scale
    the standard deviation. Correct also where the variable is hardly ever negative, for which the authors' code
    takes :math:`-3 \sigma`.

    Args:
        mean: The shift of each channel.
        scale: The scale of each channel; only its size counts. Where it is 0, the margin is the mean if that is
            negative, and 0 otherwise.

    Returns:
        One number per channel, not positive, without a gradient.

    References:
        Heo, Kim, Yun, Park, Kwak & Choi, `A Comprehensive Overhaul of Feature Distillation
        <https://arxiv.org/abs/1904.01866>`_, 2019, section 3.
    """
    shift, spread = mean.detach().double(), scale.detach().double().abs()
    apart = shift / spread.masked_fill(spread == 0, 1.0)
    tail = torch.special.erfcx(apart / math.sqrt(2))  # Φ(-x) / φ(x), up to a factor, where both underflow
    drop = math.sqrt(2 / math.pi) * spread / tail
    margin = torch.where(spread > 0, shift - drop, shift).clamp(max=0.0)
    return margin.to(widened(mean, scale)[0])


def gaussian_nll(
    student: Float[Tensor, " batch *axes"],
    teacher: Float[Tensor, " batch *axes"],
    variance: Float[Tensor, " channels"],
) -> Float[Tensor, " batch"]:
    r"""Negative log-likelihood of the teacher's features where the student predicts their means (VID).

    .. math:: \frac{1}{2D} \sum_d \left( \frac{(s_d - t_d)^2}{\sigma_c^2} + \log \sigma_c^2 \right)

    Without the constant :math:`\log(2 \pi) / 2`. Least where the two agree, and negative there if the variances
    are below 1; over the variance, least at the mean squared difference of its channel.

    Args:
        student: Predicted means, in the teacher's units.
        teacher: Features, from the teacher.
        variance: The variance of each channel (squared units), above 0. Gradients flow into all three.

    Returns:
        One number (nats per element) per example, of any sign.

    References:
        Ahn, Hu, Damianou, Lawrence & Dai, `Variational Information Distillation for Knowledge Transfer
        <https://arxiv.org/abs/1904.05835>`_, 2019, section 2.
    """
    student, teacher = widened(width_last(student), width_last(teacher))
    variance = variance.to(student)
    return ((student - teacher).square() / variance + variance.log()).flatten(1).mean(-1) / 2
