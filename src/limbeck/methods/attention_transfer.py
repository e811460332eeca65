"""Attention transfer: where in the picture features are strong (Zagoruyko & Komodakis, 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.maps import attention_transfer
from limbeck.methods.connectors import as_square
from limbeck.methods.pairs import Compared


class AttentionTransfer(Compared):
    """Be strong in the same places of the picture as the teacher, whatever the channels mean.

    Nothing is trained beside the student, and widths may differ. Tokens are read as a square map. Its values are
    small because each map has length one; the usual weight is 1000. Between a convolutional net and another kind
    of model it can do harm.

    Helps:
        Between convolutional nets of one kind, in few labelled samples.

    Costs:
        A mean over the channels; no parameters. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Zagoruyko & Komodakis, `Paying More Attention to Attention <https://arxiv.org/abs/1612.03928>`_, 2017.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1612.03928"

    kind: Literal["attention-transfer"] = "attention-transfer"

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        return attention_transfer(as_square(student), as_square(teacher))
