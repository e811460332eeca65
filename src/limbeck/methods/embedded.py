"""What contrastive methods share: both sides' features as vectors of one width, by trained maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Reads, Traced
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import PairedMethod, Pairs
from limbeck.methods.states import kept
from limbeck.types import Batch, Outputs


class Embedded(PairedMethod):
    """A method on vectors of one width that are made of one pair of layers."""

    family: ClassVar[str] = "relation"

    pairs: Pairs = "penultimate"
    """Which features are compared: ``penultimate``, ``last``, or one pair of {student, teacher}."""

    width: PositiveInt = 128
    """Of the vectors that are compared."""

    temperature: PositiveFloat = 0.07
    """Divides the cosines; smaller looks at the closest other samples only."""

    @property
    def reads(self) -> Reads:
        return replace(super().reads, coupled=True)

    def init(self, traced: Traced) -> nn.Module | None:
        if len(self.named) != 1:
            raise MethodError(
                f"{self.kind} compares one pair of layers, got {len(self.named)}. Take penultimate."
            )
        sides = next(self.features(traced.student, traced.teacher))
        ours, theirs = (nn.Linear(as_rows(side).shape[1], self.width) for side in sides)
        return nn.ModuleDict({"student": ours, "teacher": theirs})

    def embedded(
        self, student: Outputs, teacher: Outputs | None, state: nn.Module | None
    ) -> tuple[Tensor, Tensor]:
        """The vectors of both sides ``[batch, width]``; the teacher's has the graph of its map alone."""
        maps = kept(self, state, nn.ModuleDict)
        ours, theirs = next(self.features(student, teacher))
        return maps["student"](as_rows(ours)), maps["teacher"](as_rows(theirs))

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {self.kind: torch.ones(len(batch), device=batch.labels.device)}
