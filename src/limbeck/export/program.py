"""The graph of a student as torch sees it, and the ``.pt2`` file that holds it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from limbeck.compress.silence import silence
from limbeck.errors import ExportError
from limbeck.export.deployed import Deployed
from limbeck.files import write_bytes

_SHOWN: Final = 200


def traced(deployed: Deployed, example: Tensor) -> ExportedProgram:
    """The graph of a student, for any number of examples at once.

    Args:
        deployed: The student with its preprocessing.
        example: Raw samples ``[n, ...]``, at least one; only their shape and type matter.

    Raises:
        ExportError: If the student's code branches on values, fixes the number of examples, or otherwise
            cannot be traced; the message names the place.
    """
    several = torch.cat([example, example])[: max(2, len(example))]  # a batch of one would be taken as fixed
    with silence(), torch.no_grad():
        try:
            return torch.export.export(deployed, (several,), dynamic_shapes=({0: Dim("batch", min=1)},))
        except Exception as error:  # what torch.export raises has no root of its own
            raise ExportError(_reason(deployed, error)) from error


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write a ``.pt2`` file, whole or not at all; torch alone runs it, without the student's code.

    The program loses its stack traces: they would carry this machine's paths into the file.
    """
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    written = io.BytesIO()
    with silence():
        torch.export.save(program, written)
    write_bytes(path, written.getvalue())


def _reason(deployed: Deployed, error: Exception) -> str:
    text = str(error)
    student = type(deployed.student).__name__
    if "data-dependent" in text or "GuardOnDataDependent" in type(error).__name__:
        return (
            f"{student} cannot be exported: its forward branches on the values of a tensor{_place(text)}. "
            "Use torch.where or torch.cond there, or leave only 'safetensors' in export.formats."
        )
    if "Constraints violated" in text or "specialized" in text:
        return (
            f"{student} cannot be exported for any number of examples: its forward fixes the batch size. Use "
            "inputs.shape[0] or -1 in reshapes, or leave only 'safetensors' in export.formats."
        )
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return (
        f"{student} cannot be exported: torch.export says {line[:_SHOWN]!r}{_place(text)}. "
        "Change that part of its forward, or leave only 'safetensors' in export.formats."
    )


def _place(text: str) -> str:
    """`` (file.py:12, in forward)`` from what torch reports of the user's code, where it does."""
    lines = [line.strip() for line in text.splitlines()]
    frames = [line for line in lines if line.startswith('File "') and "site-packages/torch/" not in line]
    if not frames:
        return ""
    file, line, *function = frames[-1].removeprefix('File "').split(", ")
    name = Path(file.rstrip('"')).name
    return f" ({name}:{line.removeprefix('line ')}{', ' + function[0] if function else ''})"
