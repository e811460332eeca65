"""Distances between answers to a sequence, where a blank stands between the tokens (CTC).

For one distribution per target token (word-level distillation), :func:`~limbeck.losses.forward_kl` over
``[batch, tokens, classes]`` is all that is needed.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from limbeck.losses.divergence import forward_kl
from limbeck.losses.probability import log_probs
from limbeck.types import ABSENT


def frame_kl(
    student_logits: Float[Tensor, "batch frames tokens"],
    teacher_logits: Float[Tensor, "batch frames tokens"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "batch frames"]:
    r"""KL divergence of the student from the teacher in every frame.

    .. math:: KL(softmax(z^t_f / T) \| softmax(z^s_f / T))

    Both sides need the same frames: align them first where one network subsamples more. Which frames count
    is said by :func:`frame_weights`. Not multiplied by :math:`T^2`; methods do that.

    Args:
        student_logits: Unnormalised scores of all tokens and the blank in each frame.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[batch, frames, 1]``.

    Returns:
        One number (nats) per frame, not negative but for rounding; 0 where the two agree.

    References:
        Hilmes, Rossenbach & Schlüter, `Analyzing the Importance of Blank for CTC-Based Knowledge Distillation
        <https://arxiv.org/abs/2506.01503>`_, 2025.
    """
    return forward_kl(student_logits, teacher_logits, temperature=temperature)


def frame_weights(
    teacher_logits: Float[Tensor, "batch frames tokens"],
    *,
    blank: int = 0,
    select: Literal["all", "non-blank", "symmetric"] = "symmetric",
    neighbourhood: int = 1,
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch frames"]:
    """1 for every frame that is compared, 0 for the others.

    ``"all"`` takes the frames of the utterance, ``"non-blank"`` those in which the teacher's likeliest token is
    not the blank, ``"symmetric"`` also the frames up to ``neighbourhood`` before and after each of these: a
    student that never sees a blank does not learn when to be silent.

    Args:
        teacher_logits: Unnormalised scores, from the teacher.
        blank: The number of the blank.
        select: Which frames count.
        neighbourhood: The reach of ``"symmetric"``, in frames to each side.
        lengths: How many frames each utterance has; all where not given. Padding neither counts nor selects.

    Returns:
        One fp32 number per frame.

    References:
        Hilmes, Rossenbach & Schlüter, `Analyzing the Importance of Blank for CTC-Based Knowledge Distillation
        <https://arxiv.org/abs/2506.01503>`_, 2025.
    """
    inside = _inside(teacher_logits, lengths)
    if select == "all":
        return inside.float()
    chosen = (inside & (teacher_logits.argmax(-1) != blank)).float()
    if select == "non-blank":
        return chosen
    window = functional.max_pool1d(chosen, 2 * neighbourhood + 1, stride=1, padding=neighbourhood)
    return window * inside


def ctc(
    logits: Float[Tensor, "batch frames tokens"],
    tokens: Int[Tensor, "batch length"],
    *,
    blank: int = 0,
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    r"""Negative log-likelihood of token sequences, over all alignments with the frames.

    .. math:: -\log \sum_{\pi : B(\pi) = y} \prod_f q_{f, \pi_f}, \quad q = softmax(z)

    :math:`B` merges repeated tokens and then drops the blanks. Not divided by the number of tokens.

    Args:
        logits: Unnormalised scores of all tokens and the blank in each frame.
        tokens: Without blanks; ``ABSENT`` where there is none. A row without any is an utterance of silence.
        blank: The number of the blank.
        lengths: How many frames each utterance has; all where not given.

    Returns:
        One number (nats) per utterance, not negative; infinite, without a gradient to use, where there are fewer
        frames than :func:`frames_needed`.

    References:
        Graves, Fernández, Gomez & Schmidhuber, `Connectionist Temporal Classification
        <https://doi.org/10.1145/1143844.1143891>`_, 2006, sections 3 and 4.
    """
    given, count = _packed(tokens)
    return functional.ctc_loss(
        log_probs(logits).transpose(0, 1),
        given.clamp(min=0),
        _inside(logits, lengths).sum(-1),
        count,
        blank=blank,
        reduction="none",
    )


def sequence_ctc(
    student_logits: Float[Tensor, "batch frames tokens"],
    teacher_logits: Float[Tensor, "batch teacher_frames tokens"],
    *,
    blank: int = 0,
    student_lengths: Int[Tensor, " batch"] | None = None,
    teacher_lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    r"""Negative log-likelihood, by the student, of the tokens that the teacher's best path spells.

    .. math:: -\log \sum_{\pi : B(\pi) = y} \prod_f q_{f, \pi_f},
              \quad y = B(\arg\max z^t), \; q = softmax(z^s)

    :math:`B` merges repeated tokens and then drops the blanks. The two sides may have different frames. Not
    divided by the number of tokens.

    Args:
        student_logits: Unnormalised scores of all tokens and the blank in each frame.
        teacher_logits: The same, from the teacher, to whom no gradient flows.
        blank: The number of the blank.
        student_lengths: How many of the student's frames each utterance has; all where not given.
        teacher_lengths: How many of the teacher's.

    Returns:
        One number (nats) per utterance, not negative; infinite, without a gradient to use, where the student has
        fewer frames than the tokens need.

    References:
        Graves, Fernández, Gomez & Schmidhuber, `Connectionist Temporal Classification
        <https://doi.org/10.1145/1143844.1143891>`_, 2006, sections 3 and 4.
    """
    tokens = best_path(teacher_logits, blank=blank, lengths=teacher_lengths)
    return ctc(student_logits, tokens, blank=blank, lengths=student_lengths)


def best_path(
    logits: Float[Tensor, "batch frames tokens"],
    *,
    blank: int = 0,
    lengths: Int[Tensor, " batch"] | None = None,
) -> Int[Tensor, "batch frames"]:
    """What the likeliest token of each frame spells, repeats merged and blanks dropped.

    Args:
        logits: Unnormalised scores of all tokens and the blank in each frame.
        blank: The number of the blank.
        lengths: How many frames each utterance has; all where not given.

    Returns:
        Each token in the first frame that holds it, ``ABSENT`` elsewhere.
    """
    best = logits.argmax(-1)
    spelled = _inside(logits, lengths) & (best != blank)
    spelled[:, 1:] &= best[:, 1:] != best[:, :-1]
    return best.masked_fill(~spelled, ABSENT)


def frames_needed(tokens: Int[Tensor, "batch length"]) -> Int[Tensor, " batch"]:
    """How many frames a token sequence takes at least: one a token, and a blank between equal neighbours.

    Args:
        tokens: ``ABSENT`` where there is none.
    """
    given, count = _packed(tokens)
    twice = (given[:, 1:] == given[:, :-1]) & (given[:, 1:] != ABSENT)
    return count + twice.sum(-1)


def _inside(
    logits: Float[Tensor, "batch frames tokens"], lengths: Int[Tensor, " batch"] | None
) -> Bool[Tensor, "batch frames"]:
    """Which frames belong to the utterance."""
    if lengths is None:
        return torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device)
    return torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]


def _packed(tokens: Int[Tensor, "batch length"]) -> tuple[Int[Tensor, "batch length"], Int[Tensor, " batch"]]:
    """The tokens of each row first, in their order, and how many they are."""
    there = tokens != ABSENT
    order = (~there).int().argsort(dim=-1, stable=True)
    return tokens.gather(-1, order), there.sum(-1)
