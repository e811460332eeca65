"""How the arithmetic is done: threads, number format, memory layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.errors import UserError
from limbeck.recipe.plan import Execution

Laid = TypeVar("Laid", Tensor, nn.Module)


@contextmanager
def executing(execution: Execution, *, device: torch.device | str = "cpu") -> Iterator[None]:
    """Compute with the plan's threads and number format for the length of a block.

    For asking a model: the training loop sets both itself, and autocasts the forward pass alone.

    Raises:
        UserError: If ``OMP_DYNAMIC`` is on.
    """
    refuse_dynamic_threads()
    with threads(execution.threads), autocast(execution, device=device):
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads within a block, and as many as before after it."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def autocast(execution: Execution, *, device: torch.device | str = "cpu") -> torch.autocast:
    """Autocast to bfloat16 where the plan says so; otherwise a block without any autocast."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=execution.precision == "bf16")


def laid_out(value: Laid, execution: Execution) -> Laid:
    """A module or a tensor in the plan's memory layout.

    Only four-dimensional tensors have channels; everything else is returned as it is. A module is changed
    in place (its numbers are the same), a tensor is copied where need be.
    """
    if execution.layout == "contiguous":
        return value
    if isinstance(value, nn.Module):
        for parameter in value.parameters():
            parameter.data = laid_out(parameter.data, execution)
        return value
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def refuse_dynamic_threads() -> None:
    """Refuse ``OMP_DYNAMIC=true``: OpenMP then changes its threads at will, and training can hang.

    Raises:
        UserError: If the environment asks for it.
    """
    value = os.environ.get("OMP_DYNAMIC", "")
    if value.strip().lower() in {"true", "1", "yes", "on"}:
        raise UserError(
            f"OMP_DYNAMIC is {value!r} in the environment; with it training can hang. "
            "Expected false: run `unset OMP_DYNAMIC` and start again."
        )
