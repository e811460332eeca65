"""A student with its preprocessing in front: raw input in, logits out."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Deployed(nn.Module):
    """What ships: it takes raw samples, so whoever serves it needs no preprocessing of their own.

    It holds a copy, on the CPU, in fp32 and in eval mode; the module that was given stays as it is.

    Args:
        module: A trained student, from model inputs to logits.
        preprocessing: From raw samples to model inputs: ``Preprocessing.module()``.
    """

    def __init__(self, module: nn.Module, preprocessing: nn.Module) -> None:
        super().__init__()
        self.preprocessing = _plain(preprocessing)
        self.student = _plain(module)
        self.eval()

    def forward(self, raw: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits.

        Args:
            raw: ``[batch, height, width, channels]`` uint8 images or ``[batch, features]`` float32.
        """
        logits: Tensor = self.student(self.preprocessing(raw))
        return logits


def _plain(module: nn.Module) -> nn.Module:
    alone = copy.deepcopy(module).to(device="cpu", dtype=torch.float32).eval().requires_grad_(False)
    for tensor in (*alone.parameters(), *alone.buffers()):
        tensor.data = tensor.data.contiguous()  # no memory layout of the training's
    return alone
