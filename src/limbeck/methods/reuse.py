"""The teacher's classifier, reused: only its features have to be learned (Chen et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.hint import squared_hint
from limbeck.methods.base import Traced
from limbeck.methods.connectors import Kind, connector
from limbeck.methods.pairs import Averaged, Pairs
from limbeck.methods.states import kept
from limbeck.models.splitting import Chain, front, rest
from limbeck.types import Outputs


class Reuse(Averaged):
    """Match the teacher's last feature map, and ship the teacher's own classifier on top of it.

    No label and no logit is needed: what the student's features miss is all that is lost. What ships is the student
    without its head, a connector of two convolutions, and the rest of the teacher, so it is larger than the student;
    the report counts it. Both models must run their layers one after another at the cut.

    Helps:
        Where the teacher's last layers are small, and accuracy counts more than the last bit of size.

    Costs:
        Two convolutions and the teacher's last layers, which ship and are counted. It needs the teacher's
        module.

    References:
        Chen, Mei, Zhang, Wang, Wang, Feng & Chen, `Knowledge Distillation with the Reused Teacher Classifier
        <https://arxiv.org/abs/2203.14001>`_, 2022.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2203.14001"

    kind: Literal["reuse"] = "reuse"

    pairs: Pairs = "last"
    """Where both models are cut: ``last``, or one pair of {student, teacher}."""

    @property
    def grows(self) -> bool:
        return True

    def init(self, traced: Traced) -> nn.Module | None:
        if len(self.named) != 1 or traced.teacher_model is None:
            raise MethodError(
                f"reuse cuts both models at one place, got {self.pairs!r}. Take pairs: last, or one pair."
            )
        (ours, theirs), (pair,) = next(self.features(traced.student, traced.teacher)), self.named
        front(traced.student_model, pair.student)  # whether it can be cut is said before time is spent
        shape = tuple(theirs.shape)
        kind: Kind = "convolution" if len(shape) == 4 else "linear"
        connect = nn.Sequential(
            connector(tuple(ours.shape), shape, kind=kind), nn.ReLU(), connector(shape, shape)
        )
        after = rest(traced.teacher_model, pair.teacher).requires_grad_(False)
        return nn.ModuleDict({"connect": connect, "rest": after})

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        connect = kept(self, state, nn.ModuleDict)["connect"]
        for ours, theirs in self.features(student, teacher):
            yield squared_hint(connect(ours), theirs)

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        parts = kept(self, state, nn.ModuleDict)
        return Chain(
            student=front(student, self.named[0].student), connect=parts["connect"], rest=parts["rest"]
        )
