"""Several last parts on one trunk, taught by what they say together (Lan, Zhu & Gong, 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.classification import cross_entropy
from limbeck.losses.divergence import forward_kl
from limbeck.methods.base import Method, Reads, Traced
from limbeck.methods.connectors import as_rows, check_features
from limbeck.methods.states import kept
from limbeck.models import Network
from limbeck.taps import Layer, places
from limbeck.types import Batch, Outputs, Term, Terms


class Branches(Method):
    r"""Grow more last parts on the student's trunk and teach each the gated mean of all their logits (ONE).

    .. math:: T^2\, KL(p_e \| p_i), \quad z_e = \sum_i g_i z_i

    for each branch :math:`i`, the student being the first; no gradient flows into :math:`p_e`. The gate :math:`g` is
    a softmax over a linear map of the trunk's pooled features (with batch normalisation in the paper). The new
    branches and the mean also learn the labels; the student's own part of that is ``ce``, to be added. The student
    ships alone. Its last part is found in Limbeck's own families and in ``nn.Sequential``.

    Helps:
        Where there is no teacher, and the student's trunk is most of its cost.

    Costs:
        Each branch costs the student's last part again, in every step; nothing of it ships.

    References:
        Lan, Zhu & Gong, `Knowledge Distillation by On-the-Fly Native Ensemble
        <https://arxiv.org/abs/1806.04606>`_, 2018, section 3.
    """

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "https://arxiv.org/abs/1806.04606"

    kind: Literal["branches"] = "branches"
    branches: PositiveInt = 2
    """How many there are beside the student. Each costs as much as the student's last part."""
    place: str = "stage:-2"
    """Where they leave the trunk: everything after it is the last part."""
    temperature: PositiveFloat = 3.0
    """Softens all answers. What is learned from the mean is multiplied by its square."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some", student_taps=() if ":" in self.place else (self.place,))

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Branches:
        """The same method with a path for its place.

        Raises:
            MethodError: If several layers are meant.
            ModelError: If the layer does not exist.
        """
        found = places(student, self.place, owner="the student")
        if len(found) > 1:
            raise MethodError(
                f"Branches leave the trunk at one place, and {self.place!r} names {len(found)}."
            )
        return self.model_copy(update={"place": found[0]})

    def init(self, traced: Traced) -> nn.Module:
        """The new branches and the gate.

        Raises:
            MethodError: If the student's last part cannot be told, or no other one can be built.
        """
        if traced.fresh is None:
            raise MethodError(
                f"Branches grows {self.branches} more last parts, and this loop cannot build them. Train with "
                "limbeck.training.start and train, which take a function that builds the student."
            )
        features = traced.student.taps[self.place]
        check_features(tuple(features.shape), "student")
        tails = [tail(traced.fresh(), self.place) for _ in range(self.branches)]
        return _Branches(tails, as_rows(features).shape[1], traced.computing)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        every, labelled = torch.ones(len(batch), device=batch.labels.device), batch.labelled.float()
        return {
            "branches": every,
            "branches-others": every,
            "branches-others-ce": labelled,
            "branches-mean-ce": labelled,
        }

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        others, shares = kept(self, state, _Branches)(student.taps[self.place])
        others = others.to(student.logits.dtype)
        answers = torch.cat([student.logits[None], others])
        mean = torch.einsum("bk,kbc->bc", shares, answers)
        own, *apart = (
            forward_kl(each, mean.detach(), temperature=self.temperature) for each in answers.unbind()
        )
        hard = torch.stack([cross_entropy(each, batch.labels) for each in others.unbind()]).sum(0)
        every, labelled = own.new_ones(len(batch)), batch.labelled.to(own.dtype)
        scale = self.weight * self.temperature**2
        return {
            "branches": Term(own, every, scale=scale),
            "branches-others": Term(torch.stack(apart).sum(0), every, scale=scale),
            "branches-others-ce": Term(hard, labelled, scale=self.weight),
            "branches-mean-ce": Term(cross_entropy(mean, batch.labels), labelled, scale=self.weight),
        }


class _Branches(nn.Module):
    """Last parts beside the student's, and the gate over all of them."""

    def __init__(
        self, tails: list[nn.Sequential], width: int, computing: Callable[[], AbstractContextManager[object]]
    ) -> None:
        super().__init__()
        self.tails = nn.ModuleList(tails)
        self.gate = nn.Linear(width, 1 + len(tails))
        self._computing = computing

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[branches, batch, classes]``, and the shares ``[batch, 1 + branches]``, the student's first."""
        with self._computing():
            answers = torch.stack([part(features) for part in self.tails])
        return answers, self.gate(as_rows(features)).softmax(-1)


def tail(model: nn.Module, place: str) -> nn.Sequential:
    """The layers of a model that run after a place.

    Raises:
        MethodError: If the model, or a part of it that the place is in, does not run its layers one after another.
    """
    first, _, inner = place.partition(".")
    children = [(name, part) for name, part in model.named_modules(remove_duplicate=False) if "." not in name]
    names = [name for name, _ in children]
    if not isinstance(model, (Network, nn.Sequential)) or first not in names:
        raise MethodError(
            f"What runs after {place!r} in {type(model).__name__} cannot be told: its layers are not in a row. Name "
            "a layer between two parts of a chain (stages.0), or take mutual, which copies the whole student."
        )
    number = names.index(first)
    inside = tail(children[number][1], inner) if inner else ()
    return nn.Sequential(*inside, *(part for _, part in children[number + 1 :]))
