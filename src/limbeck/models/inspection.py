"""What can be said about a module without training it."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError


def count_parameters(module: nn.Module) -> int:
    """Numbers that training could change; a tensor shared by two layers counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def state_digest(module: nn.Module) -> str:
    """SHA-256 in hex over the name, type, shape and bits of every parameter and buffer, in any layout."""
    total = hashlib.sha256()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def check_answers(
    module: nn.Module, shape: tuple[int, ...], classes: int, *, owner: str = "the model"
) -> None:
    """Ask a module about two blank inputs and see that it answers with one logit per class.

    Mode, buffers and random state are left as they were.

    Args:
        module: Any module from inputs to logits.
        shape: One input, without the batch.
        classes: What the data has.
        owner: How an error names the module.

    Raises:
        ModelError: If it cannot take such inputs, does not return one tensor, or has another class count.
    """
    answer = _answer(module, torch.zeros(2, *shape), owner)
    if not isinstance(answer, Tensor):
        raise ModelError(
            f"{owner} ({type(module).__name__}) must return a tensor of logits, got {type(answer).__name__}. "
            "Wrap it in a module that returns its logits."
        )
    if answer.ndim != 2 or len(answer) != 2:
        raise ModelError(
            f"{owner} ({type(module).__name__}) must return logits [batch, {classes}], "
            f"got {list(answer.shape)} for a batch of 2."
        )
    if answer.shape[1] != classes:
        raise ModelError(
            f"{owner} ({type(module).__name__}) answers for {answer.shape[1]} classes, "
            f"but the data has {classes}. Give it a last layer with {classes} outputs, or its own data."
        )


def _answer(module: nn.Module, inputs: Tensor, owner: str) -> object:
    modes = {part: part.training for part in module.modules()}
    place = next(module.parameters(), torch.empty(0)).device
    try:
        module.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return module(inputs.to(place))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ModelError(
            f"{owner} ({type(module).__name__}) cannot take inputs of shape {list(inputs.shape)}: "
            f"{_first_line(error)}. Check the preprocessing's size and colour, and the model's input layer."
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
