"""From a batch to the terms of its loss: ask the teacher, ask the student, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError, TeacherError
from limbeck.methods.base import Method, total
from limbeck.recipe.plan import Execution
from limbeck.taps import Compiled, tap
from limbeck.training.precision import autocast, laid_out
from limbeck.types import CLEAN, Batch, Few, Outputs, Pool, Teacher

TeacherView = Literal["clean", "same"]
"""Whether the teacher is asked about the sample without augmentation, or about what the student sees."""

_HALVES = (torch.bfloat16, torch.float16)


@runtime_checkable
class Batches(Protocol):
    """Where batches come from: a pure function of the batch's number, so that any step can be made again."""

    def batch(self, number: int) -> Batch: ...

    def clean(self, batch: Batch) -> Batch: ...

    @property
    def pool(self) -> Pool: ...


def ask_teacher(
    teacher: Teacher, stream: Batches, batch: Batch, *, view: TeacherView, device: torch.device
) -> Outputs:
    """The teacher's answers, without gradients, on ``device``.

    A stored teacher needs no inputs: for the clean view it is asked by the ids alone.

    Args:
        teacher: Live or stored.
        stream: Where the batch came from, for its clean view.
        batch: As the stream gave it.
        view: What the teacher is asked about.
        device: Where a live teacher is asked, and where the answers are wanted.
    """
    reads_inputs = teacher.offer.reads_inputs
    asked = batch
    if view == "clean":
        asked = stream.clean(batch) if reads_inputs else _by_ids(batch)
    with torch.no_grad():
        answers = teacher(_on(asked, device) if reads_inputs else asked)
    return answers if answers.device == device else answers.to(device)


def taken(stream: Batches, number: int, device: torch.device) -> tuple[Batch, Batch]:
    """Batch ``number`` as the stream gives it, and the same on ``device``."""
    batch = stream.batch(number)
    return batch, _on(batch, device)


def ask_student(
    student: nn.Module,
    inputs: Tensor,
    *,
    taps: Sequence[str],
    execution: Execution,
    device: torch.device,
    compiled: Compiled | None = None,
    sequences: bool = False,
) -> Outputs:
    """The student's answers, computed in the plan's number format and layout; logits and taps in fp32.

    Args:
        student: In the mode it is in.
        inputs: [batch, ...], on ``device``.
        taps: Inner layers to read along, as the method's ``reads`` names them.
        execution: How it is computed.
        device: Where the student is.
        compiled: The same student and taps, compiled; runs in its place.
        sequences: Whether its logits are in every frame.
    """

    def ask(asked: Tensor) -> Outputs:
        with autocast(execution, device=device):
            logits, features = read(student, laid_out(asked, execution), taps, compiled=compiled)
        return student_outputs(student, logits, features, ask=ask, sequences=sequences)

    return ask(inputs)


def read(
    student: nn.Module, inputs: Tensor, taps: Sequence[str], *, compiled: Compiled | None = None
) -> tuple[object, dict[str, Tensor]]:
    """What a student answers, and what its layers gave; compiled, where it is."""
    if compiled is not None:
        return compiled(inputs)
    if not taps:
        return student(inputs), {}
    with tap(student, taps) as features:
        answer = student(inputs)
    return answer, features


def student_outputs(
    student: nn.Module,
    logits: object,
    features: Mapping[str, Tensor],
    *,
    ask: Callable[[Tensor], Outputs] | None = None,
    sequences: bool = False,
) -> Outputs:
    """What a student returned, if it is one tensor of logits; halves are widened to fp32.

    Args:
        student: Who answered.
        logits: [batch, classes], or [batch, frames, classes] of sequences.
        features: Its inner layers.
        ask: Asks it again.
        sequences: Whether there should be logits in every frame.

    Raises:
        ModelError: If it is anything else.
    """
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"The student {type(student).__name__} answers with {type(logits).__name__}, expected one tensor "
            "of logits [batch, classes]. Wrap it in a module that returns its logits."
        )
    if sequences and logits.ndim != 3:
        raise ModelError(
            f"The student's logits have the shape {list(logits.shape)}, and the method reads sequences; expected "
            "[batch, frames, classes]. Return one row of logits for each frame."
        )
    if not sequences and logits.ndim != 2:
        raise ModelError(
            f"The student's logits have the shape {list(logits.shape)}, expected [batch, classes]. Pool or "
            "flatten before its last layer."
        )
    taps = {name: _widened(tap) for name, tap in features.items()}
    return Outputs(_widened(logits), taps, ask=ask, pull=partial(pull, student))


