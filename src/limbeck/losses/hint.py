"""Distances between features that have been brought to one shape, element by element or direction by direction.

Features are maps ``[batch, channels, height, width]``, tokens ``[batch, tokens, width]`` or vectors
``[batch, width]``; the student's have been projected to the teacher's shape. Values are means over the elements, so
that they do not grow with a layer's size; a published weight that belongs to a sum is that many times smaller.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from limbeck.losses.geometry import directions
from limbeck.losses.regression import huber, squared_error
from limbeck.losses.widening import widened


def squared_hint(
    student: Float[Tensor, " batch *axes"], teacher: Float[Tensor, " batch *axes"]
) -> Float[Tensor, " batch"]:
    r"""Mean squared difference of the features (FitNets).

    .. math:: \frac{1}{D} \sum_d (s_d - t_d)^2

    Args:
        student: Features of any shape, in the teacher's units.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number (squared units) per example, not negative; 0 where the two agree.

    References:
        Romero, Ballas, Kahou, Chassang, Gatta & Bengio, `FitNets: Hints for Thin Deep Nets
        <https://arxiv.org/abs/1412.6550>`_, 2015, section 2.2.
    """
    return squared_error(student.flatten(1), teacher.flatten(1))


def smooth_hint(
    student: Float[Tensor, " batch *axes"], teacher: Float[Tensor, " batch *axes"]
) -> Float[Tensor, " batch"]:
    r"""Mean smooth L1 distance of the features: half the square up to 1, linear beyond.

    .. math:: \frac{1}{D} \sum_d h(s_d - t_d), \quad
              h(e) = \begin{cases} e^2 / 2 & |e| \le 1 \\ |e| - 1 / 2 & |e| > 1 \end{cases}

    For normalised teacher features: a few outlying channels cannot outweigh the others.

    Args:
        student: Features of any shape, in the teacher's units.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number per example, not negative; 0 where the two agree.

    References:
        Girshick, `Fast R-CNN <https://arxiv.org/abs/1504.08083>`_, 2015, section 2.3.
        Miles, Elezi & Deng, `VkD: Improving Knowledge Distillation using Orthogonal Projections
        <https://arxiv.org/abs/2403.06213>`_, 2024.
    """
    return huber(student.flatten(1), teacher.flatten(1))


def cosine_hint(
    student: Float[Tensor, " batch *axes"], teacher: Float[Tensor, " batch *axes"]
) -> Float[Tensor, " batch"]:
    r"""One minus the cosine between the features of each pixel or token.

    .. math:: \frac{1}{N} \sum_n \left(1 - \cos(s_n, t_n)\right)
              = \frac{1}{2N} \sum_n \left\| \hat s_n - \hat t_n \right\|^2

    Computed in the second form, which keeps small angles. Blind to the length of each vector on either side.

    Args:
        student: Maps, tokens or vectors; an angle is that along the channels or the width. A vector of zeros has
            no direction: it is at 0 from another one and at 1/2 from all others, without a gradient.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        The mean over the pixels or tokens, from 0 to 2, for each example; 0 where the directions agree.

    References:
        Sanh, Debut, Chaumond & Wolf, `DistilBERT, a distilled version of BERT <https://arxiv.org/abs/1910.01108>`_,
        2019, section 3.
    """
    errors = normalised_hidden_error(width_last(student), width_last(teacher))
    return errors.unsqueeze(1).flatten(1).mean(-1) / 2


def normalised_hidden_error(
    student: Float[Tensor, "*batch width"], teacher: Float[Tensor, "*batch width"]
) -> Float[Tensor, "*batch"]:
    r"""Squared distance between hidden vectors of length one (patient distillation).

    .. math:: \left\| \frac{s}{\|s\|_2} - \frac{t}{\|t\|_2} \right\|_2^2 = 2 - 2 \cos(s, t)

    Args:
        student: Hidden vectors: the first token's in the paper. A vector of zeros stays one.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number per vector, from 0 to 4; 0 where the directions agree.

    References:
        Sun, Cheng, Gan & Liu, `Patient Knowledge Distillation for BERT Model Compression
        <https://arxiv.org/abs/1908.09355>`_, 2019, section 3.2.
    """
    student, teacher = widened(student, teacher)
    return (directions(student) - directions(teacher)).square().sum(-1)


def width_last(features: Float[Tensor, " batch *axes"]) -> Float[Tensor, " batch *moved"]:
    """Features whose last axis is the one that a vector lies along: the channels of maps, else the width."""
    return features.movedim(1, -1) if features.ndim == 4 else features
