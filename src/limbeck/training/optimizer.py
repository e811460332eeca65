"""Optimizers from their settings: weights decay, biases and normalisation do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.recipe.training import SGD, AdamW


def build(settings: SGD | AdamW, modules: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """The optimizer of everything that is trained in ``modules``.

    Args:
        settings: Which optimizer, and its hyperparameters.
        modules: The student, and the connectors where a method has some. A shared parameter counts once.

    Returns:
        A fused optimizer where torch has one for these parameters (:func:`is_fused` tells). The first group
        holds weights of two or more dimensions, which decay; the second all others, which do not.

    Raises:
        ModelError: If nothing in the modules can be trained.
    """
    held = {parameter: None for module in modules for parameter in module.parameters()}
    parameters = [parameter for parameter in held if parameter.requires_grad]
    if not parameters:
        raise ModelError(
            "The student has no parameter that can be trained (requires_grad is False everywhere). "
            "Unfreeze at least one: student.requires_grad_(True)."
        )
    return _optimizer(
        settings, _groups(parameters, settings.weight_decay), fused=_fusible(settings, parameters)
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group of parameters the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Whether one kernel updates all parameters, rather than a Python loop over them."""
    return bool(optimizer.defaults["fused"])


def _groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    decaying = [parameter for parameter in parameters if parameter.ndim >= 2]
    others = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _optimizer(settings: SGD | AdamW, groups: list[dict[str, Any]], *, fused: bool) -> torch.optim.Optimizer:
    match settings:
        case SGD():
            return torch.optim.SGD(
                groups,
                lr=settings.learning_rate,
                momentum=settings.momentum,
                nesterov=settings.nesterov and settings.momentum > 0,
                fused=fused,
            )
        case AdamW():
            return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)


def _fusible(settings: SGD | AdamW, parameters: list[nn.Parameter]) -> bool:
    """Ask torch itself, with one step on a single number of each device and type that occurs."""
    for device, dtype in {(parameter.device, parameter.dtype) for parameter in parameters}:
        probe = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
        probe.grad = torch.zeros_like(probe)
        try:
            _optimizer(settings, [{"params": [probe]}], fused=True).step()
        except RuntimeError:  # torch's word for a device or a type without a fused kernel
            return False
    return True
