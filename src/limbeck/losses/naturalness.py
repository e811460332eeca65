"""What made inputs lack beside real ones: the statistics that a teacher remembers, and smoothness."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def statistics_gap(
    features: Float[Tensor, "batch channels ..."],
    mean: Float[Tensor, " channels"],
    variance: Float[Tensor, " channels"],
) -> Float[Tensor, ""]:
    r"""How far a batch's statistics are from those that a BatchNorm layer remembers.

    .. math:: \|\hat\mu(F) - \mu\|_2 + \|\hat\sigma^2(F) - \sigma^2\|_2

    over the channels, with the mean and the variance of each over batch and places. The variance is the unbiased one,
    which is what BatchNorm keeps. Couples the batch.

    Args:
        features: What the layer is given; at least two values for each channel.
        mean: The layer's running mean.
        variance: Its running variance.

    Returns:
        One number, not negative; 0 for a batch with exactly these statistics.

    References:
        Yin et al., `Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion
        <https://arxiv.org/abs/1912.08795>`_, 2020, section 3.2.
    """
    variance_of_batch, mean_of_batch = torch.var_mean(features.transpose(0, 1).flatten(1), dim=1)
    return _length(mean_of_batch - mean) + _length(variance_of_batch - variance)


def roughness(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
    r"""Total variation of an image: how much neighbouring pixels differ.

    .. math:: mean_{i,j} |x_{i+1,j} - x_{i,j}| + mean_{i,j} |x_{i,j+1} - x_{i,j}|

    Means, so that a weight fits images of any size; the literature's sums over a whole batch need other weights.

    Args:
        images: At least two pixels high and wide.

    Returns:
        One number an image, not negative; 0 for an even one.

    References:
        Mahendran & Vedaldi, `Understanding Deep Image Representations by Inverting Them
        <https://arxiv.org/abs/1412.0035>`_, 2015, section 3.
    """
    down, right = (images.diff(dim=axis).abs().flatten(1).mean(1) for axis in (2, 3))
    return down + right


def _length(vector: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vector)
    return length
