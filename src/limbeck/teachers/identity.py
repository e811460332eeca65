"""Which teacher this is: its weights, its code, and its answers to fixed questions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from limbeck.models import state_digest
from limbeck.types import digest

_PROBES: Final = 8
_SEED: Final = 20
_STEPS_LOG2: Final = 8
_LIBRARIES: Final = frozenset({"torch", "builtins", "abc", "typing"})


def teacher_digest(
    model: nn.Module | Callable[[Tensor], object], answers: Tensor | None, *, version: str
) -> str:
    """Sixteen hex digits that change with the teacher's weights, code, version or behaviour.

    The answers are rounded to 1/256 of the power of two above the largest of them (between two and three
    digits), because another processor or memory layout changes their last bits; a change of behaviour is far
    larger.

    Args:
        model: A module, or any callable from inputs to logits.
        answers: What it answers to :func:`probe`, asked on one thread: ``[probes, classes]``;
            ``None`` where it cannot be asked.
        version: What its owner calls this state of it.
    """
    weights = state_digest(model) if isinstance(model, nn.Module) else None
    return digest(
        {"weights": weights, "code": source_code(model), "version": version, "probe": _rounded(answers)}
    )


def probe(shape: tuple[int, ...]) -> Tensor:
    """The fixed questions: standard normal inputs, the same everywhere.

    Args:
        shape: Of one model input, without the batch.

    Returns:
        float32 ``[8, *shape]``.
    """
    return torch.randn(_PROBES, *shape, generator=torch.Generator().manual_seed(_SEED))


def source_code(model: nn.Module | Callable[[Tensor], object]) -> list[str]:
    """The source text of every class that a module is made of, or of a function; torch's own is left out.

    What was not read from a file (a prompt, an exported graph) has no source text: then the weights, the
    version and the answers stand for it.
    """
    owners: set[object] = {model}
    if isinstance(model, nn.Module):
        owners = {kind for part in model.modules() for kind in type(part).__mro__}
    elif not inspect.isroutine(model):
        owners = set(type(model).__mro__)
    ours = (owner for owner in owners if _package(owner) not in _LIBRARIES)
    return sorted({text for owner in ours if (text := _text(owner))})


def _package(owner: object) -> str:
    return str(getattr(owner, "__module__", "")).partition(".")[0]


def _text(owner: object) -> str:
    if not (inspect.isclass(owner) or inspect.isroutine(owner)):
        return ""
    try:
        return inspect.getsource(owner)
    except (OSError, TypeError):
        return ""


def _rounded(answers: Tensor | None) -> list[list[int]]:
    if answers is None:
        return []
    exact = answers.flatten(1).double()
    exponent = torch.frexp(exact.abs().max()).exponent
    rounded: list[list[int]] = torch.ldexp(exact, _STEPS_LOG2 - exponent).round().to(torch.int64).tolist()
    return [[int(exponent)], *rounded]
