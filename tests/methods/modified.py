"""Two sides' answers on six examples, and what a modifier makes of a method there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from limbeck.methods import Method, Reads, Traced, total
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, Pool, Term, Terms

CLASSES, EXAMPLES, STEPS = 10, 6, 11
GENERATOR = torch.Generator().manual_seed(7)
STUDENT, TEACHER = (3 * torch.randn(2, EXAMPLES, CLASSES, generator=GENERATOR, dtype=torch.float64)).unbind()
LABELS = TEACHER.argmax(1)
LABELS[1], LABELS[4] = (LABELS[1] + 1) % CLASSES, ABSENT


class PerClass(Method):
    """A method whose units are classes."""

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = ""
    kind: Literal["per-class"] = "per-class"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none", coupled=True)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"per-class": torch.ones(CLASSES)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        values = student.logits.square().mean(0)
        return {"per-class": Term(values, torch.ones_like(values), unit="class")}


BATCH = Batch(torch.arange(EXAMPLES), torch.zeros(EXAMPLES, 2), LABELS, torch.full((EXAMPLES,), CLEAN))


def traced(student: Tensor = STUDENT, teacher: Tensor = TEACHER, *, pool: bool = True) -> Traced:
    known = Pool(BATCH.ids, BATCH.labels) if pool else None
    return Traced(BATCH, Outputs(student), Outputs(teacher), nn.Linear(1, 1), steps=STEPS, pool=known)


def started(method: Method, **options: Any) -> nn.Module | None:
    state = method.init(traced(**options))
    return None if state is None else state.double()


def loss(
    method: Method,
    state: nn.Module | None = None,
    *,
    student: Tensor = STUDENT,
    teacher: Tensor = TEACHER,
    batch: Batch = BATCH,
) -> Tensor:
    answers = Outputs(teacher) if method.reads.teacher else None
    weights = method.weights(answers, batch)
    terms = method.loss(Outputs(student), answers, batch, state)
    assert list(weights) == list(terms)
    for name, term in terms.items():
        torch.testing.assert_close(weights[name], term.weights, check_dtype=False)
    return total(terms, {name: each.double().sum() for name, each in weights.items()})


def gradient(method: Method, state: nn.Module | None = None, **options: Any) -> Tensor:
    student = STUDENT.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(method, state, student=student, **options), student)
    return found


def ticked(method: Method, state: nn.Module | None, count: int) -> None:
    with torch.no_grad():
        for _ in range(count):
            method.advance(nn.Linear(1, 1), state)


def kl(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    return (softmax(teacher, 1) * (log_softmax(teacher, 1) - log_softmax(student, 1))).sum(1)
