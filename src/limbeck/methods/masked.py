"""Masked generation: the teacher's features from a part of the student's (Yang et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.hint import squared_hint
from limbeck.methods.base import Traced
from limbeck.methods.connectors import as_square, connector, width
from limbeck.methods.pairs import Averaged, Pairs, made
from limbeck.types import Outputs


class _Generator(nn.Module):
    """A connector and two convolutions that fill in what is masked."""

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        super().__init__()
        channels = width(teacher)
        self.connect = connector(student, teacher)
        self.fill = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )


class Masked(Averaged):
    """Generate the teacher's features from the student's with some of them masked at random.

    The student has to hold in each part what the whole needs. Places of the map are masked in every step, or whole
    channels, which the paper takes for classification (a share of 0.15; 0.65 for places). Its weights, 7e-5 and 2e-5,
    belong to a sum over the elements; this is the mean.

    Helps:
        For dense maps and strong teachers, in long trainings.

    Costs:
        Two convolutions for each pair, dropped at the end. The teacher runs along, unless its layers are
        stored (``teacher.keep_taps``).

    References:
        Yang, Li, Shi, Liu, Yuan & Zhang, `Masked Generative Distillation
        <https://arxiv.org/abs/2205.01529>`_, 2022.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2205.01529"

    kind: Literal["masked"] = "masked"

    pairs: Pairs = "last"
    """Which layers are compared: ``last``, ``stages``, or a list of {student, teacher}."""

    masked_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the student's features that is masked."""

    mask: Literal["channels", "places"] = "channels"
    """What is masked at once: a channel, or a place of the map."""

    def init(self, traced: Traced) -> nn.Module | None:
        return self.connected(traced, _Generator)

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        for generator, (ours, theirs) in zip(
            made(self, state, _Generator), self.features(student, teacher), strict=True
        ):
            seen = as_square(generator.connect(ours))
            shape = (*seen.shape[:2], 1, 1) if self.mask == "channels" else (len(seen), 1, *seen.shape[2:])
            kept = torch.rand(shape, device=seen.device) >= self.masked_share
            yield squared_hint(generator.fill(seen * kept), as_square(theirs))
