"""What methods on sequences share: how long an utterance is, in the frames that a model answers with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.sequence import ctc, frames_needed
from limbeck.methods.base import Method
from limbeck.types import ABSENT, Batch, Outputs, Term, Terms


class Spelled(Method):
    """A method that wants the student to spell tokens, whatever their frames.

    The two sides answer with logits in every frame [batch, frames, classes], of which one class is the blank; a
    batch's ``mask`` [batch, frames of the inputs] says how long each utterance is.
    """

    blank: Annotated[int, Field(ge=0)] = 0
    """The class that stands for no token."""

    @abstractmethod
    def tokens(self, teacher: Outputs | None, batch: Batch) -> Tensor:
        """What is to be spelled [batch, length], filled up with ``ABSENT``."""

    @abstractmethod
    def counted(self, batch: Batch) -> Tensor:
        """Which utterances count, as weights."""

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {self.kind: self.counted(batch)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        logits, tokens = student.logits, self.tokens(teacher, batch)
        lengths = frame_lengths(batch, logits.shape[1])
        fits = self.fitting(tokens, lengths, batch)
        spelled = tokens.masked_fill(~fits[:, None], ABSENT)  # an infinite value has no gradient to use
        values = ctc(logits, spelled, blank=self.blank, lengths=lengths).where(fits, 0.0)
        return {self.kind: Term(values, self.counted(batch).to(values.dtype), scale=self.weight)}

    def fitting(self, tokens: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """Which utterances have as many frames as their tokens need; the others have the value 0."""
        return frames_needed(tokens) <= lengths


def frame_lengths(batch: Batch, frames: int) -> Tensor:
    """How many of a model's frames belong to each utterance.

    A model that answers with fewer frames than it reads is taken to skip evenly; a frame that is partly inside is.

    Args:
        batch: Its mask says how long the inputs are; all frames are inside where it has none.
        frames: How many the model answers with.
    """
    if batch.mask is None:
        return torch.full_like(batch.ids, frames)
    read = batch.mask.shape[1]
    return (batch.mask.sum(-1) * frames + read - 1) // read
