"""A student as an ONNX file: raw input in, logits out, any number of examples at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import onnx
import torch
from torch.export import Dim, ExportedProgram

from limbeck.compress.silence import silence
from limbeck.errors import ExportError
from limbeck.export.lean import lean
from limbeck.files import write_with

_OPSET: Final = 20
_MISSING: Final = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write an fp32 ONNX file, whole or not at all.

    Args:
        program: What :func:`limbeck.export.traced` made.
        path: The file. Its input is ``raw``, its output ``logits``, the first dimension of both ``batch``.

    Raises:
        ExportError: If an operator has no counterpart in ONNX; the message names it and where it is used.
    """
    model = converted(program)
    write_with(path, lambda beside: onnx.save(model, beside))


def converted(program: ExportedProgram) -> onnx.ModelProto:
    """The ONNX graph of a traced student, made lean."""
    with silence():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                input_names=["raw"],
                output_names=["logits"],
                dynamic_shapes=({0: Dim("batch")},),
                opset_version=_OPSET,
                verbose=False,
            )
        except Exception as error:  # the exporter's own tree of errors is not public
            raise ExportError(_reason(program, error)) from error
    if made is None:
        raise ExportError(
            "torch.onnx.export made no graph. Leave 'onnx' and 'onnx-int8' out of export.formats."
        )
    return lean(made.model_proto)


def _reason(program: ExportedProgram, error: Exception) -> str:
    cure = "Replace it, or leave 'onnx' and 'onnx-int8' out of export.formats ('pt2' can hold it)."
    found = _MISSING.search(str(error))
    if found is None:
        lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
        return f"the student cannot be written as ONNX: {(lines or [type(error).__name__])[0][:200]}. {cure}"
    return f"operator {found[1]}{_place(program, found[1])} has no counterpart in ONNX. {cure}"


def _place(program: ExportedProgram, operator: str) -> str:
    """`` (in student.head, Odd; model.py:12)``, where the traced graph tells."""
    for node in program.graph.nodes:
        if node.op == "call_function" and operator.split(".")[-1].lstrip("_") in str(node.target):
            path, owner = [*(node.meta.get("nn_module_stack") or {"": ("", "")}).values()][-1]
            lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
            code = f"; {Path(lines[-1][0]).name}:{lines[-1][1]}" if lines else ""
            return f" (in {path or 'the student'}, {str(owner).rsplit('.', 1)[-1]}{code})"
    return ""
