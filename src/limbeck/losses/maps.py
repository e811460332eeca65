"""Distances between what two feature maps show over space: where they are strong, and how they look from afar."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.losses.geometry import directions
from limbeck.losses.widening import wide, widened

LEVELS: Final = (4, 2, 1)
"""Heights and widths to which :func:`hierarchical_context` pools, after the whole map."""


def attention_map(
    features: Float[Tensor, "batch channels height width"], *, power: float = 2.0
) -> Float[Tensor, "batch pixels"]:
    r"""How strong a feature map is at each pixel, as a vector of length one.

    .. math:: \frac{a}{\|a\|_2}, \quad a_p = \frac{1}{C} \sum_c |F_{cp}|^k

    Args:
        features: Feature maps. One of zeros has an attention map of zeros.
        power: The exponent :math:`k`, at least 1; larger looks at the strongest pixels only.

    Returns:
        The pixels, row by row: fp64 for fp64 features, else fp32.

    References:
        Zagoruyko & Komodakis, `Paying More Attention to Attention <https://arxiv.org/abs/1612.03928>`_, 2017,
        section 3.1.
    """
    strengths = wide(features).flatten(1).abs()
    strongest = strengths.detach().amax(
        -1, keepdim=True
    )  # of no effect but that no power leaves the number format
    strengths = strengths / strongest.masked_fill(strongest == 0, torch.inf)
    return directions(strengths.view(len(features), features.shape[1], -1).pow(power).mean(1))


def attention_transfer(
    student: Float[Tensor, "batch student_channels student_height student_width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> Float[Tensor, " batch"]:
    r"""Mean squared difference of the attention maps of the squared features (AT).

    .. math:: \frac{1}{HW} \left\| A^s - A^t \right\|_2^2, \quad A = \frac{a}{\|a\|_2}, \;
              a_p = \frac{1}{C} \sum_c F_{cp}^2

    Blind, on either side, to the scale and the sign of each sample and to an orthogonal mixing of the channels, so
    it needs no connector; the channels may differ. It falls with the number of pixels, which is why the usual
    weight is 1000.

    Args:
        student: Feature maps. Where the two sides differ in height or width, the larger is pooled to the smaller.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number per example, not negative; 0 where the two agree.

    References:
        Zagoruyko & Komodakis, `Paying More Attention to Attention <https://arxiv.org/abs/1612.03928>`_, 2017,
        section 3.1. The paper takes half the norm, not the mean square that its authors' code takes.
    """
    student, teacher = of_one_size(*widened(student, teacher))
    return (attention_map(student) - attention_map(teacher)).square().mean(-1)


def hierarchical_context(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, " batch"]:
    r"""Mean squared difference of the maps and of what pooling leaves of them (HCL, of ReviewKD).

    .. math:: \frac{1}{\sum_i 2^{-i}} \sum_{i=0}^{L} 2^{-i} \, \frac{1}{D_i} \left\| P_i(F^s - F^t) \right\|_2^2

    where :math:`P_0` leaves the map as it is and the others pool it to 4 x 4, 2 x 2 and 1 x 1. Sizes that are
    not below the map's height and width are left out, and the weights close up.

    Args:
        student: Feature maps, in the teacher's units.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number (squared units) per example, not negative; 0 where the two agree.

    References:
        Chen, Liu, Zhao & Jia, `Distilling Knowledge via Knowledge Review <https://arxiv.org/abs/2104.09044>`_, 2021,
        section 3; weights from the authors' code.
    """
    student, teacher = widened(student, teacher)
    errors = student - teacher
    sizes = [size for size in LEVELS if size < min(errors.shape[2:])]
    levels = [errors, *(functional.adaptive_avg_pool2d(errors, size) for size in sizes)]
    weights = [0.5**level for level in range(len(levels))]
    squares = [
        level.square().flatten(1).mean(-1) * share for level, share in zip(levels, weights, strict=True)
    ]
    return torch.stack(squares).sum(0) / sum(weights)


def of_one_size(
    student: Float[Tensor, "batch student_channels student_height student_width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> tuple[
    Float[Tensor, "batch student_channels height width"], Float[Tensor, "batch teacher_channels height width"]
]:
    """Both maps, average-pooled to the smaller height and the smaller width of the two."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return _pooled(student, size), _pooled(teacher, size)


def _pooled(features: Tensor, size: tuple[int, int]) -> Tensor:
    if features.shape[2:] == torch.Size(size):
        return features
    return functional.adaptive_avg_pool2d(features, size)
