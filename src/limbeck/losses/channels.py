"""Distances between the channels of two feature maps, each channel seen as a pattern over pixels.

Scale and offset of a channel, which differ between networks without meaning, count little or nothing here.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.losses.geometry import directions, products
from limbeck.losses.maps import of_one_size
from limbeck.losses.widening import widened


def channel_kl(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, " batch"]:
    r"""KL divergence of the student from the teacher over the pixels of each channel (CWD).

    .. math:: \frac{1}{C} \sum_c KL(softmax_p(F^t_{cp} / T) \| softmax_p(F^s_{cp} / T))

    Blind to a constant added to a channel. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student: Feature maps, or the score maps of a segmentation or detection head.
        teacher: The same, from the teacher. Gradients flow into both.
        temperature: Divides both; above 1 spreads each channel over more of its pixels.

    Returns:
        One number (nats) per example, a mean over its channels, not negative but for rounding; 0 where the two
        agree.

    References:
        Shu, Liu, Gao, Yan & Shen, `Channel-wise Knowledge Distillation for Dense Prediction
        <https://arxiv.org/abs/2011.13256>`_, 2021, section 3.2.
    """
    return forward_kl(student.flatten(2), teacher.flatten(2), temperature=temperature).mean(-1)


def selectivity_mmd(
    student: Float[Tensor, "batch student_channels student_height student_width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> Float[Tensor, " batch"]:
    r"""Squared maximum mean discrepancy between the channels of the two sides, as sets of patterns (NST).

    .. math:: \frac{1}{C_s^2} \sum_{ij} k(s_i, s_j) + \frac{1}{C_t^2} \sum_{ij} k(t_i, t_j)
              - \frac{2}{C_s C_t} \sum_{ij} k(s_i, t_j), \quad k(x, y) = \left\langle \hat x, \hat y \right\rangle^2

    Blind, on either side, to the order of the channels and to the scale and sign of each, so it needs no
    connector; the channels may differ in number. Takes :math:`O(C^2 H W)` steps and memory for :math:`C^2` numbers.

    Args:
        student: Feature maps. Where the two sides differ in height or width, the larger is pooled to the smaller.
            A channel of zeros has no pattern; it counts as one that resembles none.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number per example, not negative but for rounding; 0 where the two have the same patterns equally often.

    References:
        Huang & Wang, `Like What You Like: Knowledge Distill via Neuron Selectivity Transfer
        <https://arxiv.org/abs/1707.01219>`_, 2017, section 4 (polynomial kernel).
    """
    student, teacher = of_one_size(*widened(student, teacher))
    ours, theirs = directions(student.flatten(2)), directions(teacher.flatten(2))
    return _resemblance(ours, ours) + _resemblance(theirs, theirs) - 2 * _resemblance(ours, theirs)


def channel_correlation_distance(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, " channels"]:
    r"""One minus Pearson's correlation of each channel, over all pixels of the batch (PKD).

    .. math:: 1 - \rho_c = \frac{1}{2BHW} \sum_{bp} \left(
              \frac{F^s_{bcp} - \mu^s_c}{\sigma^s_c} - \frac{F^t_{bcp} - \mu^t_c}{\sigma^t_c} \right)^2

    Blind to the scale and the offset of each channel on either side. Couples the batch: the values belong to its
    channels and not to its examples.

    Args:
        student: Feature maps. A constant channel correlates with nothing: it is at 0 from another one and at 1/2
            from all others, without a gradient.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number per channel, from 0 to 2; 0 where the two agree up to scale and offset.

    References:
        Cao, Zhang, Yang, Wang & Zhang, `PKD: General Distillation Framework for Object Detectors via Pearson
        Correlation Coefficient <https://arxiv.org/abs/2207.02039>`_, 2022, section 3.
    """
    ours, theirs = (directions(_centred(side)) for side in widened(student, teacher))
    return (ours - theirs).square().sum(-1) / 2


def _resemblance(left: Tensor, right: Tensor) -> Tensor:
    """Mean squared inner product between the channels of two sides."""
    return products(left, right).square().mean((1, 2))


def _centred(features: Tensor) -> Tensor:
    """The pixels ``[channels, batch · pixels]`` of each channel without their mean; exactly 0 for a constant one."""
    rows = features.transpose(0, 1).flatten(1)
    rows = rows - rows[:, :1].detach()  # leaves the answer as it is and rounds nothing of a constant
    return rows - rows.mean(-1, keepdim=True)
