"""A model that answers now: always in eval mode, without gradients, outside the student."""

from __future__ import annotations

import copy as copying
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.models.layout import channels_last
from limbeck.taps import Compiled, is_compiled, refuse_uncompilable, tap, unwrapped
from limbeck.teachers.acceptance import check_finite, check_logits
from limbeck.teachers.identity import probe, teacher_digest
from limbeck.threads import threads
from limbeck.types import Batch, Offer, Outputs, Teacher

Ask = Callable[[Tensor], object]
"""From inputs ``[batch, ...]`` to logits ``[batch, classes]``."""

Execution = Callable[[], AbstractContextManager[object]]
"""Makes the block in which a model is asked: autocast, threads."""

_IMAGE_DIMS: Final = 4


class LiveTeacher:
    """A module, or any callable from inputs to logits, as a teacher.

    It is not a module itself, so a student that holds one neither trains nor saves it.

    Args:
        model: A module, or an opaque callable, which must name a ``version``.
        classes: How many it answers for; checked at every answer.
        shape: Of one model input, without the batch. Needed for the probe only: without it, the digest
            rests on weights, code and version.
        version: What its owner calls this state of it; part of the digest.
        execution: Makes the block in which it is asked (autocast, threads); by default nothing changes.
        layout: Memory format of its weights and of inputs with four dimensions.
        form: The same model in a faster form (folded, exported), which answers in its place where no tap is read.
            That it answers alike is for its owner to check; weights, offer and digest stay those of the model.
        copy: Answer from a copy of the module, which nobody else can train. ``False``, for one too large to
            hold twice: it is the caller's module that is put in eval mode, and must not be trained meanwhile.
        compiled: Answer through ``torch.compile``, as a module that is compiled already does.
        sequences: Whether it answers with logits in every frame ``[batch, frames, classes]``.

    Raises:
        TeacherError: If a callable names no version, or a module cannot be copied.
        UserError: If it shall be compiled and there is no C++ compiler.
    """

    def __init__(
        self,
        model: nn.Module | Ask,
        *,
        classes: int,
        shape: tuple[int, ...] | None = None,
        version: str = "",
        execution: Execution = nullcontext,
        layout: torch.memory_format = torch.contiguous_format,
        form: Ask | None = None,
        copy: bool = True,
        compiled: bool = False,
        sequences: bool = False,
    ) -> None:
        if isinstance(model, nn.Module):
            compiled, model = compiled or is_compiled(model), unwrapped(model)
        self.name, self._form = _name(model), form
        if not isinstance(model, nn.Module) and not version:
            raise TeacherError(
                f"The teacher {self.name} is a callable whose weights Limbeck cannot see, and it names "
                "no version; "
                "expected one, so that stored answers are not taken for those of a later state. Give "
                "version='1' "
                "and change it whenever the answers change."
            )
        self._shape, self._version, self._layout, self._execution = shape, version, layout, execution
        self._owned = copy and isinstance(model, nn.Module)
        self._model = (
            _frozen_copy(model, self.name) if self._owned and isinstance(model, nn.Module) else model
        )
        if layout == torch.channels_last and isinstance(self._model, nn.Module):
            _lay_out(self._model, layout)
        self._offer = Offer(classes=classes, sequences=sequences)
        if isinstance(self._model, nn.Module):
            self._offer = replace(self._offer, module=self._model, tapping=self._tapping)
        self._digest: str | None = None
        self._compile = compiled
        self._compiled: Compiled | None = None
        if compiled:
            refuse_uncompilable()

    @property
    def offer(self) -> Offer:
        """Dense logits, the taps that were chosen, and of a module every layer."""
        return self._offer

    @property
    def digest(self) -> str:
        """Sixteen hex digits for weights, code, version and answers to a fixed probe.

        Kept after the first time, unless the module is somebody else's.

        Raises:
            TeacherError: If an answer to the probe is not finite.
        """
        if self._digest is not None:
            return self._digest
        found = teacher_digest(self._model, self._probed(), version=self._version)
        self._digest = found if self._owned else None
        return found

    def __call__(self, batch: Batch) -> Outputs:
        """float32 logits for a batch, on the model's device; nothing of the model changes.

        Raises:
            TeacherError: If the model does not return ``[batch, classes]``, or ``[batch, frames, classes]`` for
                sequences.
        """
        inputs = batch.inputs.to(_place(self._model, batch.inputs.device))
        if inputs.ndim == _IMAGE_DIMS:
            grouped = self._layout == torch.channels_last
            inputs = channels_last(inputs) if grouped else inputs.contiguous(memory_format=self._layout)
        if self._compile and isinstance(self._model, nn.Module) and self._compiled is None:
            self._compiled = Compiled(self._model, self._offer.taps)
        with self._execution():
            return self._ask(inputs, self._compiled, None if self._offer.taps else self._form)

    def _tapping(self, taps: Sequence[str]) -> LiveTeacher:
        """The same teacher with other taps; the module is shared."""
        other = copying.copy(self)
        other._offer = replace(self._offer, taps=tuple(taps))
        other._compiled = None  # what is compiled reads the taps it was compiled with
        return other

    def _ask(self, inputs: Tensor, compiled: Compiled | None = None, form: Ask | None = None) -> Outputs:
        features: dict[str, Tensor] = {}
        answer: object
        with torch.no_grad():
            if isinstance(self._model, nn.Module):
                self._model.eval()  # whoever else holds it may have put it back in training mode
            if form is not None:
                answer = form(inputs)
            elif compiled is not None:
                answer, features = compiled(inputs)
            elif isinstance(self._model, nn.Module):
                with tap(self._model, self._offer.taps) as features:
                    answer = self._model(inputs)
            else:
                answer = self._model(inputs)
        logits = check_logits(
            answer,
            examples=len(inputs),
            classes=self._offer.classes,
            owner=f"The teacher {self.name}",
            sequences=self._offer.sequences,
        )
        return Outputs(logits.float(), {name: feature.float() for name, feature in features.items()})

    def _probed(self) -> Tensor | None:
        if self._shape is None:
            return None
        questions = probe(self._shape).to(_place(self._model, torch.device("cpu")))
        with threads(1):  # how many there are must not change who a teacher is
            answers = self._ask(questions).logits.cpu()
        check_finite(
            answers,
            torch.arange(len(answers)),
            owner=f"The answers of the teacher {self.name} to the probe",
            cure="The probe is standard normal noise. Check the teacher's weights.",
        )
        return answers


