"""Distances between scores of the items of a list: only their differences within a list matter."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from limbeck.losses.divergence import forward_kl
from limbeck.losses.widening import wide


def list_kl(
    student_scores: Float[Tensor, "queries items"],
    teacher_scores: Float[Tensor, "queries items"],
    *,
    valid: Bool[Tensor, "queries items"] | None = None,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, " queries"]:
    r"""KL divergence of the student from the teacher over which item of the list comes first.

    .. math:: KL(softmax(t / T) \| softmax(s / T))

    Not multiplied by :math:`T^2`; methods do that. The scales of both scores count: cosines of a student
    against logits of a cross-encoder need a learned factor first, or :func:`margin_squared_error`.

    Args:
        student_scores: Scores of each query's items, higher for better ones.
        teacher_scores: The same, from the teacher. Gradients flow into both.
        valid: False where a list is padded; what stands there does not matter.
        temperature: Divides both sets of scores; above 1 softens them. A tensor broadcasts to ``[queries, 1]``.

    Returns:
        One number (nats) per query, not negative but for rounding; 0 where the two agree and where a query has
        no item.

    References:
        Cao, Qin, Liu, Tsai & Li, `Learning to Rank: From Pairwise Approach to Listwise Approach
        <https://doi.org/10.1145/1273496.1273513>`_, 2007 (ListNet).
    """
    student, teacher = student_scores, teacher_scores
    if valid is not None:
        empty = ~valid.any(-1, keepdim=True)  # a softmax over nothing is nan
        student, teacher = (
            scores.masked_fill(~valid, -torch.inf).masked_fill(empty, 0.0) for scores in (student, teacher)
        )
    return forward_kl(student, teacher, temperature=temperature)


def margin_squared_error(
    student_positives: Float[Tensor, "*pairs"],
    student_negatives: Float[Tensor, "*pairs"],
    teacher_positives: Float[Tensor, "*pairs"],
    teacher_negatives: Float[Tensor, "*pairs"],
) -> Float[Tensor, "*pairs"]:
    r"""Squared difference between the student's and the teacher's margin of one item over another.

    .. math:: \left( (s^+ - s^-) - (t^+ - t^-) \right)^2

    Args:
        student_positives: Scores of the better item of each pair.
        student_negatives: Scores of the other item of the same query.
        teacher_positives: The same as the student's, from the teacher. Gradients flow into both sides.
        teacher_negatives: The same.

    Returns:
        One number (squared units of score) per pair, not negative; 0 where the margins agree.

    References:
        Hofstätter, Althammer, Schröder, Sertkan & Hanbury, `Improving Efficient Neural Ranking Models with
        Cross-Architecture Knowledge Distillation <https://arxiv.org/abs/2010.02666>`_, 2020, section 3.
    """
    student = wide(student_positives) - wide(student_negatives)
    teacher = wide(teacher_positives) - wide(teacher_negatives)
    return (student - teacher).square()


def pairwise_logistic(
    student_scores: Float[Tensor, "queries items"],
    teacher_scores: Float[Tensor, "queries items"],
    *,
    valid: Bool[Tensor, "queries items"] | None = None,
) -> Float[Tensor, " queries"]:
    r"""Mean negative log-likelihood of the teacher's order of every two items that it does not tie.

    .. math:: \frac{1}{|P|} \sum_{(i, j) \in P} \log(1 + e^{-(s_i - s_j)}),
              \quad P = \{(i, j) : t_i > t_j\}

    Needs memory for the square of the number of items. Only the teacher's order counts, not its margins.

    Args:
        student_scores: Scores of each query's items, higher for better ones.
        teacher_scores: The same, from the teacher, to whom no gradient flows.
        valid: False where a list is padded; what stands there does not matter.

    Returns:
        One number (nats per pair) per query, not negative; 0 for a query without such a pair.

    References:
        Burges et al., `Learning to Rank using Gradient Descent <https://doi.org/10.1145/1102351.1102363>`_,
        2005, section 3.
    """
    valid = torch.ones_like(student_scores, dtype=torch.bool) if valid is None else valid
    student, teacher = (wide(s).masked_fill(~valid, 0.0) for s in (student_scores, teacher_scores))
    ordered = valid[:, :, None] & valid[:, None, :] & (teacher[:, :, None] > teacher[:, None, :])
    values = -functional.logsigmoid(student[:, :, None] - student[:, None, :])
    return values.masked_fill(~ordered, 0.0).sum((-2, -1)) / ordered.sum((-2, -1)).clamp(min=1)


def plackett_luce(
    student_scores: Float[Tensor, "queries items"],
    teacher_scores: Float[Tensor, "queries items"],
    *,
    k: int,
    valid: Bool[Tensor, "queries items"] | None = None,
) -> Float[Tensor, " queries"]:
    r"""Negative log-likelihood of the teacher's order of its top k items, whatever the order of the rest.

    .. math:: -\sum_{r=1}^{k} \log \frac{e^{s_{\pi(r)}}}{\sum_{j \ge r} e^{s_{\pi(j)}}},
              \quad \pi \text{ sorts the items by } t, \text{ best first}

    The student draws items without replacement, each time in proportion to the exponentials of the scores
    that are left. Not zero at agreement: scores say how sure an order is. The earlier of two items that the
    teacher ties comes first.

    Args:
        student_scores: Scores of each query's items, higher for better ones.
        teacher_scores: The same, finite, from the teacher, to whom no gradient flows.
        k: How many items are ordered; all of a list that has fewer.
        valid: False where a list is padded; what stands there does not matter.

    Returns:
        One number (nats) per query, not negative; 0 for a query without items.

    References:
        Kang, Hwang, Kweon & Yu, `DE-RRD: A Knowledge Distillation Framework for Recommender System
        <https://arxiv.org/abs/2012.04357>`_, 2020 (relaxed ranking distillation).
    """
    valid = torch.ones_like(student_scores, dtype=torch.bool) if valid is None else valid
    order = wide(teacher_scores).masked_fill(~valid, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    scores = wide(student_scores).gather(-1, order)
    present = valid.gather(-1, order)
    ranks = torch.arange(scores.shape[-1], device=scores.device)
    left = present[:, None, :] & (ranks >= ranks[:k, None])  # [queries, k, items]
    counted = present[:, :k]  # padding comes last; where nothing is left, logsumexp has no gradient
    rest = scores[:, None, :].masked_fill(~left, -torch.inf).masked_fill(~counted[..., None], 0.0)
    return (rest.logsumexp(-1) - scores[:, :k]).masked_fill(~counted, 0.0).sum(-1)
