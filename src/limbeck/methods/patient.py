"""Patient distillation: hidden states of many layers, at length one (Sun et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.hint import normalised_hidden_error
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import Connected


class Patient(Connected):
    """Match the direction of the teacher's mean hidden state in layer after layer, through trained maps.

    The paper takes the first token's state, where models have one that stands for the whole; this takes the mean over
    tokens or pixels, which every model has. Published weights lie between 10 and 1000.

    Helps:
        For transformers with several layers to follow.

    Costs:
        A trained map for each pair, dropped at the end. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Sun, Cheng, Gan & Liu, `Patient Knowledge Distillation for BERT Model Compression
        <https://arxiv.org/abs/1908.09355>`_, 2019.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1908.09355"

    kind: Literal["patient"] = "patient"

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        return normalised_hidden_error(as_rows(student), as_rows(teacher))
