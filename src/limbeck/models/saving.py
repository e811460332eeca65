"""A student on disk: its weights, and how to build the module that holds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import nn

from limbeck.errors import ModelError
from limbeck.files import read_json, write_bytes, write_json
from limbeck.models.architecture import Architecture, Network
from limbeck.models.config import kinds
from limbeck.models.ensemble import TeacherModel
from limbeck.models.inspection import count_parameters, state_digest
from limbeck.models.weights import load_weights

_SCHEMA = 1


def save_student(
    folder: Path,
    module: nn.Module,
    *,
    config: Architecture | None = None,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder.

    Args:
        folder: Made if it is not there.
        module: The student; its weights are written contiguous, on the CPU, in their own number format.
        config: How to rebuild it; a :class:`Network` knows by itself. None for any other module records it
            as not rebuildable.
        shape: One input, without the batch; a :class:`Network` knows.
        classes: Number of logits; a :class:`Network` knows.
    """
    if isinstance(module, Network):
        config, shape, classes = module.config, module.shape, module.classes
    tensors = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()
    }
    write_bytes(folder / "model.safetensors", save(tensors))
    named = config is not None and config.kind in (*kinds(), "ensemble")
    rebuildable = named and shape is not None and classes is not None
    facts = {
        "schema": _SCHEMA,
        "model": config.model_dump(mode="json") if config is not None else None,
        "rebuildable": rebuildable,
        "class": f"{type(module).__module__}.{type(module).__qualname__}",
        "shape": list(shape) if shape is not None else None,
        "classes": classes,
        "parameters": count_parameters(module),
        "digest": state_digest(module),
    }
    write_json(folder / "model.json", facts)


def load_student(folder: Path, *, build: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Build a saved student again, in eval mode, with its weights.

    Args:
        folder: What :func:`save_student` wrote.
        build: Makes an untrained module of the same class; needed only for a student that is not rebuildable.

    Raises:
        ModelError: If files are missing or damaged, or the student came from an object that exists only in
            Python and ``build`` is not given.
    """
    file = folder / "model.json"
    if not file.is_file():
        raise ModelError(f"{folder} holds no student: {file} is missing. Give the folder that a run wrote.")
    facts = read_json(file)
    module = build() if build is not None else _build(facts, folder)
    load_weights(module, folder)
    return module.eval()


def _build(facts: dict[str, Any], folder: Path) -> nn.Module:
    if not facts.get("rebuildable"):
        raise ModelError(
            f"{folder}: the student was a {facts.get('class')} that existed only in Python, so it cannot be "
            "built again from the folder. Pass build=, a function that returns an untrained one."
        )
    try:
        config: Architecture = TypeAdapter(TeacherModel).validate_python(_without_weights(facts["model"]))
    except ValidationError as error:
        raise ModelError(f"{folder / 'model.json'} cannot be read: {error.errors()[0]['msg']}.") from error
    return config.build(tuple(facts["shape"]), facts["classes"])


def _without_weights(model: dict[str, Any]) -> dict[str, Any]:
    """The weights it started from are not needed any more, and may be gone."""
    kept = {name: value for name, value in model.items() if name != "weights"}
    if "members" in kept:
        members = [_without_weights(member) for member in kept["members"]]
        kept["members"] = [{**member, "model": _without_weights(member["model"])} for member in members]
    return kept
