"""Read the output or the input of any layer of any module, for the length of a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from torch import Tensor, nn

from limbeck.errors import ModelError, nearest
from limbeck.taps.wrapped import is_compiled, named_layers, unwrapped

INPUT: Final = "@in"
"""What a name ends with where a layer's input is meant, not its output."""


@contextmanager
def tap(model: nn.Module, names: str | Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Read layers while the block lasts; the hooks are removed even if it raises.

    Only calls of ``model`` itself count, each replacing what the last one left; what runs in a backward pass
    (checkpointed activations) is not read.

    Args:
        model: Any module; one inside DistributedDataParallel or DataParallel is looked through.
        names: Dotted paths as ``model.named_modules()`` gives them, without what a wrapper puts before them; with
            ``@in`` at the end, as in ``head@in``, the layer's input is read instead of its output.

    Yields:
        A dict that each forward pass fills: name to what was read, with its graph.

    Raises:
        ModelError: If there is no such layer; if the model is compiled; if a layer did not run, ran twice in one
            pass, gave something other than one tensor, or gave a tensor that a later layer overwrote.

    Example:
        >>> with tap(model, ["encoder.3"]) as features:
        ...     logits = model(inputs)
        >>> features["encoder.3"].shape
    """
    chosen = [names] if isinstance(names, str) else list(names)
    layers = found(model, chosen)
    _refuse_compiled(model, layers)
    watch = _Watch(model, layers)
    with ExitStack() as hooks:
        watch.attach(hooks)
        yield watch.seen
    watch.check_fired()


class _Watch:
    """The hooks of one block and what they saw."""

    def __init__(self, model: nn.Module, chosen: Mapping[str, nn.Module]) -> None:
        self.seen: dict[str, Tensor] = {}
        self._model, self._chosen = model, chosen
        self._versions: dict[str, int] = {}
        self._running = self._called = False

    def attach(self, hooks: ExitStack) -> None:
        hooks.enter_context(self._model.register_forward_pre_hook(self._begin))
        for name, module in self._chosen.items():
            if name.endswith(INPUT):
                hooks.enter_context(module.register_forward_pre_hook(partial(self._read_input, name)))
            else:
                hooks.enter_context(module.register_forward_hook(partial(self._read, name)))
        hooks.enter_context(self._model.register_forward_hook(self._end, always_call=True))

    def check_fired(self) -> None:
        missing = [name for name in self._chosen if name not in self.seen]
        if not missing:
            return
        owner, layer = type(unwrapped(self._model)).__name__, missing[0]
        if not self._called:
            raise ModelError(
                f"{owner} was not called while its layer {layer!r} was tapped, expected a forward pass. "
                "Call the model itself inside the block."
            )
        raise ModelError(
            f"{owner} has a layer {layer!r} that its forward pass does not run, so there is nothing to read. "
            "Choose one that runs; `limbeck layers MODEL` says which do."
        )

    def _begin(self, _: nn.Module, __: object) -> None:
        self.seen.clear()
        self._versions.clear()
        self._running = self._called = True

    def _end(self, _: nn.Module, __: object, ___: object) -> None:
        self._running = False
        for name, version in self._versions.items():
            if self.seen[name]._version != version:
                raise ModelError(
                    f"The output of {type(unwrapped(self._model)).__name__}'s layer {name!r} is overwritten by a "
                    "later layer, so it cannot be read. Build that one with inplace=False, or tap it instead."
                )

    def _read_input(self, name: str, module: nn.Module, given: tuple[object, ...]) -> None:
        self._read(name, module, given, given[0] if len(given) == 1 else given)

    def _read(self, name: str, _: nn.Module, __: object, output: object) -> None:
        if not self._running:
            return
        owner = type(unwrapped(self._model)).__name__
        if not isinstance(output, Tensor):
            verb = "takes" if name.endswith(INPUT) else "gives"
            raise ModelError(
                f"{owner}'s layer {name!r} {verb} {type(output).__name__}, expected one tensor. Tap a layer "
                "inside it; `limbeck layers MODEL` lists them with their shapes."
            )
        if name in self.seen:
            raise ModelError(
                f"{owner}'s layer {name!r} runs more than once in a forward pass, so it has no one output. "
                "Tap the layer before or after it, or give each use a module of its own."
            )
        self.seen[name] = output.clone() if output.is_inference() else output
        if not output.is_inference():  # which have no version to tell an overwritten one by
            self._versions[name] = output._version


def found(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """The modules that are read for some names, which may have the prefixes of wrappers or not.

    Raises:
        ModelError: If there is no such layer.
    """
    known = spelt = dict(named_layers(model))
    chosen = {name: name.removesuffix(INPUT) for name in names}
    if not known.keys() >= set(chosen.values()):
        spelt = dict(model.named_modules(remove_duplicate=False)) | known
    for name in chosen.values():
        if name not in spelt:
            raise ModelError(
                f"{type(unwrapped(model)).__name__} has no layer {name!r}.{nearest(name, known)} "
                f"`limbeck layers MODEL` lists all {len(set(known.values()))}."
            )
    return {name: unwrapped(spelt[layer]) for name, layer in chosen.items()}


def _refuse_compiled(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Hooks on what is compiled are called once or never, and then write where nobody looks any more."""
    if layers and any(is_compiled(part) or part._compiled_call_impl is not None for part in model.modules()):
        raise ModelError(
            f"{type(unwrapped(model)).__name__} is compiled, and torch.compile does not see hooks that come after "
            f"it, so the layer {next(iter(layers))!r} cannot be read. Give the module itself and say `compile: true` "
            "in the plan, or, in a loop of your own, compile the whole student with torch.compile(student)."
        )
