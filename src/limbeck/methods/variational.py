"""Variational information distillation: the student predicts the teacher's features (Ahn et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.losses.activation import gaussian_nll
from limbeck.methods.base import Traced
from limbeck.methods.connectors import connector, width
from limbeck.methods.pairs import Averaged, made
from limbeck.types import Outputs

_SMALLEST_VARIANCE = 1e-5
_START = 5.0


class _Predictor(nn.Module):
    """A connector that predicts means, and a variance for each channel of the teacher."""

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = connector(student, teacher)
        self.scale = nn.Parameter(torch.full((width(teacher),), _START).expm1().log())

    def variance(self) -> Tensor:
        """Of each channel, above 0."""
        return functional.softplus(self.scale) + _SMALLEST_VARIANCE


class Variational(Averaged):
    """Predict the teacher's features with a variance for each channel, so that noisy channels count less.

    The variances are trained along, which is all that sets this apart from a hint. Its value can be negative.

    Helps:
        Where some of the teacher's channels cannot be predicted.

    Costs:
        A trained map and a variance for each channel, dropped at the end. The teacher runs along, unless its
        layers are stored (``teacher.keep_taps``).

    References:
        Ahn, Hu, Damianou, Lawrence & Dai, `Variational Information Distillation for Knowledge Transfer
        <https://arxiv.org/abs/1904.05835>`_, 2019. The authors' variances start at 5, as these do.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1904.05835"

    kind: Literal["variational"] = "variational"

    def init(self, traced: Traced) -> nn.Module | None:
        return self.connected(traced, _Predictor)

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        for predictor, (ours, theirs) in zip(
            made(self, state, _Predictor), self.features(student, teacher), strict=True
        ):
            yield gaussian_nll(predictor.mean(ours), theirs, predictor.variance())
