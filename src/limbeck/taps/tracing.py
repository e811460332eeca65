"""What one forward pass shows of a model: every layer with the shapes and axes of what it takes and gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.taps.wrapped import named_layers, unwrapped

Shape = tuple[int, ...]

_AXES = {
    2: ("batch", "width"),
    3: ("batch", "tokens", "width"),
    4: ("batch", "channels", "height", "width"),
    5: ("batch", "channels", "depth", "height", "width"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a model, as a forward pass met it."""

    name: str
    kind: str
    """Its class."""
    shape: Shape | None
    """Of its output, with the batch; none where it did not run or gives something other than one tensor."""
    parameters: int
    """Numbers in it and in the layers inside it."""
    runs: int
    """How often it ran in one pass; only a layer that runs once can be tapped."""
    takes: Shape | None = None
    """Of its input, with the batch; none where it did not run or takes something other than one tensor."""
    ended: int = -1
    """When its last run ended, counted over all layers: a layer ends after those inside it."""

    @property
    def axes(self) -> tuple[str, ...]:
        """What its output's axes are, by their number; empty where it gives no tensor of features."""
        return axes(self.shape)


def axes(shape: Shape | None) -> tuple[str, ...]:
    """What the axes of a tensor of features are: two are rows, three tokens, four images, five volumes."""
    return _AXES.get(len(shape), ()) if shape else ()


@torch.no_grad()
def layers(model: nn.Module, inputs: Tensor) -> list[Layer]:
    """Every layer of a model, in the order it is built, with what one forward pass in eval mode shows.

    Modes and random state are left as they were.

    Args:
        model: Any module from inputs to an answer. What torch.compile or parallel training has put around it is
            looked through: the module itself is run.
        inputs: A batch on the model's device [batch, ...].

    Raises:
        ModelError: If the model cannot take such inputs.
    """
    model = unwrapped(model)
    seen: dict[nn.Module, list[tuple[Shape | None, Shape | None, int]]] = {
        module: [] for module in model.modules()
    }
    clock = itertools.count()

    def note(module: nn.Module, given: tuple[object, ...], output: object) -> None:
        seen[module].append((_shape(given[0]) if len(given) == 1 else None, _shape(output), next(clock)))

    with ExitStack() as hooks:
        for module in seen:
            hooks.enter_context(module.register_forward_hook(note))
        _run(model, inputs)
    return [
        Layer(
            name=name,
            kind=type(module).__name__,
            shape=seen[module][-1][1] if seen[module] else None,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            runs=len(seen[module]),
            takes=seen[module][-1][0] if seen[module] else None,
            ended=seen[module][-1][2] if seen[module] else -1,
        )
        for name, module in _once(model)
    ]


def _once(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    met: set[nn.Module] = set()
    for name, module in named_layers(model):
        if module not in met:
            met.add(module)
            yield name, module


def _shape(value: object) -> Shape | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _run(model: nn.Module, inputs: Tensor) -> None:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
            model(inputs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"{type(model).__name__} cannot take inputs of shape {list(inputs.shape)}: {reason}. "
            "Give inputs as it was built for."
        ) from error
    finally:
        for module, training in modes:
            module.training = training
