"""The loop that somebody without a library would write: one file, everything in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.engine.task import OPTIMIZER, TEACHER_SHARE, TEMPERATURE
from limbeck.recipe import Execution
from limbeck.training import laid_out

Answers = Callable[[Tensor, Tensor], Tensor]
"""From inputs and their rows to the teacher's logits."""


def train_plainly(
    student: nn.Module,
    answers: Answers,
    inputs: Callable[[Tensor], Tensor],
    labels: Tensor,
    batches: Iterable[tuple[Tensor, float]],
    *,
    execution: Execution,
    fused: bool,
) -> Iterator[float]:
    """Train; yields the loss of each step.

    Args:
        student: Trained in place.
        answers: The teacher, live or remembered.
        inputs: From rows to model inputs.
        labels: Of all rows.
        batches: The rows and the learning rate of each step.
        execution: Number format and layout.
        fused: One kernel for the optimizer.
    """
    layout = torch.channels_last if execution.layout == "channels_last" else torch.contiguous_format
    student = student.train().to(memory_format=layout)
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=OPTIMIZER.learning_rate,
        momentum=OPTIMIZER.momentum,
        nesterov=True,
        fused=fused,
    )
    for rows, learning_rate in batches:
        images = laid_out(inputs(rows), execution)
        soft = answers(images, rows) / TEMPERATURE
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=execution.precision == "bf16"):
            logits = student(images)
        logits = logits.float()
        log_soft = functional.log_softmax(logits / TEMPERATURE, dim=1)
        distilled = functional.kl_div(log_soft, soft.softmax(1), reduction="batchmean") * TEMPERATURE**2
        loss = TEACHER_SHARE * distilled + (1 - TEACHER_SHARE) * functional.cross_entropy(
            logits, labels[rows]
        )
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        yield loss.item()


def live(teacher: nn.Module, execution: Execution) -> Answers:
    """A teacher that answers for every batch."""
    layout = torch.channels_last if execution.layout == "channels_last" else torch.contiguous_format
    teacher = teacher.eval().to(memory_format=layout)

    def answers(images: Tensor, _rows: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=execution.precision == "bf16"):
            logits: Tensor = teacher(images)
        return logits.float()

    return answers