def as_teacher(
    teacher: object,
    *,
    classes: int | None = None,
    shape: tuple[int, ...] | None = None,
    version: str = "",
    sequences: bool = False,
) -> Teacher:
    """Whatever the user gave, as a teacher: a teacher is returned as it is, anything else answers live.

    Args:
        teacher: A teacher, a module, or a callable from inputs to logits.
        classes: How many it answers for; by default what a module's last linear layer has.
        shape: As in :class:`LiveTeacher`.
        version: As in :class:`LiveTeacher`.
        sequences: As in :class:`LiveTeacher`.

    Raises:
        TeacherError: If it is none of these, or the number of classes cannot be told.
    """
    if isinstance(teacher, LiveTeacher):
        return teacher
    if not isinstance(teacher, nn.Module) and isinstance(teacher, Teacher):
        return teacher
    if not callable(teacher):
        raise TeacherError(
            f"The teacher is a {type(teacher).__name__}, expected a module, a callable from inputs to "
            "logits, or a "
            "teacher. Give one of these."
        )
    count = _last_width(teacher) if classes is None and isinstance(teacher, nn.Module) else classes
    if count is None:
        raise TeacherError(
            f"How many classes the teacher {_name(teacher)} answers for cannot be told. "
            "Give LiveTeacher(model, classes=10)."
        )
    return LiveTeacher(teacher, classes=count, shape=shape, version=version, sequences=sequences)


def _frozen_copy(model: nn.Module, name: str) -> nn.Module:
    try:
        return copying.deepcopy(model).eval().requires_grad_(False)
    except (RuntimeError, TypeError) as error:
        raise TeacherError(
            f"The teacher {name} cannot be copied ({error}). Give copy=False, and do not train it meanwhile."
        ) from error


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == _IMAGE_DIMS:
            tensor.data = tensor.data.contiguous(memory_format=layout)


def _name(model: object) -> str:
    return str(getattr(model, "__name__", type(model).__name__))


def _place(model: object, otherwise: torch.device) -> torch.device:
    if not isinstance(model, nn.Module):
        return otherwise
    parameter = next(model.parameters(), None)
    return otherwise if parameter is None else parameter.device


def _last_width(model: nn.Module) -> int | None:
    widths = [part.out_features for part in model.modules() if isinstance(part, nn.Linear)]
    return widths[-1] if widths else None
