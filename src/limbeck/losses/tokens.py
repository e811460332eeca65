"""Distances between what two transformers see between the tokens of a sequence: attention scores and relations."""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor

from limbeck.errors import MethodError
from limbeck.losses.divergence import forward_kl
from limbeck.losses.geometry import products, selves
from limbeck.losses.widening import widened


def attention_score_error(
    student_scores: Float[Tensor, "batch heads tokens tokens"],
    teacher_scores: Float[Tensor, "batch heads tokens tokens"],
    mask: Bool[Tensor, "batch tokens"] | None = None,
) -> Float[Tensor, " batch"]:
    r"""Mean squared difference of the attention scores before the softmax (TinyBERT).

    .. math:: \frac{1}{A \, |V|} \sum_{a} \sum_{(i, j) \in V} (S^s_{aij} - S^t_{aij})^2,
              \quad S = \frac{Q K^\top}{\sqrt d}

    where :math:`V` are the pairs of two valid tokens.

    Args:
        student_scores: Scores of each query (third axis) for each key (fourth axis), one head of the student's
            for each of the teacher's. A pair that is ``-inf`` on both sides, as under a causal mask, is not counted.
        teacher_scores: The same, from the teacher. Gradients flow into both.
        mask: True for tokens, False for padding, whose scores may be anything; all are tokens where not given.

    Returns:
        One number per sequence, not negative; 0 where the two agree or there is no token, infinite where only
        one side has ``-inf``.

    References:
        Jiao, Yin, Shang, Jiang, Chen, Li, Wang & Liu, `TinyBERT: Distilling BERT for Natural Language Understanding
        <https://arxiv.org/abs/1909.10351>`_, 2020, section 3.1. The authors' code sets padded scores to 0 and
        counts them.
    """
    student, teacher = widened(student_scores, teacher_scores)
    valid = ~(student.isneginf() & teacher.isneginf())
    if mask is not None:
        valid = valid & (mask[:, None, :, None] & mask[:, None, None, :])
    errors = (student.masked_fill(~valid, 0.0) - teacher.masked_fill(~valid, 0.0)).square()
    return errors.sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)


def relation_kl(
    student: Float[Tensor, "batch tokens student_width"],
    teacher: Float[Tensor, "batch tokens teacher_width"],
    *,
    relation_heads: int,
    mask: Bool[Tensor, "batch tokens"] | None = None,
) -> Float[Tensor, " batch"]:
    r"""KL divergence between the relations of the tokens in queries, keys or values alone (MiniLMv2).

    .. math:: \frac{1}{A \, |V|} \sum_a \sum_{i \in V} KL(R^t_{ai} \| R^s_{ai}), \quad
              R_a = softmax\left( \frac{X_a X_a^\top}{\sqrt{d}} \right)

    where :math:`V` are the valid tokens. Both widths are cut into as many relation heads, whatever the attention
    heads, so the widths may differ and no connector is needed. Blind to a rotation within each head.

    Args:
        student: The queries of all heads side by side; or the keys, or the values.
        teacher: The same, from the teacher. Gradients flow into both.
        relation_heads: Into how many equal heads each width is cut.
        mask: True for tokens, False for padding, which is neither seen nor compared; all are tokens where not given.

    Returns:
        One number (nats) per sequence, a mean over its heads and tokens, not negative but for rounding; 0 where
        the two agree or there is no token.

    Raises:
        MethodError: If a width is not a multiple of the number of relation heads.

    References:
        Wang, Bao, Huang, Dong & Wei, `MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing
        Pretrained Transformers <https://arxiv.org/abs/2012.15828>`_, 2021, section 3.1.
    """
    valid = mask if mask is not None else student.new_ones(student.shape[:2]).bool()
    ours, theirs = (
        _relations(_heads(side, relation_heads, owner), valid)
        for side, owner in zip(widened(student, teacher), ("student", "teacher"), strict=True)
    )
    rows = forward_kl(ours, theirs).mean(1)
    return rows.masked_fill(~valid, 0.0).sum(-1) / valid.sum(-1).clamp(min=1)


def _heads(tokens: Tensor, count: int, owner: str) -> Tensor:
    """Tokens ``[batch, tokens, width]`` as ``[batch, heads, tokens, width of a head]``."""
    width = tokens.shape[-1]
    if width % count:
        raise MethodError(
            f"The {owner}'s tokens are {width} wide, which cannot be cut into {count} relation heads, expected a "
            "multiple. Take a number of relation heads that divides both widths."
        )
    return tokens.view(*tokens.shape[:2], count, width // count).transpose(1, 2)


def _relations(heads: Tensor, valid: Tensor) -> Tensor:
    """Scores of each token for each valid one, ``-inf`` for padding, which sees only itself."""
    known = heads.masked_fill(~valid[:, None, :, None], 0.0)
    scores = products(known, known) / math.sqrt(heads.shape[-1])
    seen = valid[:, None, None, :] | selves(scores)
    return scores.masked_fill(~seen, -math.inf)
