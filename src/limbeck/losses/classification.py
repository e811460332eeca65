"""Distances between logits and labels."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from limbeck.losses.probability import log_probs
from limbeck.types import ABSENT


def cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"] | Float[Tensor, "batch classes"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Tensor, " batch"]:
    r"""Cross-entropy of the logits against hard or soft labels.

    .. math:: -\sum_c \left((1 - \epsilon)\, y_c + \epsilon / C\right) \log q_c, \quad q = softmax(z)

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that is not there.
        labels: Class numbers (int64), :data:`~limbeck.types.ABSENT` where there is none; or a distribution
            over the classes for each example.
        label_smoothing: The share of each label that is spread evenly over the classes that are there.

    Returns:
        One number (nats) per example, not negative; 0 for an example without a label.

    References:
        Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, `Rethinking the Inception Architecture for Computer Vision
        <https://arxiv.org/abs/1512.00567>`_, 2016, section 7 (label smoothing).
    """
    log_q = log_probs(logits)
    if labels.is_floating_point():
        values = _soft(log_q, labels)
        return values if label_smoothing == 0.0 else values.lerp(_uniform(log_q), label_smoothing)
    values = functional.nll_loss(log_q, labels, ignore_index=ABSENT, reduction="none")
    if label_smoothing == 0.0:
        return values
    return values.lerp(_uniform(log_q).masked_fill(labels == ABSENT, 0.0), label_smoothing)


def _soft(log_q: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy against distributions, where a share of 0 counts nothing even for an absent class."""
    return -(labels * log_q.masked_fill(labels == 0, 0.0)).sum(-1)


def _uniform(log_q: Tensor) -> Tensor:
    """Cross-entropy against the even distribution over the classes that are there."""
    absent = log_q.isneginf()
    return -log_q.masked_fill(absent, 0.0).sum(-1) / (~absent).sum(-1)
