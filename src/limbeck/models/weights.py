"""Weights from a file into a module, without running anything that the file holds."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from limbeck.errors import ModelError, nearest

_SHOWN = 5


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Fill a module with the weights of a file; every name and every shape must fit.

    Args:
        module: Changed in place, and only if everything fits.
        path: As for :func:`read_weights`.

    Raises:
        ModelError: If the file cannot be read, or names or shapes differ; they are listed.
    """
    weights = read_weights(path)
    expected = module.state_dict()
    differences = _differences(weights, expected)
    if differences:
        body = "\n".join(f"  {line}" for line in differences)
        raise ModelError(f"{path} does not fit {type(module).__name__}:\n{body}")
    module.load_state_dict(weights)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The named tensors in a file, on the CPU.

    Args:
        path: A ``.safetensors`` file, a state dict that torch saved (read weights-only; one wrapped as
            ``{"state_dict": ...}`` too), or a folder that holds ``model.safetensors``.

    Raises:
        ModelError: If there is no such file, it is damaged, holds code, or holds numbers that are not finite.
    """
    file = Path(path).expanduser()
    file = file / "model.safetensors" if file.is_dir() else file
    if not file.is_file():
        siblings = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
        raise ModelError(f"there is no weights file {file}.{nearest(file.name, siblings)}")
    weights = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(f"{file}: {name} holds numbers that are not finite. Load another checkpoint.")
    return weights


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"{file} is not a whole safetensors file ({error}). Save or copy it again."
        ) from error


def _read_torch(file: Path) -> dict[str, Tensor]:
    try:
        value: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file} holds more than tensors, and Limbeck does not run code from a weights file. "
            "Save `model.state_dict()` instead of the model, or use safetensors."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{file} is not a whole torch file. Save or copy it again.") from error
    if isinstance(value, Mapping) and isinstance(value.get("state_dict"), Mapping):
        value = value["state_dict"]
    if not isinstance(value, Mapping) or not all(isinstance(tensor, Tensor) for tensor in value.values()):
        raise ModelError(f"{file} must hold a state dict (names and tensors). Save `model.state_dict()`.")
    return {str(name): tensor for name, tensor in value.items()}


def _differences(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    wrong = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    lines = []
    if missing:
        lines.append(
            f"missing in the file ({len(missing)}): {_some(missing)}.{nearest(missing[0], unexpected)}"
        )
    if unexpected:
        lines.append(f"not in the model ({len(unexpected)}): {_some(unexpected)}.")
    if wrong:
        shapes = [f"{name} {list(weights[name].shape)} for {list(expected[name].shape)}" for name in wrong]
        lines.append(f"another shape ({len(wrong)}; file for model): {_some(shapes)}.")
    return lines + _other_classes(wrong, weights, expected)


def _other_classes(
    wrong: list[str], weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> list[str]:
    last = list(expected)[-1:]
    if not wrong or last[0] not in wrong or len({len(weights[name]) for name in wrong}) != 1:
        return []
    there, here = len(weights[last[0]]), len(expected[last[0]])
    return [
        f"the file is for {there} classes and the model for {here}: use data and weights of one class count."
    ]


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
