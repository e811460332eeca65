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
    best = teacher_logits.argmax(-1)
    spelled = _inside(teacher_logits, teacher_lengths) & (best != blank)
    spelled[:, 1:] &= best[:, 1:] != best[:, :-1]
    return functional.ctc_loss(
        log_probs(student_logits).transpose(0, 1),
        best.gather(
            -1, (~spelled).int().argsort(dim=-1, stable=True)
        ),  # spelled tokens first, in their order
        _inside(student_logits, student_lengths).sum(-1),
        spelled.sum(-1),
        blank=blank,
        reduction="none",
    )


def _inside(
    logits: Float[Tensor, "batch frames tokens"], lengths: Int[Tensor, " batch"] | None
) -> Bool[Tensor, "batch frames"]:
    """Which frames belong to the utterance."""
    if lengths is None:
        return torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device)
    return torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]
