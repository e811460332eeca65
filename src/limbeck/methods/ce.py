"""Cross-entropy with the labels: the baseline, and the hard part of a blend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from limbeck.losses import cross_entropy
from limbeck.methods.base import Method, Reads
from limbeck.types import Batch, Outputs, Term, Terms


class CE(Method):
    """Fit the labels of those samples that have one.

    Helps:
        Wherever labels are right. Without it a student only imitates.

    Costs:
        Nothing but a pass over the logits.
    """

    family: ClassVar[str] = "supervised"
    paper: ClassVar[str] = "https://arxiv.org/abs/1512.00567"

    kind: Literal["ce"] = "ce"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread evenly over all classes."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some")

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"ce": batch.labelled.float()}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        values = cross_entropy(student.logits, batch.labels, label_smoothing=self.label_smoothing)
        return {"ce": Term(values, batch.labelled.to(values.dtype), scale=self.weight)}
