"""Hints: the student's inner features as the teacher's, through a trained map (Romero et al., 2015)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from limbeck.losses.hint import smooth_hint, squared_hint, width_last
from limbeck.methods.pairs import Connected


class Hint(Connected):
    """Match the teacher's inner features element by element, after a trained map.

    ``normalise: layer`` takes the teacher's features at zero mean and unit variance along their width, and the smooth
    L1 distance with it, so that a weight means the same for every layer (Miles et al., 2024); with an orthogonal
    connector and ``pairs: penultimate`` this is VkD. ``normalise: none`` is the hint of FitNets, the mean square over
    the elements; its usual weight of 100 belongs to that mean.

    Helps:
        Where stages correspond; as a first try on inner layers, normalised, or before training on
        answers as in the paper.

    Costs:
        A trained map for each pair, dropped at the end. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Romero, Ballas, Kahou, Chassang, Gatta & Bengio, `FitNets <https://arxiv.org/abs/1412.6550>`_, 2015.
        Miles, Elezi & Deng, `VkD <https://arxiv.org/abs/2403.06213>`_, 2024.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1412.6550"

    kind: Literal["hint"] = "hint"

    normalise: Literal["layer", "none"] = "layer"
    """Whether the teacher's features are normalised along their width before they are compared."""

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.normalise == "none":
            return squared_hint(student, teacher)
        target = width_last(teacher)
        return smooth_hint(width_last(student), functional.layer_norm(target, target.shape[-1:]))
