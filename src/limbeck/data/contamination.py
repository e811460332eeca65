"""Samples that stand in two splits: what is measured on them is memory, not skill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from limbeck.data.source import Source
from limbeck.data.splits import Splits

_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Contamination:
    """How many exact duplicates there are. Counts are samples of the split that is named last."""

    train_validation: int
    train_test: int
    validation_test: int
    within_train: int
    """Training samples that repeat an earlier one."""
    examples: tuple[str, ...]
    """A few of the pairs across splits, in words."""

    @property
    def clean(self) -> bool:
        """Whether no sample stands in two splits."""
        return not (self.train_validation or self.train_test or self.validation_test)


def contamination(splits: Splits) -> Contamination:
    """Find exact duplicates across splits and within training, by content hash (labels do not matter).

    Args:
        splits: Data as it is used.
    """
    train, validation, test = splits.train, splits.validation, splits.test
    pairs = [("train", train, "validation", validation), ("train", train, "test", test)]
    pairs.append(("validation", validation, "test", test))
    counts, examples = list[int](), list[str]()
    for first, left, second, right in pairs:
        rows = np.flatnonzero(np.isin(right.contents.numpy(), left.contents.numpy()))
        counts.append(len(rows))
        examples += [_pair(first, left, second, right, int(row)) for row in rows[:_EXAMPLES]]
    within = len(train) - len(np.unique(train.contents.numpy()))
    return Contamination(
        train_validation=counts[0],
        train_test=counts[1],
        validation_test=counts[2],
        within_train=within,
        examples=tuple(examples[:_EXAMPLES]),
    )


def _pair(first: str, left: Source, second: str, right: Source, row: int) -> str:
    twin = int((left.contents == right.contents[row]).nonzero()[0, 0])
    return f"{second} {right.describe(row)} is {first} {left.describe(twin)}"
