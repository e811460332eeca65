"""Distances between the shapes of two clouds of embeddings: pairwise distances and angles.

Each side is compared with itself only, so the two widths may differ and no connector is needed. These losses
couple the batch: each returns one number.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from limbeck.losses.geometry import distances, pair_count, selves
from limbeck.losses.widening import widened


def distance_relation(
    student: Float[Tensor, "batch student_width"], teacher: Float[Tensor, "batch teacher_width"]
) -> Float[Tensor, ""]:
    r"""Difference of the pairwise distances, each side's divided by their mean (RKD-D).

    .. math:: \frac{1}{B (B - 1)} \sum_{i \ne j} h\!\left(\frac{d^s_{ij}}{\mu^s} - \frac{d^t_{ij}}{\mu^t}\right),
              \quad d_{ij} = \|x_i - x_j\|_2, \;
              \mu = \frac{1}{B (B - 1)} \sum_{i \ne j} d_{ij}

    where :math:`h` is the smooth L1 (:math:`a^2 / 2` up to 1, :math:`|a| - 1/2` beyond). Blind to the scale, a
    rotation and a translation of either side. Couples the batch.

    Args:
        student: Embeddings. Rows that are all equal have distances of 0 to one another after the division too.
        teacher: The same, from the teacher, of any width. Gradients flow into both.

    Returns:
        The mean over the batch · (batch - 1) ordered pairs of distinct rows; 0 for a batch of one. The authors'
        code divides by batch² and takes the mean distance over the pairs that are apart.

    References:
        Park, Kim, Lu & Cho, `Relational Knowledge Distillation <https://arxiv.org/abs/1904.05068>`_, 2019,
        section 3.2.1.
    """
    student, teacher = widened(student, teacher)
    sides = _relative_distances(student), _relative_distances(teacher)
    return functional.smooth_l1_loss(*sides, reduction="sum") / max(pair_count(len(student)), 1)


def angle_relation(
    student: Float[Tensor, "batch student_width"],
    teacher: Float[Tensor, "batch teacher_width"],
    *,
    chunk: int = 16,
) -> Float[Tensor, ""]:
    r"""Difference of the angles in all triangles of rows (RKD-A).

    .. math:: \frac{1}{B (B - 1) (B - 2)} \sum_{i \ne j \ne k \ne i} h\!\left(\cos^s_{ijk} - \cos^t_{ijk}\right),
              \quad \cos_{ijk} = \left\langle \frac{x_i - x_j}{\|x_i - x_j\|},
              \frac{x_k - x_j}{\|x_k - x_j\|} \right\rangle

    where :math:`h` is the smooth L1. Computed from the three distances, by the law of cosines, so that the width
    costs nothing. The cosine is 0 where two of the three rows are equal, or closer than rounding when seen from the
    mean distance. Blind to the scale, a rotation and a translation of either side. Couples the batch.

    Args:
        student: Embeddings.
        teacher: The same, from the teacher, of any width. Gradients flow into both.
        chunk: How many vertices :math:`j` are worked on at a time. Both passes need memory for a few times
            chunk · batch² numbers; the backward pass computes each chunk once more.

    Returns:
        The mean over the ordered triples of distinct rows; 0 for fewer than three rows. The authors' code
        divides by batch³.

    References:
        Park, Kim, Lu & Cho, `Relational Knowledge Distillation <https://arxiv.org/abs/1904.05068>`_, 2019,
        section 3.2.2.
    """
    student, teacher = widened(student, teacher)
    rows = len(student)
    sides = _relative_distances(student), _relative_distances(teacher)
    parts = [
        checkpoint(
            _angle_gaps, *sides, slice(start, start + chunk), use_reentrant=False, preserve_rng_state=False
        )
        for start in range(0, rows, chunk)
    ]
    return torch.stack(parts).sum() / max(pair_count(rows) * (rows - 2), 1)


def _relative_distances(rows: Tensor) -> Tensor:
    """Pairwise distances over their mean; all 0 where the rows are equal."""
    apart = distances(rows)
    mean = apart.sum() / max(pair_count(len(rows)), 1)
    return apart / mean.masked_fill(mean == 0, torch.inf)


def _angle_gaps(student: Tensor, teacher: Tensor, vertices: slice) -> Tensor:
    """Summed smooth L1 between the angles at some of the vertices, from relative distances."""
    sides = _angles(student, vertices), _angles(teacher, vertices)
    return functional.smooth_l1_loss(*sides, reduction="sum")


def _angles(apart: Tensor, vertices: slice) -> Tensor:
    """Cosines at each vertex between the directions to each two rows; 0 between a direction and itself."""
    apart = apart.masked_fill(apart < torch.finfo(apart.dtype).eps, 0.0)
    legs = apart[vertices]
    inverse = 1.0 / legs.masked_fill(legs == 0, torch.inf)
    squares = legs.square()
    doubled = squares.unsqueeze(2) + squares.unsqueeze(1) - apart.square()
    angles = doubled * (inverse / 2).unsqueeze(2) * inverse.unsqueeze(1)
    return angles.masked_fill(selves(angles), 0.0)
