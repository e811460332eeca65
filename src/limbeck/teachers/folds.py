"""Out-of-fold answers: whoever answers for a sample has not been trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor, nn

from limbeck.data import Source, hashed
from limbeck.data.counter import below
from limbeck.errors import TeacherError
from limbeck.teachers.live import as_teacher
from limbeck.types import Batch, Offer, Outputs, Teacher, digest

_SEED: Final = 0xF01D


def fold_of(ids: Int[Tensor, " n"], folds: int) -> Int[Tensor, " n"]:
    """The fold of each sample, from 0: a hash of its id, so that it does not change with the pool's size or order.

    Args:
        ids: Of samples.
        folds: How many there are.
    """
    return below(hashed(_SEED, 0, ids)[:, 0], folds)


def outside_fold(source: Source, fold: int, folds: int) -> Int[Tensor, " rows"]:
    """The rows that the teacher of a fold may be trained on: those of the other folds, in order.

    A row whose content stands in the fold too, as an exact duplicate, is left out.

    Args:
        source: The pool.
        fold: Which, from 0.
        folds: How many there are.

    Raises:
        TeacherError: If nothing is left to train on.
    """
    inside = fold_of(source.ids, folds) == fold
    seen = torch.isin(source.contents, source.contents[inside])
    rows = torch.nonzero(~(inside | seen)).flatten()
    if not len(rows):
        raise TeacherError(
            f"Fold {fold + 1} of {folds} leaves no sample of {source.name} ({len(source)} in all) to train its "
            "teacher on. Set teacher.folds to null, or give more samples."
        )
    return rows


class OutOfFold:
    """Several teachers as one: the teacher of a fold answers for the samples of that fold alone.

    Args:
        members: The teacher of each fold, trained on :func:`outside_fold`'s rows; at least two.

    Raises:
        TeacherError: If there are fewer, or they count different classes.
    """

    def __init__(self, members: Sequence[Teacher | nn.Module]) -> None:
        self._members = tuple(as_teacher(member) for member in members)
        counts = {member.offer.classes for member in self._members}
        if len(self._members) < 2 or len(counts) != 1:
            raise TeacherError(
                f"Out-of-fold answers need at least two teachers of the same classes, got {len(self._members)} with "
                f"{sorted(counts)} classes. Give one teacher for each fold."
            )
        self.name = f"out of {len(self._members)} folds"
        self._offer = Offer(classes=counts.pop(), folds=len(self._members))

    @property
    def offer(self) -> Offer:
        """Dense logits, and how many folds they are from."""
        return self._offer

    @property
    def digest(self) -> str:
        """Changes with any member and with their number."""
        return digest(["out-of-fold", *(member.digest for member in self._members)])

    def __call__(self, batch: Batch) -> Outputs:
        """The logits of each sample's own teacher, where the batch is."""
        folds = fold_of(batch.ids, len(self._members))
        logits = torch.empty(len(batch), self._offer.classes, device=batch.inputs.device)
        for number, member in enumerate(self._members):
            rows = torch.nonzero(folds == number).flatten()
            if len(rows):
                logits[rows] = member(_rows(batch, rows)).logits.to(logits)
        return Outputs(logits)


def _rows(batch: Batch, rows: Tensor) -> Batch:
    cut = {name: getattr(batch, name)[rows] for name in ("ids", "inputs", "labels", "views")}
    return replace(batch, mask=None if batch.mask is None else batch.mask[rows], **cut)
