"""What online methods share: other students that train along, each on the labels and on the others' answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.classification import cross_entropy
from limbeck.methods.base import Method, Reads, Traced
from limbeck.methods.states import kept
from limbeck.types import Batch, Outputs, Term, Terms


class PeerMethod(Method):
    """A method whose state is other students. They are built as the student is, train with its optimizer, see what it
    sees, and are dropped at the end.

    Its terms are the student's, named as the method is; the same one of the peers, summed over them (``-peers``); and
    their cross-entropy with the labels (``-peers-ce``). The student's own is ``ce``, to be added.
    """

    family: ClassVar[str] = "online"

    peers: PositiveInt = 1
    """Other students. Each costs as much as the student."""
    temperature: PositiveFloat = 1.0
    """Softens all answers. What is learned from others is multiplied by its square."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some")

    @property
    def _names(self) -> tuple[str, str, str]:
        return self.kind, f"{self.kind}-peers", f"{self.kind}-peers-ce"

    def init(self, traced: Traced) -> nn.Module:
        """The peers.

        Raises:
            MethodError: If no other students can be built.
        """
        if traced.fresh is None:
            raise MethodError(
                f"{type(self).__name__} trains {self.peers} other students along, and this loop cannot build them. "
                "Train with limbeck.training.start and train, which take a function that builds the student."
            )
        return _Peers([traced.fresh() for _ in range(self.peers)], traced.computing)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        every = torch.ones(len(batch), device=batch.labels.device)
        return dict(zip(self._names, (every, every, batch.labelled.float()), strict=True))

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        peers = [logits.to(student.logits.dtype) for logits in kept(self, state, _Peers)(batch.inputs)]
        answers = [student.logits, *peers]
        fixed = torch.stack(answers).detach()
        own, *others = (self.learned(logits, fixed, number) for number, logits in enumerate(answers))
        labels = torch.stack([cross_entropy(logits, batch.labels) for logits in peers]).sum(0)
        every, scale = own.new_ones(len(batch)), self.weight * self.temperature**2
        terms = (
            Term(own, every, scale=scale),
            Term(torch.stack(others).sum(0), every, scale=scale),
            Term(labels, batch.labelled.to(labels.dtype), scale=self.weight),
        )
        return dict(zip(self._names, terms, strict=True))

    @abstractmethod
    def learned(
        self,
        logits: Float[Tensor, "batch classes"],
        answers: Float[Tensor, "parties batch classes"],
        number: int,
    ) -> Float[Tensor, " batch"]:
        """How far one party is from what it learns from all.

        Args:
            logits: Its own, with their graph.
            answers: Everybody's, without; the student's first.
            number: Which of them it is.
        """


class _Peers(nn.Module):
    """Other students, in the mode in which the training puts them."""

    def __init__(
        self, students: list[nn.Module], computing: Callable[[], AbstractContextManager[object]]
    ) -> None:
        super().__init__()
        self.students = nn.ModuleList(students)
        self._computing = computing

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Each one's logits."""
        with self._computing():
            return [student(inputs) for student in self.students]
