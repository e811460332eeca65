"""How the arithmetic is done: threads, number format, matrix products, memory layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.errors import UserError
from limbeck.models.layout import channels_last
from limbeck.recipe.plan import Execution, Matmul
from limbeck.threads import refuse_dynamic_threads, threads

Laid = TypeVar("Laid", Tensor, nn.Module)


@contextmanager
def executing(execution: Execution, *, device: torch.device | str = "cpu") -> Iterator[None]:
    """Compute with the plan's threads and number format for the length of a block.

    For asking a model: the training loop sets both itself, and autocasts the forward pass alone.

    Raises:
        UserError: If ``OMP_DYNAMIC`` is on.
    """
    refuse_dynamic_threads()
    with arithmetic(execution), autocast(execution, device=device):
        yield


@contextmanager
def arithmetic(execution: Execution) -> Iterator[None]:
    """Compute on the plan's threads, and products of fp32 matrices as it says, for the length of a block."""
    with threads(execution.threads), matmul(execution.matmul):
        yield


@contextmanager
def matmul(wanted: Matmul) -> Iterator[None]:
    """Compute products of fp32 matrices in one of torch's ways within a block, and as before after it.

    It is a setting of the whole process: what other threads compute meanwhile is computed so too.

    Raises:
        UserError: If somebody has set it through both of torch's interfaces, so that it cannot be read.
    """
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError as error:
        raise UserError(
            "The precision of fp32 matrix products was set through torch.backends...fp32_precision, which torch "
            f"cannot read beside torch.set_float32_matmul_precision; the plan asks for {wanted!r}. Take that line "
            "out: it is the plan's to say."
        ) from error
    if before == wanted:
        yield
        return
    torch.set_float32_matmul_precision(wanted)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
    return channels_last(value) if value.ndim == 4 else value
