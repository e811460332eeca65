"""Lengths, directions and angles of rows: exact at every scale, with finite gradients where a row is zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def products(
    left: Float[Tensor, "*batch rows width"], right: Float[Tensor, "*batch columns width"]
) -> Float[Tensor, "*batch rows columns"]:
    """Inner products of all rows of ``left`` with all rows of ``right``, in their own format even under autocast."""
    with torch.autocast(left.device.type, enabled=False):
        return torch.matmul(left, right.transpose(-2, -1))


def directions(rows: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Each row divided by its Euclidean length; a row of zeros stays one and gets a gradient of 0."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / lengths.masked_fill(lengths == 0, torch.inf)


def cosines(rows: Float[Tensor, "batch width"]) -> Float[Tensor, "batch batch"]:
    """Cosine of the angle between each two rows; 0 where either is a row of zeros, even with itself."""
    unit = directions(rows)
    return products(unit, unit)


def distances(rows: Float[Tensor, "batch width"]) -> Float[Tensor, "batch batch"]:
    """Euclidean distance between each two rows; equal rows are at 0 exactly, and do not pull at each other.

    The values come from differences, since inner products lose close rows that lie far from the origin. The
    gradient comes from inner products, so that neither pass needs memory for more than batch² numbers.
    """
    apart: Callable[[Tensor], Tensor] = _Distances.apply
    return apart(rows)


def selves(square: Float[Tensor, "*batch rows rows"]) -> Bool[Tensor, "rows rows"]:
    """Which entries of a matrix over pairs of rows stand for a row with itself."""
    return torch.eye(square.shape[-1], dtype=torch.bool, device=square.device)


def pair_count(rows: int) -> int:
    """Number of ordered pairs of two distinct rows."""
    return rows * (rows - 1)


class _Distances(torch.autograd.Function):
    """All pairwise distances, without the batch² · width numbers that torch keeps on an accelerator."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
        upper = rows.new_zeros(len(rows), len(rows))
        upper[first, second] = functional.pdist(rows)
        apart = upper + upper.T
        ctx.save_for_backward(rows, apart)
        return apart

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows: Tensor
        apart: Tensor
        rows, apart = ctx.saved_tensors
        pulls = (gradient + gradient.T) / apart.masked_fill(apart == 0, torch.inf)
        return pulls.sum(-1, keepdim=True) * rows - products(pulls, rows.T)
