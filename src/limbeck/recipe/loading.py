"""Recipes read and written: every mistake at once, and nothing executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from limbeck.errors import Problem, RecipeError, UserError, nearest
from limbeck.methods import Method
from limbeck.methods import dump as dump_method
from limbeck.recipe.lines import Document, Dumper, read
from limbeck.recipe.mistakes import problems, shown
from limbeck.recipe.overriding import override
from limbeck.recipe.schema import Recipe

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_WIDTH: Final = 110


def load(source: Path | str | Mapping[str, Any], *, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a file, from its text, or from plain data. Nothing is imported, run or downloaded.

    Args:
        source: A file; YAML text (anything with a line break or a colon and a space); or a mapping.
        overrides: ``path=value`` each, as after ``--set``: ``method.kd.temperature=2``.

    Raises:
        RecipeError: With every mistake: its path, line, value, what was expected, and the nearest name.
        UserError: If there is no such file, or it is not text.
    """
    name, document = _document(source)
    value, paths = override(document.value, overrides)
    changed = Document(value, document.lines)
    if not isinstance(value, Mapping):
        message = f"must be a map with data, teacher, student and more, got {shown(value)}"
        raise RecipeError([Problem("recipe", message, document.line(()))], source=name)
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        found = problems(error, changed, schema=json_schema(), overridden=paths)
        raise RecipeError(found, source=name) from error


def dump(recipe: Recipe) -> str:
    """The whole recipe as YAML, every default spelled out; :func:`load` makes an equal one of it."""
    plain = recipe.model_dump(mode="json")
    plain["method"] = _method(recipe.method)
    for assistant, written in zip(recipe.assistants, plain["assistants"], strict=True):
        if assistant.method is not None:
            written["method"] = _method(assistant.method)
    return yaml.dump(
        _kind_first(plain),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_WIDTH,
    )


@cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors and other programs."""
    return {"$schema": _DIALECT, **Recipe.model_json_schema(), "title": "Limbeck recipe"}


def _method(method: Method) -> dict[str, Any] | list[dict[str, Any]]:
    return _short(dump_method(method))


def _short(parts: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """A map where every method stands once, else a list; the same for methods inside methods."""
    found = [
        (name, {**values, "of": _short(values["of"])} if "of" in values else values)
        for part in parts
        for name, values in part.items()
    ]
    if len({name for name, _ in found}) < len(found):
        return [{name: values} for name, values in found]
    return dict(found)


def _kind_first(value: Any) -> Any:
    """The same data, with each map's ``kind`` at its head."""
    if isinstance(value, dict):
        head = {"kind": value["kind"]} if "kind" in value else {}
        return head | {name: _kind_first(part) for name, part in value.items()}
    return [_kind_first(part) for part in value] if isinstance(value, list) else value


def _document(source: Path | str | Mapping[str, Any]) -> tuple[str, Document]:
    if isinstance(source, Mapping):
        return "recipe", Document(dict(source))
    if isinstance(source, str) and ("\n" in source or ": " in source):
        return "recipe", read(source)
    path = Path(source)
    return path.name, read(_text(path), source=path.name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        near = path.parent.glob("*.y*ml") if path.parent.is_dir() else ()
        hint = nearest(path.name, [other.name for other in near])
        raise UserError(
            f"The recipe {path} cannot be read ({error.strerror}).{hint} "
            "`limbeck new` lists recipes to start from."
        ) from error
