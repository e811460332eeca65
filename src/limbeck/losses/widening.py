"""Halves made wider before anything is computed from them: one place that says how wide."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def wide(numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same numbers in fp32, or in fp64 if they were."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))


def widened(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one number format: fp64 where either is, else fp32."""
    dtype = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    return left.to(dtype), right.to(dtype)
