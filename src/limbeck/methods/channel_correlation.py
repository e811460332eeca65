"""Correlation of feature maps: the same pattern, whatever its scale (Cao et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn

from limbeck.losses.channels import channel_correlation_distance
from limbeck.methods.base import Traced
from limbeck.methods.connectors import as_square, connector
from limbeck.methods.pairs import Coupled, Pairs
from limbeck.types import Outputs


class ChannelCorrelation(Coupled):
    """Correlate each channel with the teacher's, over all places of the batch, after a trained map.

    Asks for the pattern and not for its scale and offset, which differ between networks without meaning.
    Published for detectors, with a weight of 6 to 10.

    Helps:
        For dense maps whose scale differs between the sides; batches should be large enough to
        correlate over.

    Costs:
        A trained map for each pair, dropped at the end. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Cao, Zhang, Yang, Wang & Zhang, `PKD: General Distillation Framework for Object Detectors via Pearson
        Correlation Coefficient <https://arxiv.org/abs/2207.02039>`_, 2022.
    """

    family: ClassVar[str] = "feature"
    paper: ClassVar[str] = "https://arxiv.org/abs/2207.02039"

    kind: Literal["channel-correlation"] = "channel-correlation"

    pairs: Pairs = "stages"
    """Which layers are compared: ``stages``, ``last``, ``penultimate``, or a list of {student, teacher}."""

    def init(self, traced: Traced) -> nn.Module | None:
        # a shift would do nothing to a correlation, and so would never be trained
        return self.connected(traced, lambda ours, theirs: connector(ours, theirs, bias=False))

    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        return channel_correlation_distance(as_square(student), as_square(teacher)).mean()

    def sides(
        self, student: Outputs, teacher: Outputs | None, state: nn.Module | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self.projected(student, teacher, state)
