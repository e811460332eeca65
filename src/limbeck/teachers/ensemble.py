"""Several teachers that answer as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from limbeck.errors import TeacherError
from limbeck.models.together import Combination, combined, member_tap
from limbeck.teachers.live import as_teacher
from limbeck.types import Batch, Offer, Outputs, Teacher, digest


class Ensemble:
    """Several teachers as one: each is asked about the same batch, and their logits are made into one.

    The logits of each are offered beside them as the taps ``member:0``, ``member:1`` and so on, in the order given,
    for methods that compare with each of them.

    Args:
        members: Teachers, or modules that answer with logits; live and stored ones may stand side by side.
        combine: ``mean-probability`` averages their distributions, ``mean-logit`` their logits, which is the
            geometric mean of their distributions: a class that one of them rules out is ruled out.
        temperature: At which distributions are averaged; give it the method's, so that what the student matches is
            the mean of what the members say there. Of no effect on ``mean-logit``, which is the same at all.

    Raises:
        TeacherError: If there are none, they count different classes, some answer in every frame and some do
            not, or there is no such combination.
    """

    def __init__(
        self,
        members: Sequence[Teacher | nn.Module],
        *,
        combine: Combination = "mean-probability",
        temperature: float = 1.0,
    ) -> None:
        self._combined = combined(combine, temperature)
        self._members = tuple(as_teacher(member) for member in members)
        few = next((member.offer.few for member in self._members if member.offer.few is not None), None)
        if few is not None:
            raise TeacherError(
                f"A member of an ensemble answers with {few} only, and ensembles combine whole logits. Keep its "
                "logits (teacher.keep: float16)."
            )
        self._how = combine if temperature == 1 or combine == "mean-logit" else f"{combine} at {temperature}"
        self._offer = Offer(
            classes=_classes(self._members),
            taps=tuple(member_tap(number) for number in range(len(self._members))),
            reads_inputs=any(member.offer.reads_inputs for member in self._members),
            sequences=_sequences(self._members),
        )

    @property
    def offer(self) -> Offer:
        """Dense logits, and as taps those of every member."""
        return self._offer

    @property
    def digest(self) -> str:
        """Changes with any member, their order, and how they are combined."""
        return digest([self._how, *(member.digest for member in self._members)])

    def __call__(self, batch: Batch) -> Outputs:
        """The combined logits for a batch, on the first member's device."""
        with torch.no_grad():
            answers = [member(batch).logits for member in self._members]
            logits = torch.stack([answer.to(answers[0].device) for answer in answers])
            combined = self._combined(logits)
        return Outputs(combined, {member_tap(number): each for number, each in enumerate(logits)})


def _classes(members: Sequence[Teacher]) -> int:
    counts = [member.offer.classes for member in members]
    if not counts:
        raise TeacherError(
            "An ensemble has no members, expected at least one. Give Ensemble([teacher, ...])."
        )
    if len(set(counts)) > 1:
        raise TeacherError(
            f"The members of an ensemble answer for {', '.join(map(str, counts))} classes, expected the same classes "
            "in the same order for all. Leave out those that were trained on others."
        )
    return counts[0]


def _sequences(members: Sequence[Teacher]) -> bool:
    """Whether they answer in every frame."""
    kinds = {member.offer.sequences for member in members}
    if len(kinds) > 1:
        raise TeacherError(
            "Some members of an ensemble answer in every frame of a sequence and some once an example, expected the "
            "same of all. Leave out those of one kind."
        )
    return kinds.pop()
