"""Distillation inside somebody else's training loop: one loss to add, nothing else taken over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from limbeck.errors import MethodError, TeacherError
from limbeck.methods.base import Method, Traced
from limbeck.taps import Compiled, is_compiled, layers
from limbeck.teachers import as_teacher
from limbeck.training.parallel import share
from limbeck.training.terms import fitting, needed, read, shares, student_outputs, summed
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, Teacher


class Distilling:
    """The distillation loss of one student and one teacher, inside a ``with distilling(...)`` block."""

    def __init__(self, student: nn.Module, teacher: Teacher | None, method: Method) -> None:
        self._student, self._teacher, self._method = student, teacher, method
        self._connectors: nn.Module | None = None
        self._compiled: Compiled | None = None
        self._begun = False

    def begin(self, batch: Batch | Tensor) -> list[nn.Parameter]:
        """Make the method's connectors, shaped from one batch.

        Needed only for a method that has some: give the parameters to your optimizer beside the student's.

        Args:
            batch: Any batch, or its inputs alone.

        Returns:
            The connectors' parameters; none for most methods. Where the student is in DistributedDataParallel, their
            gradients are averaged over the processes as its own are.
        """
        given = _batch(batch, None, None)
        self._name_layers(given)
        modes = [(part, part.training) for part in self._student.modules()]
        self._student.eval()
        try:
            with torch.no_grad():
                student = self._student_answers(given, None)
        finally:
            for part, mode in modes:
                part.training = mode
        module = None if self._teacher is None else self._teacher.offer.module
        self._connectors = self._method.init(
            Traced(given, student, self._teacher_answers(given), self._student, module)
        )
        if self._connectors is not None:
            share(self._connectors.to(given.inputs.device), self._student)
        self._begun = True
        return [] if self._connectors is None else list(self._connectors.parameters())

    def loss(
        self,
        batch: Batch | Tensor,
        *,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> Tensor:
        """The distillation loss of a batch: one number, with gradients into the student.

        Args:
            batch: A batch, or its inputs [batch, ...] as the student takes them.
            logits: The student's answers [batch, classes], if your loop has them already; otherwise the
                student is run here, in the mode and under the autocast it is in.
            labels: Class numbers [batch], for methods that read them (-1 where there is none); the tokens of
                sequences [batch, length], filled up with -1. What frames a sequence has is said by a batch's mask.
            ids: The samples' ids [batch], for a stored teacher.

        Raises:
            TeacherError: If the teacher is a stored one and there are no ids.
            MethodError: If the method trains connectors and :meth:`begin` has not been called.
        """
        given = _batch(batch, labels, ids)
        if self._teacher is not None and not self._teacher.offer.reads_inputs and ids is None:
            self._refuse_tensors(batch)
        if not self._begun and self.begin(given):
            raise MethodError(
                f"The method {self._method!r} trains connectors, which your optimizer does not know yet. "
                "Call parameters = d.begin(batch) first, and give them to it beside the student's."
            )
        answers = self._teacher_answers(given)
        student = self._student_answers(given, logits)
        return summed(shares(self._method, student, answers, given, self._connectors))

    def advance(self) -> None:
        """Say that the weights were updated; needed once a step for methods that keep a moving average or a bank."""
        with torch.no_grad():
            self._method.advance(self._student, self._connectors)

    def _name_layers(self, batch: Batch) -> None:
        module = None if self._teacher is None else self._teacher.offer.module
        few = batch.inputs[:2]
        theirs = None if module is None else layers(module, few.to(next(module.parameters(), few).device))
        self._method = self._method.bind(layers(self._student, few), theirs)
        self._teacher = needed(self._method, self._teacher)
        taps = self._method.reads.student_taps
        if taps and is_compiled(self._student):
            self._compiled = Compiled(self._student, taps)

    def _student_answers(self, batch: Batch, logits: Tensor | None) -> Outputs:
        if logits is not None and self._method.reads.student_taps:
            raise MethodError(
                f"The method {self._method!r} reads inner layers of the student, and d.loss was given its "
                "logits alone. Leave logits out: the student is then run by d.loss."
            )

        outputs = partial(student_outputs, self._student, sequences=self._method.reads.sequences)

        def ask(inputs: Tensor) -> Outputs:
            taps = self._method.reads.student_taps
            answer, features = read(self._student, inputs, taps, compiled=self._compiled)
            return outputs(answer, features, ask=ask)

        return ask(batch.inputs) if logits is None else outputs(logits, {}, ask=ask)

    def _teacher_answers(self, batch: Batch) -> Outputs | None:
        if self._teacher is None:
            return None
        with torch.no_grad():
            return self._teacher(batch)

    def _refuse_tensors(self, batch: Batch | Tensor) -> None:
        if isinstance(batch, Tensor):
            raise TeacherError(
                "A stored teacher answers by sample ids, and d.loss was given inputs alone. Give "
                "d.loss(inputs, ids=...), or a Batch."
            )


@contextmanager
def distilling(
    student: nn.Module, teacher: Teacher | nn.Module | None, method: Method, *, allow_labels: bool = False
) -> Iterator[Distilling]:
    """Distil in your own loop: ``loss = task_loss + d.loss(inputs)``.

    The loss is the one that :func:`~limbeck.training.loop.train` computes. The student's mode, optimizer,
    number format and device stay yours; the teacher is asked in eval mode, without gradients.

    Args:
        student: Your model; what torch.compile or DistributedDataParallel made of it will do.
        teacher: A teacher, or a module that answers with logits.
        method: What is compared, and how.
        allow_labels: Whether the method may hold a term on the labels; your task loss is likely to be one.

    Raises:
        MethodError: If the method reads labels and this was not allowed.
        TeacherError: If the method reads a teacher and there is none.

    Example:
        >>> with distilling(student, teacher, KD(temperature=4)) as d:
        ...     for inputs, labels in loader:
        ...         logits = student(inputs)
        ...         loss = cross_entropy(logits, labels) + d.loss(inputs, logits=logits)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
    """
    if method.reads.labels != "none" and not allow_labels:
        raise MethodError(
            f"The method {method!r} holds a term on the labels, and your own loop is likely to have one: it "
            "would count twice. Take it out of the method, or say distilling(..., allow_labels=True)."
        )
    sequences = method.reads.sequences
    asked = as_teacher(teacher, sequences=sequences) if isinstance(teacher, nn.Module) else teacher
    yield Distilling(student, fitting(method, asked), method)


def _batch(batch: Batch | Tensor, labels: Tensor | None, ids: Tensor | None) -> Batch:
    """Plain tensors as a batch: unnumbered, without labels, not augmented, unless said otherwise."""
    if isinstance(batch, Batch):
        return batch
    count, device = len(batch), batch.device
    absent = torch.full((count,), ABSENT, device=device)
    numbers = torch.arange(count, device=device) if ids is None else ids
    views = torch.full((count,), CLEAN, device=device)
    return Batch(numbers, batch, absent if labels is None else labels.long(), views)
