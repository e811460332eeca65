"""Frame distillation for CTC: the teacher's distribution in each frame (Hilmes, Rossenbach & Schlüter, 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.sequence import frame_kl, frame_weights
from limbeck.methods.base import Method, Reads, answered
from limbeck.methods.utterances import frame_lengths
from limbeck.types import Batch, Outputs, Term, Terms


class CTCFrames(Method):
    """Match the teacher's token distribution frame by frame, where it spells something.

    Most frames are blank, and a student that matches all of them learns silence first; one that sees none of them
    does not learn when to be silent. The paper takes those near a token. Both sides answer with logits in every frame
    [batch, frames, classes], as many as each other; add ``ctc`` where there are labels. Used from Python: a recipe's
    data have one label a sample.

    Helps:
        Where both sides answer with the same frames; also on utterances without a label.

    Costs:
        Nothing but a pass over the logits, of which it needs one row a frame from a live teacher.

    References:
        Hilmes, Rossenbach & Schlüter, `Analyzing the Importance of Blank for CTC-Based Knowledge Distillation
        <https://arxiv.org/abs/2506.01503>`_, 2025.
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/2506.01503"

    kind: Literal["ctc-frames"] = "ctc-frames"
    temperature: PositiveFloat = 1.0
    """Softens both. The term is multiplied by its square, so that changing it does not change the balance
    with the other terms."""
    blank: Annotated[int, Field(ge=0)] = 0
    """The class that stands for no token."""
    select: Literal["all", "non-blank", "symmetric"] = "symmetric"
    """Which frames count: all of an utterance, those whose likeliest class, by the teacher, is a token, or these and
    the ``neighbourhood`` before and after each."""
    neighbourhood: PositiveInt = 1
    """How many frames to each side of a token count, with ``symmetric``."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none", sequences=True)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        logits = answered(self, teacher).logits
        lengths = frame_lengths(batch, logits.shape[1])
        counted = frame_weights(
            logits, blank=self.blank, select=self.select, neighbourhood=self.neighbourhood, lengths=lengths
        )
        return {self.kind: counted}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        theirs = answered(self, teacher).logits
        ours, frames = student.logits, theirs.shape[1]
        if ours.shape[1] != frames:
            raise MethodError(
                f"ctc-frames compares frame by frame, and the student answers with {ours.shape[1]} frames where the "
                f"teacher has {frames}. Let both skip alike, or use ctc-sequence, which needs no common frames."
            )
        values = frame_kl(ours, theirs, temperature=self.temperature)
        weights = self.weights(teacher, batch)[self.kind].to(values.dtype)
        return {self.kind: Term(values, weights, unit="frame", scale=self.weight * self.temperature**2)}
