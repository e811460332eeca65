"""Early exits that learn from the student's last layer (Zhang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.classification import cross_entropy
from limbeck.losses.divergence import forward_kl
from limbeck.losses.regression import squared_error
from limbeck.methods.base import Method, Reads, Traced
from limbeck.methods.connectors import as_rows, check_features
from limbeck.methods.states import kept
from limbeck.taps import Layer, places
from limbeck.types import Batch, Outputs, Term, Terms


class Exits(Method):
    r"""Train an exit after each stage of the student on the labels and on its own last answer (BYOT).

    .. math:: \sum_i (1 - s)\, CE(z_i, y) + s\, T^2\, KL(p \| p_i) + w \, \| f_i - f \|^2

    over the exits :math:`i`, where :math:`p` and :math:`f` are the student's answer and the mean of its last stage,
    neither of which gets a gradient. An exit is two linear layers, which lead to the features :math:`f_i`, and a
    third one, which leads to the logits; all are dropped at the end. The student's own answer learns nothing here:
    add ``ce`` or another method for it.

    Helps:
        Without a teacher, for a student of several stages that is trained from its start.

    Costs:
        An exit of three linear layers for each stage while it trains; nothing of it ships.

    References:
        Zhang, Song, Gao, Chen, Bao & Ma, `Be Your Own Teacher <https://arxiv.org/abs/1905.08094>`_, 2019,
        section 3 (there exits are convolutions and the squares are summed over the batch as well).
    """

    family: ClassVar[str] = "self"
    paper: ClassVar[str] = "https://arxiv.org/abs/1905.08094"

    kind: Literal["exits"] = "exits"
    places: Annotated[tuple[str, ...], Field(min_length=2)] | Literal["stages"] = "stages"
    """Where exits leave the student, in order; the last place has none, and gives the deepest features."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """What an exit learns from the student's answer; the rest it learns from the label."""
    temperature: PositiveFloat = 3.0
    """Softens an exit and the answer. That term is multiplied by its square."""
    feature_weight: NonNegativeFloat = 0.03
    """Of the squared distance, a sum over the features, to the deepest ones."""

    @property
    def reads(self) -> Reads:
        named = () if isinstance(self.places, str) else self.places
        return Reads(teacher=False, labels="some", student_taps=named)

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Exits:
        """The same method with a path for each place.

        Raises:
            MethodError: If there are fewer than two.
            ModelError: If a layer does not exist.
        """
        given = (self.places,) if isinstance(self.places, str) else self.places
        found = [place for each in given for place in places(student, each, owner="the student")]
        if len(set(found)) < 2:
            raise MethodError(
                f"Exits leave the student before its last stage, and it has one alone ({found[0]!r}), expected two "
                "or more. Name the places yourself, or take a deeper student."
            )
        return self.model_copy(update={"places": tuple(dict.fromkeys(found))})

    def init(self, traced: Traced) -> nn.Module:
        *early, deepest = (traced.student.taps[place] for place in self.places)
        for features in (*early, deepest):
            check_features(tuple(features.shape), "student")
        widths, classes = [as_rows(features).shape[1] for features in early], traced.student.logits.shape[1]
        return nn.ModuleList(_Exit(width, as_rows(deepest).shape[1], classes) for width in widths)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        every = torch.ones(len(batch), device=batch.labels.device)
        return {"exits-ce": batch.labelled.float(), "exits-kd": every, "exits-features": every}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        *early, deepest = (as_rows(student.taps[place]) for place in self.places)
        answer, deepest = student.logits.detach(), deepest.detach()
        hard, soft, far = [], [], []
        for leave, features in zip(kept(self, state, nn.ModuleList), early, strict=True):
            reached, logits = leave(features)
            hard.append(cross_entropy(logits, batch.labels))
            soft.append(forward_kl(logits, answer, temperature=self.temperature))
            far.append(squared_error(reached, deepest) * deepest.shape[1])
        labelled, every = batch.labelled.to(hard[0].dtype), hard[0].new_ones(len(batch))
        softness = self.weight * self.share * self.temperature**2
        return {
            "exits-ce": Term(torch.stack(hard).sum(0), labelled, scale=self.weight * (1 - self.share)),
            "exits-kd": Term(torch.stack(soft).sum(0), every, scale=softness),
            "exits-features": Term(torch.stack(far).sum(0), every, scale=self.weight * self.feature_weight),
        }


class _Exit(nn.Module):
    """From a stage's features to the deepest ones' width, and from there to logits."""

    def __init__(self, width: int, deepest: int, classes: int) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(nn.Linear(width, deepest), nn.ReLU(), nn.Linear(deepest, deepest))
        self.head = nn.Linear(deepest, classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The exit's features and its logits."""
        reached: Tensor = self.bottleneck(features)
        return reached, self.head(reached)
