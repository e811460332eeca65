"""Models made by the user's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from limbeck.errors import ModelError
from limbeck.importing import import_function
from limbeck.models.architecture import Architecture
from limbeck.models.inspection import check_answers
from limbeck.models.weights import load_weights

_FORM = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"

Reference = Annotated[str, Field(pattern=_FORM, examples=["package.module:function"])]


class PythonModel(Architecture):
    """A function of the user's that returns a new module. Nothing is imported before :meth:`build`."""

    kind: Literal["python"] = "python"

    python: Reference
    """``package.module:function``; found on the Python path or in the folder the command is run in."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function."""

    weights: Path | None = None
    """Weights to start from: safetensors, or a state dict saved by torch."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Import the function, call it, load the weights, and check what the module answers.

        Raises:
            ModelError: If there is no such function, it fails, or its module does not fit the data.
        """
        module = _call(self.python, self.arguments)
        if self.weights is not None:
            load_weights(module, self.weights)
        check_answers(module, shape, classes, owner=self.python)
        return module


def _call(reference: str, arguments: dict[str, Any]) -> nn.Module:
    function = import_function(reference)
    try:
        module = function(**arguments)
    except Exception as error:
        raise ModelError(
            f"python: {reference} failed with arguments {arguments}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"python: {reference} must return a torch.nn.Module, got {type(module).__name__}.")
    return module
