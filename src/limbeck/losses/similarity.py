"""Distances between the similarities that two models see among the samples of a batch.

Each side is compared with itself only, so the two widths may differ and no connector is needed. All of these
losses couple the batch.
"""

from __future__ import annotations

import math
from typing import Final

from jaxtyping import Float
from torch import Tensor

from limbeck.losses.geometry import cosines, directions, pair_count, products, selves
from limbeck.losses.widening import widened

FLOOR: Final = 1e-7
"""Added to each kernel value of :func:`probabilistic_transfer`, so that opposite rows keep a logarithm."""


def similarity_preserving(
    student: Float[Tensor, " batch *student_axes"], teacher: Float[Tensor, " batch *teacher_axes"]
) -> Float[Tensor, ""]:
    r"""Squared difference of the row-normalised Gram matrices of two activations (SP).

    .. math:: \frac{1}{B^2} \| \hat G^s - \hat G^t \|_F^2, \quad G = F F^\top, \;
              \hat G_{i \cdot} = G_{i \cdot} / \| G_{i \cdot} \|_2

    Blind to the scale and a rotation of either side, but not to a translation. Couples the batch.

    Args:
        student: Activations; all axes but the first are flattened. A sample of zeros has similarities of 0.
        teacher: The same, from the teacher, of any shape. Gradients flow into both.

    Returns:
        The mean over all batch² pairs, a sample with itself among them; 0 for a batch of one.

    References:
        Tung & Mori, `Similarity-Preserving Knowledge Distillation <https://arxiv.org/abs/1907.09682>`_, 2019,
        section 3.
    """
    student, teacher = widened(student.flatten(1), teacher.flatten(1))
    if len(student) < 2:
        return _nothing(student, teacher)
    sides = (directions(products(rows, rows)) for rows in (student, teacher))
    return _mean_square(*sides)


def probabilistic_transfer(
    student: Float[Tensor, "batch student_width"], teacher: Float[Tensor, "batch teacher_width"]
) -> Float[Tensor, " batch"]:
    r"""KL divergence between the neighbourhoods of each sample, as distributions over the batch (PKT).

    .. math:: \sum_j p_{ij} (\log p_{ij} - \log q_{ij}), \quad
              p_{ij} = \frac{K^t_{ij}}{\sum_k K^t_{ik}}, \;
              q_{ij} = \frac{K^s_{ij}}{\sum_k K^s_{ik}}, \;
              K_{ij} = \frac{1 + \cos(x_i, x_j)}{2} + 10^{-7}

    Blind to a rotation of either side and to the scale of each row. Couples the batch: each row is compared
    with all others.

    Args:
        student: Embeddings. The cosine with a row of zeros is 0.
        teacher: The same, from the teacher, of any width. Gradients flow into both.

    Returns:
        One number (nats) per row, not negative but for rounding. A row is its own neighbour too, as in the
        authors' code; that code, however, returns the mean over all batch² entries, which is smaller by a
        factor of the batch, and its published weight of 30000 belongs to that mean.

    References:
        Passalis & Tefas, `Learning Deep Representations with Probabilistic Knowledge Transfer
        <https://arxiv.org/abs/1803.10837>`_, 2018, section 3.
    """
    student, teacher = widened(student, teacher)
    log_q, log_p = _log_neighbours(student), _log_neighbours(teacher)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def correlation_congruence(
    student: Float[Tensor, "batch student_width"],
    teacher: Float[Tensor, "batch teacher_width"],
    *,
    gamma: float = 0.4,
) -> Float[Tensor, ""]:
    r"""Squared difference of the Gaussian kernels between samples, expanded to the second order (CC).

    .. math:: \frac{1}{B^2} \sum_{ij} (K^s_{ij} - K^t_{ij})^2, \quad
              K_{ij} = e^{-2 \gamma} \sum_{p=0}^{2} \frac{(2 \gamma)^p}{p!} \cos(x_i, x_j)^p
              \approx e^{-\gamma \| \hat x_i - \hat x_j \|^2}

    Blind to a rotation of either side and to the scale of each row. Couples the batch. This is the paper's loss;
    the one of this name in a widely copied collection, the product of neighbouring rows' differences, is another,
    and so is its weight.

    Args:
        student: Embeddings. The cosine with a row of zeros is 0.
        teacher: The same, from the teacher, of any width. Gradients flow into both.
        gamma: Inverse squared width of the kernel; larger looks at closer neighbours.

    Returns:
        The mean over all batch² pairs, a sample with itself among them; 0 for a batch of one.

    References:
        Peng, Jin, Liu, Zhou, Wu, Liu, Li & Zhang, `Correlation Congruence for Knowledge Distillation
        <https://arxiv.org/abs/1904.01802>`_, 2019, section 3.
    """
    student, teacher = widened(student, teacher)
    if len(student) < 2:
        return _nothing(student, teacher)
    return _mean_square(_gaussian(student, gamma), _gaussian(teacher, gamma))


def similarity_matrix_error(
    student: Float[Tensor, "batch student_width"], teacher: Float[Tensor, "batch teacher_width"]
) -> Float[Tensor, ""]:
    r"""Squared difference of the cosine similarities between samples.

    .. math:: \frac{1}{B (B - 1)} \sum_{i \ne j} \left(\cos(s_i, s_j) - \cos(t_i, t_j)\right)^2

    For embedding models: it compares the scores that a search would see. Blind to a rotation of either side and
    to the scale of each row. Couples the batch.

    Args:
        student: Embeddings. The cosine with a row of zeros is 0.
        teacher: The same, from the teacher, of any width. Gradients flow into both.

    Returns:
        The mean over the batch · (batch - 1) ordered pairs of distinct rows; 0 for a batch of one.
    """
    student, teacher = widened(student, teacher)
    errors = (cosines(student) - cosines(teacher)).square()
    return errors.masked_fill(selves(errors), 0.0).sum() / max(pair_count(len(student)), 1)


def _log_neighbours(rows: Tensor) -> Tensor:
    """Logarithm of each row's kernel values, divided by their sum."""
    kernel = (1.0 + cosines(rows)).clamp_min(0.0) / 2 + FLOOR
    return kernel.log() - kernel.sum(-1, keepdim=True).log()


def _gaussian(rows: Tensor, gamma: float) -> Tensor:
    """Second-order expansion of the Gaussian kernel between the directions of the rows."""
    exponent = 2 * gamma * cosines(rows)
    return math.exp(-2 * gamma) * (1 + exponent + exponent.square() / 2)


def _mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean()


def _nothing(student: Tensor, teacher: Tensor) -> Tensor:
    """0, with gradients of 0: what a loss over pairs is worth where there is no pair."""
    return student[:0].sum() + teacher[:0].sum()
