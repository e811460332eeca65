"""How exact this processor's products of fp32 matrices are in torch's two ways of computing them.

``medium`` lets torch compute them with oneDNN. On some processors that is a faster kernel in fp32; on others it
rounds the numbers to bfloat16 first, which the plan must not mistake for fp32. So the error is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from limbeck.recipe.plan import Matmul
from limbeck.training.precision import matmul

_SHAPES: Final = ((128, 8, 64), (128, 96, 256), (128, 784, 256), (32, 1024, 512))
"""Rows, inputs and outputs of the linear layers that are tried: short and long sums."""
_SEED: Final = 7
_ALLOWED: Final = 4.0
"""How many times the error of ``highest``, or fp32's spacing at 1, still counts as fp32."""


@dataclass(frozen=True, slots=True)
class ProductErrors:
    """The largest error of any number in a linear layer's answer and gradients, against float64.

    Each is divided by the sum of the absolute products that make the number, so that fp32 gives about 1e-7 and
    bfloat16 about 1e-4 whatever is multiplied.
    """

    highest: float
    medium: float

    @property
    def fp32(self) -> bool:
        """Whether ``medium`` is as exact as fp32 here."""
        return self.medium <= _ALLOWED * max(self.highest, torch.finfo(torch.float32).eps)


def product_errors() -> ProductErrors:
    """Measure both ways on this processor, on as many threads as torch has now; takes a few milliseconds."""
    generator = torch.Generator().manual_seed(_SEED)
    drawn = [
        tuple(torch.randn(*size, generator=generator) for size in ((rows, wide), (out, wide), (rows, out)))
        for rows, wide, out in _SHAPES
    ]
    found = {way: max(_error(way, *tensors) for tensors in drawn) for way in ("highest", "medium")}
    return ProductErrors(**found)


def _error(way: Matmul, inputs: Tensor, weight: Tensor, gradient: Tensor) -> float:
    given, held = inputs.clone().requires_grad_(), weight.clone().requires_grad_()
    plain = torch.autocast("cpu", enabled=False)
    with matmul(way), torch.enable_grad(), plain:
        answer = nn.functional.linear(given, held)
        got = torch.autograd.grad(answer, (given, held), gradient)
    pairs = ((answer, inputs, weight.T), (got[0], gradient, weight), (got[1], gradient.T, inputs))
    return max(_distance(product.detach(), left, right) for product, left, right in pairs)


def _distance(product: Tensor, left: Tensor, right: Tensor) -> float:
    exact, scale = left.double() @ right.double(), left.double().abs() @ right.double().abs()
    return float(((product.double() - exact).abs() / scale).max())
