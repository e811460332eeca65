"""Kernel alignment: the same geometry of samples, whatever the axes (Kornblith et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.alignment import debiased_cka, linear_cka
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import Coupled, Pairs

_LEAST = {True: 4, False: 2}


class Alignment(Coupled):
    """Arrange the samples of a batch like the teacher up to rotation, scale and translation: one minus CKA.

    Nothing is trained beside the student, and widths may differ. The plain index is biased upwards where layers are
    wider than the batch; ``debiased`` is not. A batch too small to compare adds nothing.

    Helps:
        Where the widths differ and rotations of the features do not matter, in batches larger than a
        layer is wide or with ``debiased``.

    Costs:
        Products between the samples of a batch; no parameters. The teacher runs along,
        unless its layers are stored (``teacher.keep_taps``).

    References:
        Kornblith, Norouzi, Lee & Hinton, `Similarity of Neural Network Representations Revisited
        <https://arxiv.org/abs/1905.00414>`_, 2019.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1905.00414"

    kind: Literal["alignment"] = "alignment"

    pairs: Pairs = "stages"
    """Which layers are compared: ``stages``, ``last``, ``penultimate``, or a list of {student, teacher}."""

    debiased: bool = True
    """Take the estimate that is about 0 for independent layers; it needs four samples."""

    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        ours, theirs = as_rows(student), as_rows(teacher)
        if len(ours) < _LEAST[self.debiased]:
            return 0.0 * ours.sum()
        return 1 - (debiased_cka if self.debiased else linear_cka)(ours, theirs)
