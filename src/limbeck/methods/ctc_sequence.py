"""Sequence distillation for CTC: the student spells what the teacher spells (after Kim & Rush, 2016)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from limbeck.losses.sequence import best_path
from limbeck.methods.base import Reads, answered
from limbeck.methods.utterances import Spelled, frame_lengths
from limbeck.types import Batch, Outputs


class CTCSequence(Spelled):
    r"""Spell the tokens that the teacher's likeliest path spells, in whatever frames.

    .. math:: -\log \sum_{\pi : B(\pi) = y} \prod_f q_{f, \pi_f}

    where :math:`B` merges repeated tokens and then drops the blanks, and :math:`y` is
    :math:`B(\arg\max z^t)`.

    It asks neither for labels nor for the teacher's frames: the two sides may skip differently, and a student that is
    late is not punished, as ``ctc-frames`` would. The paper does it for translation, with the teacher's beam; the
    likeliest path is the beam of one. An utterance in which the teacher spells more tokens than fit into
    the student's frames adds nothing. Both answer with logits in every frame [batch, frames, classes]. Used from
    Python: a recipe's data have one label a sample.

    Helps:
        On utterances without a label, and where the two sides skip frames differently.

    Costs:
        The sum over all alignments, and a live teacher. Its spelling mistakes are learned too.

    References:
        Kim & Rush, `Sequence-Level Knowledge Distillation <https://arxiv.org/abs/1606.07947>`_, 2016, section 3.2.
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/1606.07947"

    kind: Literal["ctc-sequence"] = "ctc-sequence"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none", sequences=True)

    def tokens(self, teacher: Outputs | None, batch: Batch) -> Tensor:
        logits = answered(self, teacher).logits
        return best_path(logits, blank=self.blank, lengths=frame_lengths(batch, logits.shape[1]))

    def counted(self, batch: Batch) -> Tensor:
        return torch.ones(len(batch), device=batch.labels.device)
