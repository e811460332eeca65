"""From unnormalised scores to log-probabilities: where number format and temperature are met."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.losses.widening import wide


def log_probs(
    logits: Float[Tensor, "*batch classes"], *, temperature: float | Tensor = 1.0
) -> Float[Tensor, "*batch classes"]:
    """Log-softmax over the classes, at a temperature.

    Args:
        logits: Unnormalised scores. ``-inf`` marks a class that is not there; its answer is ``-inf`` too.
        temperature: Divides the logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]`` and gets a
            gradient.

    Returns:
        Log-probabilities (nats): fp64 for fp64 logits, else fp32. Halves are widened before the division.
    """
    given = wide(logits)
    if isinstance(temperature, Tensor):
        return torch.log_softmax(_divided(given, temperature), -1)
    return torch.log_softmax(given if temperature == 1.0 else given / temperature, -1)


def _divided(logits: Tensor, temperature: Tensor) -> Tensor:
    """The logits over a temperature whose gradient does not meet the infinity of an absent class."""
    absent = logits.isneginf()
    return (logits.masked_fill(absent, 0.0) / temperature.to(logits.dtype)).masked_fill(absent, -torch.inf)
