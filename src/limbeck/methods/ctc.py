"""Connectionist temporal classification: token labels without an alignment (Graves et al., 2006)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.errors import MethodError
from limbeck.losses.sequence import frames_needed
from limbeck.methods.base import Reads
from limbeck.methods.utterances import Spelled
from limbeck.types import Batch, Outputs


class CTC(Spelled):
    r"""Spell the labels of those sequences that have some, whatever frames their tokens fall into.

    .. math:: -\log \sum_{\pi : B(\pi) = y} \prod_f q_{f, \pi_f}

    where :math:`B` merges repeated tokens and then drops the blanks, and :math:`y` are the labels.

    The counterpart of ``ce`` for sequences: labels are tokens [batch, length], filled up with ``ABSENT``; the value
    of an utterance is not divided by its number of tokens. The student answers with logits in every frame
    [batch, frames, classes]; the batch's ``mask`` says how long each utterance is. Used from Python: a recipe's data
    have one label a sample.

    Helps:
        Where labels are texts or tokens without a place in time.

    Costs:
        The sum over all alignments, which is small beside the student.

    References:
        Graves, Fernández, Gomez & Schmidhuber, `Connectionist Temporal Classification
        <https://doi.org/10.1145/1143844.1143891>`_, 2006.
    """

    family: ClassVar[str] = "supervised"
    paper: ClassVar[str] = "https://doi.org/10.1145/1143844.1143891"

    kind: Literal["ctc"] = "ctc"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some", sequences=True)

    def tokens(self, teacher: Outputs | None, batch: Batch) -> Tensor:
        return batch.labels

    def fitting(self, tokens: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """All of them.

        Raises:
            MethodError: If a label holds the blank, or does not fit into the student's frames.
        """
        if (tokens == self.blank).any():
            raise MethodError(
                f"ctc.blank is {self.blank}, and the labels hold it as a token. Set blank to the class that no label "
                "has."
            )
        fits, needed = super().fitting(tokens, lengths, batch), frames_needed(tokens)
        if not fits.all():
            raise MethodError(
                f"ctc: the sample {int(batch.ids[~fits][0])} needs {int(needed[~fits][0])} frames for its tokens, "
                f"and the student answers with {int(lengths[~fits][0])}. Let the student skip fewer frames, or leave "
                "such samples out."
            )
        return fits

    def counted(self, batch: Batch) -> Tensor:
        return batch.labelled.float()
