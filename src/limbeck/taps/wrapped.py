"""Models inside wrappers: what torch.compile and parallel training put around a module changes no layer's name."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def is_compiled(model: nn.Module) -> bool:
    """Whether a model is what ``torch.compile`` returned."""
    compiler = sys.modules.get(
        "torch._dynamo.eval_frame"
    )  # seconds to import, and nothing is compiled without it
    return compiler is not None and isinstance(model, compiler.OptimizedModule)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module itself, without what ``torch.compile`` and (Distributed)DataParallel have put around it."""
    while is_compiled(model) or isinstance(model, (DataParallel, DistributedDataParallel)):
        model = next(model.children())
    return model


def named_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every layer with its name, as ``named_modules`` gives them, but as if nothing were wrapped.

    A layer that stands in two places comes twice.
    """
    yield from _named(unwrapped(model), "")


def _named(model: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model._modules.items():
        if child is not None:
            inner = unwrapped(child)
            yield prefix + name, inner
            yield from _named(inner, f"{prefix}{name}.")