def gradients(student: nn.Module, number: Tensor) -> list[Tensor]:
    """The gradient of a number at each of the student's weights, whose graph is kept; 0 where it has none."""
    weights = [parameter for parameter in student.parameters() if parameter.requires_grad]
    if not number.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    return list(torch.autograd.grad(number, weights, retain_graph=True, materialize_grads=True))


def pull(student: nn.Module, number: Tensor) -> Tensor:
    """The norm of a number's gradient at the student's weights."""
    return nn.utils.get_total_norm(gradients(student, number))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in _HALVES else tensor


def totals(method: Method, teacher: Outputs | None, batch: Batch) -> dict[str, Tensor]:
    """What each term is divided by: its weight over the whole batch, before any of it is computed."""
    return {name: weights.sum() for name, weights in method.weights(teacher, batch).items()}


def shares(
    method: Method,
    student: Outputs,
    teacher: Outputs | None,
    batch: Batch,
    connectors: nn.Module | None,
    divisors: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Each term's part of the loss, with gradients; their sum is the loss.

    Args:
        method: What is compared, and how.
        student: The student's answers for these rows.
        teacher: The teacher's, where the method reads them.
        batch: A batch, or a micro-batch of it.
        connectors: What the method's ``init`` returned.
        divisors: The :func:`totals` of the whole batch; ``None`` where these rows are the whole batch.
    """
    terms = method.loss(student, teacher, batch, connectors)
    if divisors is None:
        divisors = {name: term.weights.sum() for name, term in terms.items()}
    return {name: total({name: term}, divisors) for name, term in terms.items()}


def summed(parts: Mapping[str, Tensor]) -> Tensor:
    """The loss that the terms' parts make together."""
    return reduce(torch.add, parts.values())


def fitting(method: Method, teacher: Teacher | None) -> Teacher | None:
    """The teacher, before it is known which of its layers are read; nothing where the method reads no teacher.

    Raises:
        TeacherError: If the method reads a teacher and there is none, or more classes than its answers hold, or it
            answers in every frame where the method reads one answer an example, or the other way round.
    """
    if not method.reads.teacher:
        return None
    if teacher is None:
        raise TeacherError(
            f"The method {method!r} compares the student with a teacher, and there is none. "
            "Give a teacher, or use a method that reads labels only (ce)."
        )
    _check_form(method, teacher.offer.few)
    if method.reads.sequences != teacher.offer.sequences:
        wanted, given = ("in every frame", "once an example")[:: 1 if method.reads.sequences else -1]
        raise TeacherError(
            f"The method {method!r} reads a teacher's logits {wanted}, and this one offers them {given}. Say "
            f"LiveTeacher(model, classes=..., sequences={method.reads.sequences}), if that is what it answers."
        )
    return teacher


def needed(method: Method, teacher: Teacher | None) -> Teacher | None:
    """The teacher with the taps that the method reads; nothing where it reads no teacher, which then costs nothing.

    Raises:
        TeacherError: As :func:`fitting`, and if the method reads inner layers that the teacher does not offer.
    """
    teacher = fitting(method, teacher)
    if teacher is None:
        return None
    taps = method.reads.teacher_taps
    if set(taps) == set(teacher.offer.taps):
        return teacher
    if teacher.offer.tapping is None:
        if set(taps) <= set(teacher.offer.taps):
            return teacher
        raise TeacherError(
            f"The method {method!r} reads the teacher's {', '.join(taps)}, and this teacher offers "
            f"{', '.join(teacher.offer.taps) or 'its logits'} only. Ask the model itself: give the module, "
            "not its stored answers."
        )
    return teacher.offer.tapping(taps)


def _check_form(method: Method, held: Few | None) -> None:
    """Refuse few classes where whole logits, or others, are read."""
    wanted = method.reads.few
    if held is None or (wanted is not None and held.does_for(wanted)):
        return
    raise TeacherError(
        f"The method {method!r} reads {'whole logits' if wanted is None else wanted} of the teacher, and this "
        f"teacher's answers hold {held} only. Keep the teacher's logits (teacher.keep: float16), or more of them, or "
        "take another method: top-k and sampled compare with few classes."
    )


def _on(batch: Batch, device: torch.device) -> Batch:
    return batch if batch.inputs.device == device else batch.to(device)


def _by_ids(batch: Batch) -> Batch:
    return replace(batch, views=torch.full_like(batch.views, CLEAN))
