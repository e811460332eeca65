"""Hard targets: the teacher's largest class as if it were the label (Lee, 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck.losses import cross_entropy
from limbeck.methods.base import Method, Reads, answered
from limbeck.types import Batch, Few, Outputs, Term, Terms


class PseudoLabel(Method):
    """Fit the teacher's largest class on every sample: what is left of the teacher without its softness.

    Helps:
        With unlabelled samples, and as a control: what ``kd`` adds to it is the worth of soft answers.

    Costs:
        Nothing but a pass over the logits. Stored answers serve.
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://www.researchgate.net/publication/280581078"

    kind: Literal["pseudo-label"] = "pseudo-label"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none", few=Few(likeliest=1))

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"pseudo-label": torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        values = cross_entropy(student.logits, _largest(answered(self, teacher)))
        return {"pseudo-label": Term(values, values.new_ones(len(batch)), scale=self.weight)}


def _largest(answers: Outputs) -> Tensor:
    return answers.logits.argmax(-1) if answers.sparse is None else answers.sparse.classes[:, 0]
