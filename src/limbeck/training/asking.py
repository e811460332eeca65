"""Trials for the plan: in which ways, and about how many examples at once, a model can be asked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.models import foldable, folded
from limbeck.recipe.plan import Asking, Execution
from limbeck.training.memory import available_bytes, footprint
from limbeck.training.precision import autocast, laid_out, matmul

Form = Callable[[Tensor], object]
EngineSource = Callable[[nn.Module, Tensor, int], Form]
"""Makes a model's answers from another engine: the model, an example of its inputs, and the threads."""

BASE_EXAMPLES: Final = 128
"""The batch in which the ways are compared."""

_SIZES: Final = (64, 256, 32, 512, 1024)
_ENGINE_PAYS_SECONDS: Final = 60.0
"""Exporting takes seconds: it is tried where asking about everything would take longer than this."""


@dataclass(frozen=True, slots=True)
class Question:
    """One trial: a model is asked once."""

    asking: Asking
    examples: int
    step: Callable[[], object]


class Questions:
    """Makes trials for one model, never with a batch that does not fit in memory.

    Args:
        model: In eval mode, on its device.
        shape: One input.
        engine: Makes its answers from another engine; none where there is no other.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...], *, engine: EngineSource | None) -> None:
        self._model, self._shape, self._engine = model, shape, engine
        parameter = next(model.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        self._forms: dict[str, Form] = {}
        few = torch.rand(4, *shape, device=self._device)
        self._largest = footprint(model, few).examples(available_bytes(self._device))
        self._inputs = torch.empty(0, *shape)

    def ways(self, executions: Sequence[Execution]) -> list[Question]:
        """The model asked in torch in each of these ways, folded too where there is anything to fold."""
        askings = [Asking(**execution.model_dump()) for execution in executions]
        if foldable(self._model):
            askings = [each.model_copy(update={"folded": fold}) for each in askings for fold in (False, True)]
        return [self.question(asking, BASE_EXAMPLES) for asking in askings]

    def other_engine(self, threads: int, *, all_seconds: float) -> list[Question]:
        """The model asked in onnxruntime; nothing where that is not worth trying, or it cannot be exported.

        Args:
            threads: Of the engine.
            all_seconds: What asking about everything takes in the plainest way.
        """
        if self._engine is None or self._device.type != "cpu" or all_seconds < _ENGINE_PAYS_SECONDS:
            return []
        try:
            return [self.question(Asking(engine="onnxruntime", threads=threads), BASE_EXAMPLES)]
        except LimbeckError:
            return []  # what cannot be exported is asked in torch

    def sizes(self, asking: Asking, *, example_seconds: float, most_seconds: float) -> Iterator[Question]:
        """One way with other batches: those that fit in memory and take no longer than ``most_seconds``."""
        for examples in _SIZES:
            if examples <= self._largest and examples * example_seconds <= most_seconds:
                yield self.question(asking, examples)

    def question(self, asking: Asking, examples: int) -> Question:
        """One trial; the batch is cut to what fits in memory."""
        examples = min(examples, self._largest)
        form, device = self._form(asking), self._device
        if len(self._inputs) < examples:
            self._inputs = torch.rand(examples, *self._shape, device=device)
        inputs = laid_out(self._inputs[:examples], asking)

        def step() -> None:
            with torch.no_grad(), autocast(asking, device=device):
                form(inputs)

        return Question(asking, examples, step)

    def _form(self, asking: Asking) -> Form:
        key = asking.model_dump_json(exclude={"precision", "threads"})
        if key not in self._forms:
            self._forms[key] = form_of(self._model, asking, self._shape, engine=self._engine) or laid_out(
                copy.deepcopy(self._model), asking
            )
        return self._forms[key]


def form_of(
    model: nn.Module, asking: Asking, shape: tuple[int, ...], *, engine: EngineSource | None
) -> Form | None:
    """A model in the faster form that an execution names; none where it is asked as it is.

    Args:
        model: In eval mode; not changed.
        asking: How it is asked.
        shape: One input.
        engine: Makes the answers of ``asking.engine`` where that is not torch.

    Raises:
        ExportError: If the model cannot be exported.
    """
    fast: Form | None = None
    if asking.engine == "onnxruntime" and engine is not None:
        fast = engine(model, torch.zeros(2, *shape), asking.threads)
    elif asking.folded:
        fast = laid_out(folded(model).module, asking)
    if asking.doubt_margin == 0:
        return fast
    return _careful(fast or laid_out(copy.deepcopy(model), asking), model, asking.doubt_margin)


def _careful(fast: Form, exact: Form, margin: float) -> Form:
    """Ask again, in plain fp32, about those examples whose two largest logits are closer than a margin."""

    def answers(inputs: Tensor) -> object:
        logits = fast(inputs)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
            return logits  # whoever asked refuses what is no row of logits for each example
        rows = torch.nonzero(doubtful(logits, margin)).flatten()
        if not len(rows):
            return logits
        with torch.autocast(inputs.device.type, enabled=False), matmul("highest"):
            again = exact(inputs[rows])
        sure = logits.float()
        return sure.index_copy(0, rows, again.float()) if isinstance(again, Tensor) else again

    return answers


def doubtful(logits: Tensor, margin: float) -> Tensor:
    """Which rows have two largest logits that are closer than a margin."""
    first, second = logits.float().topk(2, dim=1).values.unbind(1)
    return first - second < margin
