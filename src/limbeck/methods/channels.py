"""Channel-wise distillation: where each channel looks (Shu et al., 2021)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from limbeck.losses.channels import channel_kl
from limbeck.methods.connectors import as_square
from limbeck.methods.pairs import Connected, Pairs


class Channels(Connected):
    """Spread each channel over the picture as the teacher's channel does, after a trained map.

    Made for dense prediction, where it beats comparing pixel by pixel. The published weight is 50 for features at a
    temperature of 4, 3 for score maps.

    Helps:
        For dense prediction, such as segmentation, and for score maps.

    Costs:
        A trained map for each pair, dropped at the end. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Shu, Liu, Gao, Yan & Shen, `Channel-wise Knowledge Distillation for Dense Prediction
        <https://arxiv.org/abs/2011.13256>`_, 2021.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2011.13256"

    kind: Literal["channels"] = "channels"

    pairs: Pairs = "last"
    """Which layers are compared: ``last``, ``stages``, ``penultimate``, or a list of {student, teacher}."""

    temperature: PositiveFloat = 4.0
    """Spreads each channel over more of its pixels. The term is multiplied by its square."""

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        distance = channel_kl(as_square(student), as_square(teacher), temperature=self.temperature)
        return self.temperature**2 * distance
