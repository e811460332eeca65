"""What the check says about how much terms and samples weigh, measured on a few batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import torch

from limbeck.data import Stream
from limbeck.methods import Importance
from limbeck.methods.importance import effective_samples
from limbeck.methods.wrapping import modifiers
from limbeck.recipe import Execution
from limbeck.training import TrainState, gradient_conflict, gradient_share
from limbeck.training.terms import TeacherView, ask_teacher, needed, taken
from limbeck.types import Teacher

Level = Literal["ok", "warning"]

_BATCHES: Final = 3
_NOTHING: Final = 1e-9
"""A share of the gradient that rounding alone can make."""


def term_texts(
    state: TrainState, stream: Stream, teacher: Teacher, *, execution: Execution, view: TeacherView
) -> Iterator[tuple[str, Level]]:
    """How much of the gradient each term makes, and how far each two pull the same way; a term that does nothing."""
    shares = gradient_share(state, stream, teacher, execution=execution, batches=_BATCHES, teacher_view=view)
    text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    yield f"share of each term on a few batches: {text}", "ok"
    for name, share in shares.items():
        if share < _NOTHING:
            yield (
                f"{name} moves no weight of the student: what it compares is alike whatever the student does, or its "
                "weight is 0. Give it other layers, or leave it out.",
                "warning",
            )
    cosines = gradient_conflict(
        state, stream, teacher, execution=execution, batches=_BATCHES, teacher_view=view
    )
    if cosines:
        text = ", ".join(f"{one} and {other} {cosine:+.2f}" for (one, other), cosine in cosines.items())
        yield f"cosine of each two terms (1 the same way, -1 against): {text}", "ok"


def sample_texts(state: TrainState, stream: Stream, teacher: Teacher, *, view: TeacherView) -> Iterator[str]:
    """How many equally weighted samples those of a few batches are worth under each importance modifier."""
    for modifier in modifiers(state.method):
        if not isinstance(modifier, Importance):
            continue
        weights = []
        for number in range(_BATCHES):
            given, batch = taken(stream, number, state.device)
            asked = needed(state.method, teacher)
            answers = (
                None if asked is None else ask_teacher(asked, stream, given, view=view, device=state.device)
            )
            weights.append(modifier.each(answers, batch))
        each = torch.cat(weights)
        yield (
            f"importance: the {len(each)} samples of a few batches count as {effective_samples(each):.0f} equally "
            f"weighted ones; their weights lie between {float(each.min()):.2g} and {float(each.max()):.2g}"
        )
