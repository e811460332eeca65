"""A made-up teacher that believes in the label (Yuan et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from limbeck.losses.divergence import forward_kl
from limbeck.losses.targets import virtual_teacher_logits
from limbeck.methods.base import Method, Reads
from limbeck.types import Batch, Outputs, Term, Terms


class VirtualTeacher(Method):
    """Match a made-up teacher that gives the label one probability and all other classes the same (Tf-KD).

    See :func:`~limbeck.losses.targets.virtual_teacher_logits`. At a temperature of 1 it is cross-entropy with label
    smoothing, but for a constant. No model is asked.

    Helps:
        Without a teacher, as a stronger label smoothing, and as a control for one.

    Costs:
        Nothing but a pass over the logits.

    References:
        Yuan, Tay, Li, Wang & Feng, `Revisiting Knowledge Distillation via Label Smoothing Regularization
        <https://arxiv.org/abs/1909.11723>`_, 2020 (teacher-free distillation, with a manually designed
        teacher).
    """

    family: ClassVar[str] = "self"
    paper: ClassVar[str] = "https://arxiv.org/abs/1909.11723"

    kind: Literal["virtual-teacher"] = "virtual-teacher"
    confidence: Annotated[float, Field(gt=0, le=1)] = 0.99
    """The teacher's probability of the label, at a temperature of 1."""
    temperature: PositiveFloat = 20.0
    """Softens both. The term is multiplied by its square."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some")

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"virtual-teacher": batch.labelled.float()}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        classes = student.logits.shape[1]
        believed = virtual_teacher_logits(batch.labels, classes=classes, confidence=self.confidence)
        values = forward_kl(student.logits, believed, temperature=self.temperature)
        labelled = batch.labelled.to(values.dtype)
        return {"virtual-teacher": Term(values, labelled, scale=self.weight * self.temperature**2)}
