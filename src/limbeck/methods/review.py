"""Knowledge review: each layer of the teacher from all deeper layers of the student (Chen et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from limbeck.losses.maps import hierarchical_context
from limbeck.methods.base import Traced
from limbeck.methods.connectors import as_map, as_square, width
from limbeck.methods.pairs import Averaged, made
from limbeck.types import Outputs


class _Fusion(nn.Module):
    """Meets one stage of the student with what came from the deeper ones, by attention between the two."""

    def __init__(self, student: int, middle: int, teacher: int, *, deepest: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(student, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.attend = None if deepest else nn.Conv2d(2 * middle, 2, 1)
        self.leave = nn.Sequential(
            nn.Conv2d(middle, teacher, 3, padding=1, bias=False), nn.BatchNorm2d(teacher)
        )

    def forward(self, features: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """The stage's own message for the teacher, and what it hands on to the stage before it."""
        entered: Tensor = self.enter(features)
        if self.attend is not None and deeper is not None:
            passed = as_map(deeper, (entered.shape[2], entered.shape[3]))
            share = torch.sigmoid(self.attend(torch.cat([entered, passed], 1)))
            entered = entered * share[:, :1] + passed * share[:, 1:]
        return self.leave(entered), entered


class Review(Averaged):
    """Explain each stage of the teacher by the student's stage and all deeper ones, fused by trained attention.

    The distance is taken at several sizes of the map. Costs convolutions at every stage, all dropped at the end.
    Tokens are read as a square map. Published weights lie between 0.6 and 8, with a warm-up over 20 epochs.

    Helps:
        Between convolutional nets of several stages, in long trainings.

    Costs:
        Convolutions and attention at every stage, dropped at the end: among the dearest methods on inner
        layers. The teacher runs along, unless its layers are stored (``teacher.keep_taps``).

    References:
        Chen, Liu, Zhao & Jia, `Distilling Knowledge via Knowledge Review
        <https://arxiv.org/abs/2104.09044>`_, 2021.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2104.09044"

    kind: Literal["review"] = "review"

    largest_width: PositiveInt = 128
    """Channels in which stages are fused, at most; otherwise those of the teacher's widest stage."""

    def init(self, traced: Traced) -> nn.Module | None:
        sides = [
            (width(ours.shape), width(theirs.shape))
            for ours, theirs in self._maps(traced.student, traced.teacher)
        ]
        middle = min(self.largest_width, max(theirs for _, theirs in sides))
        last = len(sides) - 1
        return nn.ModuleList(
            _Fusion(ours, middle, theirs, deepest=number == last)
            for number, (ours, theirs) in enumerate(sides)
        )

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        deeper = None
        stages = list(zip(made(self, state, _Fusion), self._maps(student, teacher), strict=True))
        for fuse, (ours, theirs) in reversed(stages):
            message, deeper = fuse(ours, deeper)
            size = (theirs.shape[2], theirs.shape[3])
            yield hierarchical_context(as_map(message, size), theirs)

    def _maps(self, student: Outputs, teacher: Outputs | None) -> Iterator[tuple[Tensor, Tensor]]:
        for ours, theirs in self.features(student, teacher):
            yield as_square(ours), as_square(theirs)
