"""A batch in micro-batches: added up, or gathered where a loss compares all of its samples with each other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from limbeck.recipe.plan import Execution
from limbeck.training.phases import phase
from limbeck.training.randomness import drawing, step_seed
from limbeck.training.state import TrainState
from limbeck.training.terms import ask_student, pull, shares, summed
from limbeck.types import Batch, Outputs


def micro_batches(examples: int, accumulation: int) -> list[slice | None]:
    """Which rows are computed at once; ``None`` for all of them."""
    if accumulation == 1:
        return [None]
    size = -(-examples // accumulation)
    return [slice(first, first + size) for first in range(0, examples, size)]


def gathered(
    state: TrainState, batch: Batch, answers: Outputs | None, *, execution: Execution
) -> dict[str, Tensor]:
    """Run backward for the loss of the whole batch with the memory of a micro-batch.

    The student answers once without a graph; the loss of all answers gives their gradients; then the student answers
    again, a micro-batch at a time, and these gradients are led through it. Both times it draws the same dropout, and
    its running statistics count once.

    Args:
        state: The student's and the connectors' gradients are added to.
        batch: The whole.
        answers: The teacher's, where the method reads them.
        execution: How the student is computed.

    Returns:
        The parts of the loss, without gradients.

    References:
        Gao, Zhang, Han & Callan, `Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup
        <https://arxiv.org/abs/2101.06983>`_, 2021, section 3.
    """
    rows = [each for each in micro_batches(len(batch), state.training.accumulation) if each is not None]
    buffers = {name: value.clone() for name, value in state.student.named_buffers()}
    with torch.no_grad(), phase(state.clock, "student forward"):
        seen = [_micro(state, batch, number, part, execution) for number, part in enumerate(rows)]
    for name, value in state.student.named_buffers():
        value.copy_(buffers[name])
    leaves = _leaves(seen)
    leaves = replace(leaves, pull=partial(_pull, state, batch, leaves, rows[0], execution))
    with phase(state.clock, "loss"):
        parts = shares(state.method, leaves, answers, batch, state.connectors)
        loss = summed(parts)
    if loss.requires_grad:
        with phase(state.clock, "backward"):
            torch.autograd.backward(loss)
        for number, part in enumerate(rows):
            with phase(state.clock, "student forward"):
                again = _micro(state, batch, number, part, execution)
            with phase(state.clock, "backward"):
                _lead(leaves, again, part)
    return {name: part.detach() for name, part in parts.items()}


def _micro(state: TrainState, batch: Batch, number: int, rows: slice, execution: Execution) -> Outputs:
    taps, device = state.taps, state.device
    with drawing(step_seed(step_seed(state.seed, state.step), number), device=device):
        return ask_student(
            state.student, batch.inputs[rows],
            taps=taps, execution=execution, device=device, compiled=state.compiled,
            sequences=state.method.reads.sequences,
        )  # fmt: skip


def _leaves(seen: list[Outputs]) -> Outputs:
    """All answers joined, as the start of a graph."""
    taps = {name: torch.cat([part.taps[name] for part in seen]) for name in seen[0].taps}
    return Outputs(
        torch.cat([part.logits for part in seen]).requires_grad_(),
        {name: tap.requires_grad_() for name, tap in taps.items()},
        ask=seen[0].ask,
    )


def _pull(
    state: TrainState, batch: Batch, leaves: Outputs, rows: slice, execution: Execution, number: Tensor
) -> Tensor:
    """The norm of a number's gradient at the student's weights, as the rows of one micro-batch make it."""
    buffers = {name: value.clone() for name, value in state.student.named_buffers()}
    again = _micro(state, batch, 0, rows, execution)
    starts = [leaves.logits, *leaves.taps.values()]
    ends = [again.logits, *(again.taps[name] for name in leaves.taps)]
    led = torch.autograd.grad(number, starts, retain_graph=True, materialize_grads=True)
    products = [(end * gradient[rows]).sum() for end, gradient in zip(ends, led, strict=True)]
    found = pull(state.student, torch.stack(products).sum())
    for name, value in state.student.named_buffers():
        value.copy_(buffers[name])
    return found


def _lead(leaves: Outputs, again: Outputs, rows: slice) -> None:
    """The gradients of some rows' answers, led through the graph that made them."""
    pairs = [(again.logits, leaves.logits), *((again.taps[name], tap) for name, tap in leaves.taps.items())]
    known = [
        (answer, leaf.grad[rows]) for answer, leaf in pairs if leaf.grad is not None and answer.requires_grad
    ]
    if known:
        torch.autograd.backward([answer for answer, _ in known], [gradient for _, gradient in known])
