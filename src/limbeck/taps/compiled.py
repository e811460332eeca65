"""A model compiled together with the reading of its layers, so that compiling cannot lose a tap.

``torch.compile`` looks at a module's hooks when it traces the module, and not again: hooks that come later are never
called, and those that were there go on writing where they wrote. So the same hooks stand whenever it may trace, they
write to one place, and after every pass everything must have been written.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import FunctionType
from typing import Any, Final, no_type_check

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError, UserError
from limbeck.taps.reading import INPUT, found
from limbeck.taps.wrapped import is_compiled, unwrapped

BACKEND = "inductor"
"""Which of torch's compilers is used."""

_COMPILERS: Final = {"darwin": "clang++", "win32": "cl"}


class Compiled:
    """Asks a model through ``torch.compile``, and reads layers along; the model itself stays as it is.

    Args:
        model: A module, or what ``torch.compile`` returned for one, which is then compiled as it asks.
        names: Layers, as :func:`~limbeck.taps.reading.tap` takes them.

    Raises:
        ModelError: If there is no such layer.
        UserError: If there is no C++ compiler.
    """

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self._model = next(model.children()) if is_compiled(model) else model
        self._chosen = found(self._model, names)
        self._seen: dict[str, Tensor] = {}
        self._hooks = {name: self._hook(name) for name in self._chosen}
        if is_compiled(model):
            compiler: Any = model.dynamo_ctx
            self._run: Callable[[Tensor], object] = compiler(_traced(self._model))
        else:
            refuse_uncompilable()
            self._run = torch.compile(_traced(self._model), backend=BACKEND)

    def __call__(self, inputs: Tensor) -> tuple[object, dict[str, Tensor]]:
        """What the model answers, and what was read.

        Raises:
            ModelError: If a layer was not read.
        """
        self._seen.clear()
        with ExitStack() as standing:
            for name, module in self._chosen.items():
                register = (
                    module.register_forward_pre_hook if name.endswith(INPUT) else module.register_forward_hook
                )
                standing.enter_context(register(self._hooks[name]))
            answer = self._run(inputs)
        features = {name: self._seen[name] for name in self._chosen if name in self._seen}
        self._seen.clear()  # a graph must not outlive its step here
        self._check_fired(features)
        return answer, features

    def _check_fired(self, features: dict[str, Tensor]) -> None:
        for name in self._chosen:
            if name not in features:
                raise ModelError(
                    f"The tap {name!r} of the compiled {type(unwrapped(self._model)).__name__} gave nothing in a "
                    "forward pass, expected one tensor: the layer does not run, or torch.compile has left it out. "
                    "Choose a layer that runs (`limbeck layers MODEL`), or leave out `compile: true`."
                )

    def _hook(self, name: str) -> Callable[..., None]:
        seen = self._seen

        @no_type_check
        def read(_: nn.Module, given: tuple[Any, ...], output: Any = None) -> None:
            seen[name] = given[0] if name.endswith(INPUT) else output

        hook: Callable[..., None] = read
        return hook


def refuse_uncompilable() -> None:
    """Refuse to compile where there is no C++ compiler; torch would say so in the middle of the first step.

    Raises:
        UserError: With its name, and how to do without.
    """
    if BACKEND != "inductor":
        return
    wanted = os.environ.get("CXX", _COMPILERS.get(sys.platform, "g++"))
    if shutil.which(wanted) is None:
        raise UserError(
            f"The plan says `compile: true`, and torch.compile needs the C++ compiler {wanted!r}, which is not "
            "installed. On Debian or Ubuntu: apt-get install g++; for another one set CXX. Or leave `compile` out."
        )


def _traced(model: nn.Module) -> Callable[[Tensor], object]:
    """A function that asks the model, with a code object of its own: torch keeps what it compiled by that."""

    @no_type_check  # nothing may stand around what torch traces
    def ask(inputs: Tensor) -> object:
        return model(inputs)

    return FunctionType(ask.__code__.replace(), ask.__globals__, ask.__name__, None, ask.__closure__)
