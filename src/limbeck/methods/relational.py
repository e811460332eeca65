"""Relations of samples: distances and angles between them (Park et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.relation import angle_relation, distance_relation
from limbeck.methods.base import Weight
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import Coupled


class Relational(Coupled):
    """Arrange the samples of a batch as the teacher does: the same relative distances, the same angles.

    Nothing is trained beside the student, and widths may differ. Compares every pair and every triple of a batch.
    The weights between the two parts are the published ones for classification (25 and 50), halved; for metric
    learning the paper takes 1 and 2.

    Helps:
        For metric learning and embeddings, where widths differ.

    Costs:
        Every triple of a batch while ``angle_weight`` is above 0, which is the cube of the batch; no
        parameters. The teacher runs along, unless its layers are stored (``teacher.keep_taps``).

    References:
        Park, Kim, Lu & Cho, `Relational Knowledge Distillation <https://arxiv.org/abs/1904.05068>`_, 2019.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1904.05068"

    kind: Literal["relational"] = "relational"

    distance_weight: Weight = 1.0
    """Of the pairwise distances."""

    angle_weight: Weight = 2.0
    """Of the angles of all triples; 0 does not compute them."""

    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        ours, theirs = as_rows(student), as_rows(teacher)
        distances = self.distance_weight * distance_relation(ours, theirs)
        if self.angle_weight == 0:
            return distances
        return distances + self.angle_weight * angle_relation(ours, theirs)
