"""Ask a module about a whole pool."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from limbeck.data import Preprocessing, Source, ordered
from limbeck.recipe import Execution
from limbeck.training import executing, laid_out

_BATCH_EXAMPLES = 256


def logits_of(
    module: nn.Module,
    source: Source,
    preprocessing: Preprocessing,
    execution: Execution,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Logits for every sample of a pool, in order, float32 on the CPU.

    Args:
        module: In eval mode; on ``device``.
        source: The pool.
        preprocessing: Fitted.
        execution: How it is computed.
        device: Where.
    """
    blocks = (batch.inputs for batch in ordered(source, preprocessing, _BATCH_EXAMPLES))
    return answers_for(module, blocks, execution, device)


def answers_for(
    module: nn.Module, blocks: Iterable[Tensor], execution: Execution, device: torch.device | str = "cpu"
) -> Tensor:
    """Logits for blocks of model inputs, joined, float32 on the CPU; without gradients."""
    with torch.inference_mode(), executing(execution, device=device):
        answers = [module(laid_out(block.to(device), execution)).float().cpu() for block in blocks]
    return torch.cat(answers)


def accuracy_of(
    module: nn.Module,
    source: Source,
    preprocessing: Preprocessing,
    execution: Execution,
    device: torch.device | str = "cpu",
) -> float:
    """Share of a pool's samples whose largest logit is at the label."""
    answers = logits_of(module, source, preprocessing, execution, device)
    return float((answers.argmax(1) == source.labels).double().mean())
