"""Batch normalisation of a model that only answers, multiplied into the layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from torch import nn
from torch.fx import Graph, Node, Tracer
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.nn.utils.parametrize import is_parametrized

_BEFORE: Final[dict[type[nn.Module], tuple[type[nn.Module], bool]]] = {
    nn.Conv1d: (nn.BatchNorm1d, False),
    nn.Conv2d: (nn.BatchNorm2d, False),
    nn.Conv3d: (nn.BatchNorm3d, False),
    nn.ConvTranspose1d: (nn.BatchNorm1d, True),
    nn.ConvTranspose2d: (nn.BatchNorm2d, True),
    nn.ConvTranspose3d: (nn.BatchNorm3d, True),
    nn.Linear: (nn.BatchNorm1d, False),
}
"""The normalisation that may follow each layer, and whether the layer is a transposed convolution."""

Pair = tuple[str, str]
"""The names of a layer and of the normalisation that is all that reads it."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A module with less to do."""

    module: nn.Module
    """A copy whose layers keep their names; folded normalisations let everything through."""
    pairs: tuple[Pair, ...]
    """What was folded into what."""
    left: tuple[str, ...]
    """Normalisations that stay: nothing stands before them, or their place in the forward cannot be traced."""


def folded(module: nn.Module) -> Folded:
    """Fold every batch normalisation that directly follows a convolution or a linear layer, in a copy in eval mode.

    The forward is traced with ``torch.fx``; where that fails (it branches on values, or is not Python), each part of
    the module is tried by itself. A layer that is called twice, read by anything else, hooked or parametrised stays.
    The answers differ in rounding only, and inner layers hold other values than before.

    Args:
        module: Any module; it is not changed.
    """
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    pairs = foldable(module)
    for pair in pairs:
        _fold(copied, *pair)
    gone = {normalisation for _, normalisation in pairs}
    left = [name for name, part in _normalisations(module) if name not in gone]
    return Folded(copied, tuple(pairs), tuple(left))


def foldable(module: nn.Module) -> list[Pair]:
    """The names of each layer and its normalisation that :func:`folded` would fold."""
    if not any(True for _ in _normalisations(module)):
        return []
    trial = copy.deepcopy(module).eval()  # a forward may keep count of its calls
    found = {pair: [trial.get_submodule(name) for name in pair] for pair in _pairs(trial, "")}
    fitting = {pair: parts for pair, parts in found.items() if _fits(*parts)}
    uses = Counter(id(part) for parts in fitting.values() for part in parts)
    return [pair for pair, parts in fitting.items() if all(uses[id(part)] == 1 for part in parts)]


def _normalisations(module: nn.Module) -> list[tuple[str, nn.Module]]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [(name, part) for name, part in module.named_modules() if type(part) in kinds]


def _pairs(module: nn.Module, prefix: str) -> list[Pair]:
    graph = _traced(module)
    if graph is None:
        return [pair for name, part in module.named_children() for pair in _pairs(part, f"{prefix}{name}.")]
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    named = [(before, str(node.target)) for node in graph.nodes if (before := _only_before(node)) is not None]
    once = [pair for pair in named if all(calls[name] == 1 for name in pair)]
    return [(prefix + layer, prefix + normalisation) for layer, normalisation in once]


def _traced(module: nn.Module) -> Graph | None:
    try:
        return Tracer().trace(module)
    except Exception:  # whatever a forward of the user's raises when it meets a symbol instead of a tensor
        return None


def _only_before(node: Node) -> str | None:
    """The module whose answer a module reads, where nothing else reads it."""
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    (read,) = node.args
    alone = isinstance(read, Node) and read.op == "call_module" and len(read.users) == 1
    return str(read.target) if alone and isinstance(read, Node) else None


def _fits(layer: nn.Module, normalisation: nn.Module) -> bool:
    kind, transposed = _BEFORE.get(type(layer), (None, False))
    if type(normalisation) is not kind or _watched(layer) or _watched(normalisation):
        return False
    if normalisation.running_mean is None or normalisation.running_var is None:
        return False  # it measures every batch anew
    if transposed and layer.groups != 1:
        return False
    width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return bool(width == normalisation.num_features)


def _watched(part: nn.Module) -> bool:
    """Whether something is done to what a module reads, holds or answers."""
    return bool(part._forward_hooks or part._forward_pre_hooks) or is_parametrized(part)


def _fold(module: nn.Module, layer_name: str, normalisation_name: str) -> None:
    layer: Any = module.get_submodule(layer_name)
    normalisation: Any = module.get_submodule(normalisation_name)
    statistics = (normalisation.running_mean, normalisation.running_var, normalisation.eps)
    affine = (normalisation.weight, normalisation.bias)
    if isinstance(layer, nn.Linear):
        weight, bias = fuse_linear_bn_weights(layer.weight, layer.bias, *statistics, *affine)
    else:
        transposed = _BEFORE[type(layer)][1]
        weight, bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, *affine, transposed)
    layer.weight, layer.bias = weight.requires_grad_(False), bias.requires_grad_(False)
    module.set_submodule(normalisation_name, nn.Identity())
