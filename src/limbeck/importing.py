"""The one place where a string imports anything: a recipe's ``python:``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from limbeck.errors import ModelError, UserError, nearest


def import_function(
    reference: str, *, owner: str = "python", refusal: type[UserError] = ModelError
) -> Callable[..., Any]:
    """The function that ``package.module:function`` names. Runs the module's code.

    The current folder is searched last, so that a file beside the recipe is found and nothing is shadowed.

    Args:
        reference: Module and function, with a colon between them.
        owner: How an error names the field that holds the reference.
        refusal: What to raise.

    Raises:
        UserError: If the form, the module or the function is wrong; nearest names are listed.
    """
    module_name, colon, path = reference.partition(":")
    if not (module_name and colon and path):
        raise refusal(f"{owner}: must have the form 'package.module:function', got {reference!r}.")
    found: Any = _import(module_name, owner, refusal)
    for name in path.split("."):
        if name not in dir(found):
            public = [other for other in dir(found) if not other.startswith("_")]
            raise refusal(f"{owner}: {module_name} has no function {path!r}.{nearest(name, public)}")
        found = getattr(found, name)
    if not callable(found):
        raise refusal(f"{owner}: {reference} must be a function, got {type(found).__name__}.")
    function: Callable[..., Any] = found
    return function


def _import(name: str, owner: str, refusal: type[UserError]) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise refusal(f"{owner}: {name} needs {error.name!r}, which is not installed.") from error
        local = [path.stem for path in Path.cwd().glob("*.py")]
        raise refusal(
            f"{owner}: there is no module {error.name!r} on the Python path or in {folder}."
            f"{nearest(error.name, [*local, *sys.stdlib_module_names])} "
            "Run the command in the folder that holds it, or install it."
        ) from error
    except Exception as error:
        raise refusal(f"{owner}: importing {name} failed: {type(error).__name__}: {error}") from error
