"""Telling a sample's teacher embedding from those of other samples."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.losses.geometry import directions, products
from limbeck.losses.widening import widened


def in_batch_contrastive(
    student: Float[Tensor, "batch width"],
    teacher: Float[Tensor, "batch width"],
    *,
    temperature: float = 0.07,
) -> Float[Tensor, " batch"]:
    r"""InfoNCE: picking the teacher's embedding of the same sample out of those of the batch.

    .. math:: -\log \frac{\exp(\cos(s_i, t_i) / T)}{\sum_j \exp(\cos(s_i, t_j) / T)}

    Couples the batch: all other rows of the teacher are a row's negatives, so the values grow with the batch.
    Not 0 where the two agree. For both directions, add the same with the two swapped.

    Args:
        student: Embeddings, as wide as the teacher's. The cosine with a row of zeros is 0.
        teacher: The same, from the teacher. Gradients flow into both.
        temperature: Divides the cosines; smaller looks at the closest negatives only.

    Returns:
        One number (nats) per row, not negative; log(batch) where all embeddings are equal, 0 for a batch of one.

    References:
        van den Oord, Li & Vinyals, `Representation Learning with Contrastive Predictive Coding
        <https://arxiv.org/abs/1807.03748>`_, 2018, section 2.3.
        Tian, Krishnan & Isola, `Contrastive Representation Distillation <https://arxiv.org/abs/1910.10699>`_,
        2020, section 3.1.
    """
    student, teacher = widened(student, teacher)
    scores = products(directions(student), directions(teacher)) / temperature
    return -torch.log_softmax(scores, -1).diagonal()


def bank_contrastive(
    positive_scores: Float[Tensor, " batch"],
    negative_scores: Float[Tensor, "batch negatives"],
    *,
    bank_examples: int,
    log_partition: float | Float[Tensor, ""],
    temperature: float = 0.07,
) -> Float[Tensor, " batch"]:
    r"""Noise-contrastive estimation: telling the positive from negatives that were drawn from a memory bank.

    .. math:: -\log h(e^+) - \sum_{k=1}^{K} \log (1 - h(e^-_k)), \quad
              h(e) = \frac{e}{e + K / n}, \; e = \frac{\exp(score / T)}{Z}

    Computed from :math:`\log h(e) = \log \sigma(score / T - \log Z - \log (K / n))`, which neither overflows nor
    rounds to 0.

    Args:
        positive_scores: Cosine of each row with its own entry of the other side's bank.
        negative_scores: Cosines with the :math:`K` entries drawn for it.
        bank_examples: How many entries :math:`n` the bank has: the samples in the training set.
        log_partition: Logarithm of :math:`Z`, a constant. The paper's authors set :math:`Z` once, to :math:`n`
            times the mean of :math:`\exp(score / T)` over the first batch, and keep it with the weights.
        temperature: Divides the scores.

    Returns:
        One number (nats) per row, a sum over its 1 + :math:`K` decisions; not negative. 0 without negatives.

    References:
        Tian, Krishnan & Isola, `Contrastive Representation Distillation <https://arxiv.org/abs/1910.10699>`_,
        2020, section 3.1.
        Gutmann & Hyvärinen, `Noise-Contrastive Estimation
        <https://proceedings.mlr.press/v9/gutmann10a.html>`_, 2010, section 2.
    """
    positive_scores, negative_scores = widened(positive_scores, negative_scores)
    negatives = negative_scores.shape[1]
    log_noise = math.log(negatives / bank_examples) if negatives else -math.inf
    positive, negative = (
        scores / temperature - log_partition - log_noise for scores in (positive_scores, negative_scores)
    )
    return -functional.logsigmoid(positive) - functional.logsigmoid(-negative).sum(-1)
