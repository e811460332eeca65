"""What a teacher is asked: about which samples, in which views and blocks."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.data.views import augment
from limbeck.teachers.live import Execution
from limbeck.teachers.store.encoding import accepted, views_of
from limbeck.teachers.store.key import StoreKey
from limbeck.types import ABSENT, Batch, Outputs, Teacher


@dataclass(frozen=True, slots=True)
class Questions:
    """What a teacher is asked, in whatever order."""

    teacher: Teacher
    source: Source
    preprocessing: Preprocessing
    key: StoreKey
    execution: Execution = nullcontext

    def answers(self, rows: Int[Tensor, " batch"]) -> list[Outputs]:
        """What the teacher says to some rows of the source, in each view, in fp32 on the CPU.

        Raises:
            TeacherError: If an answer is not finite or not of the right shape.
        """
        ids = self.source.ids[rows]
        clean = self.preprocessing.apply(self.source.raw(rows))
        return [self._ask(ids, clean, view) for view in views_of(self.key)]

    def _ask(self, ids: Tensor, clean: Tensor, view: int) -> Outputs:
        views, inputs = torch.full_like(ids, view), clean
        if self.key.view != "clean":
            settings = self.key.view
            inputs = augment(clean, ids, views, augmentation=settings.augmentation, seed=settings.seed)
        with torch.no_grad(), self.execution():
            outputs = self.teacher(Batch(ids, inputs, torch.full_like(ids, ABSENT), views))
        return accepted(outputs, ids, self.key)


def blocks(records: range, batch_examples: int) -> list[range]:
    """Records in the blocks that the teacher is asked about at once."""
    return [records[start : start + batch_examples] for start in range(0, len(records), batch_examples)]
