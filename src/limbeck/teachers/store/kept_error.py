"""What keeping costs: the kept answers measured against those that the teacher has just given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from limbeck.losses.probability import log_probs
from limbeck.teachers.store.keeping import Keep
from limbeck.types import Frozen, Outputs, Sparse


class KeptError(Frozen):
    """What keeping some answers costs. Null where a kind has no such error."""

    answers: PositiveInt
    """How many were compared: samples times views."""

    largest: NonNegativeFloat | None = None
    """Largest absolute difference of a number that is kept (a logit, a probability, a value); none where few are."""

    log_prob: NonNegativeFloat | None = None
    """Mean over the answers of the error of a log-probability (nats), each class by its probability; of drawn
    answers, over the classes that were drawn."""

    worst_log_prob: NonNegativeFloat | None = None
    """The same of the worst answer."""

    kl: NonNegativeFloat | None = None
    """Mean KL divergence (nats) of the answer as it is kept from the one that was given. What a kind keeps of several
    classes together is shared out evenly among them."""

    relative: NonNegativeFloat | None = None
    """Of values and embeddings: root of the mean squared difference, over that of the numbers."""

    taps: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """The same of each tap."""


def kept_error(keep: Keep, given: Outputs, kept: Outputs) -> KeptError:
    """What keeping costs in some answers.

    Args:
        keep: What is kept.
        given: The teacher's answers.
        kept: The same, written and read.
    """
    taps = {name: _relative(given.taps[name], kept.taps[name]) for name in keep.names}
    if given.text is not None:  # which is kept as it is
        return KeptError(answers=len(given.text), taps=taps)
    dense = kept.dense
    whole = None if dense is None else float(_apart(keep, given, kept).max())
    if not keep.answers.distribution and dense is not None:
        relative = _relative(given.logits, dense)
        return KeptError(answers=len(dense), largest=whole, relative=relative, taps=taps)
    each = _Each.of(log_probs(given.logits.double()), _rebuilt(kept, given.logits.shape[1]))
    return KeptError(
        answers=len(each.kl),
        largest=whole,
        log_prob=float(each.log_prob.mean()),
        worst_log_prob=float(each.log_prob.max()),
        kl=float(each.kl.mean()),
        taps=taps,
    )


def joined(parts: Sequence[KeptError]) -> KeptError:
    """The error of several parts as one: means by their answers, the worst of the worst.

    Args:
        parts: At least one, of one kind.
    """
    return KeptError(
        answers=sum(part.answers for part in parts),
        largest=_worst(part.largest for part in parts),
        log_prob=_mean([(part.log_prob, part.answers) for part in parts]),
        worst_log_prob=_worst(part.worst_log_prob for part in parts),
        kl=_mean([(part.kl, part.answers) for part in parts]),
        relative=_root([(part.relative, part.answers) for part in parts]),
        taps={
            name: _root([(part.taps[name], part.answers) for part in parts]) or 0.0 for name in parts[0].taps
        },
    )


class _Each(NamedTuple):
    """One number an answer."""

    log_prob: Tensor
    kl: Tensor

    @classmethod
    def of(cls, given: Tensor, kept: Tensor) -> _Each:
        """From log-probabilities of all classes."""
        gap = (kept - given).masked_fill(kept.isneginf() | given.isneginf(), 0.0)
        log_prob = (given.exp() * gap.abs()).sum(1)
        return cls(log_prob, (kept.exp() * gap).sum(1).clamp(min=0.0))


def _apart(keep: Keep, given: Outputs, kept: Outputs) -> Tensor:
    nobody = torch.empty(0, dtype=torch.int64)  # only draws depend on who is asked about
    return keep.answers.difference(kept, given, nobody, 0)


def _rebuilt(kept: Outputs, classes: int) -> Float[Tensor, "batch classes"]:
    """The log-probabilities of all classes, as far as they can be told from what is kept."""
    if kept.sparse is None:
        return log_probs(kept.logits.double())
    return _spread(kept.sparse, classes)


def _spread(sparse: Sparse, classes: int) -> Tensor:
    """Where there are draws they stand for the classes that are not named; otherwise all of these share evenly."""
    masses = torch.zeros(len(sparse.tail), classes, dtype=torch.float64)
    if sparse.drawn.shape[1] == 0:
        left = classes - sparse.classes.shape[1]
        masses += (sparse.tail.double().exp() / max(left, 1))[:, None]
    else:
        masses.scatter_add_(1, sparse.drawn, sparse.weights.double())
    masses.scatter_(1, sparse.classes, sparse.log_probs.double().exp())
    return (masses / masses.sum(1, keepdim=True)).log()


def _relative(given: Tensor, kept: Tensor) -> float:
    size = float(given.double().square().mean())
    apart = float((kept.double() - given.double()).square().mean())
    return math.sqrt(apart / size) if size else math.sqrt(apart)


def _worst(each: Iterable[float | None]) -> float | None:
    return max((value for value in each if value is not None), default=None)


def _mean(each: list[tuple[float | None, int]]) -> float | None:
    known = [(value, count) for value, count in each if value is not None]
    whole = sum(count for _, count in known)
    return sum(value * count for value, count in known) / whole if known else None


def _root(each: list[tuple[float | None, int]]) -> float | None:
    squared = _mean([(None if value is None else value**2, count) for value, count in each])
    return None if squared is None else math.sqrt(squared)
