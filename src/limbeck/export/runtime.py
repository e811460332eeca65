"""Written files as plain functions: raw samples in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck.compress.silence import silence
from limbeck.errors import ExportError, ModelError
from limbeck.export.deployed import Deployed
from limbeck.export.onnx import converted
from limbeck.export.program import traced
from limbeck.threads import FILE_THREADS, session_options

_LARGEST_GRAPH: Final = 2**31

Runner = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Raw samples ``[n, ...]`` to logits ``[n, classes]``."""


def open_onnx(path: Path, threads: int = FILE_THREADS) -> Runner:
    """An ONNX file in onnxruntime on the CPU.

    Args:
        path: An ONNX file with one input.
        threads: Threads of this session. Operators run one after another, and no thread waits by spinning.

    Raises:
        ModelError: If onnxruntime cannot load the file.
    """
    return _opened(str(path), threads, str(path))


def onnx_engine(module: nn.Module, example: Tensor, threads: int = 1) -> Callable[[Tensor], Tensor]:
    """A model's answers from onnxruntime on the CPU, without a file.

    Args:
        module: From model inputs to logits, as it stands; later changes of its weights do not show.
        example: One or more inputs; only their shape and type matter.
        threads: As in :func:`open_onnx`.

    Raises:
        ExportError: If the model cannot be written as ONNX.
    """
    made = converted(traced(Deployed(module, nn.Identity()), example.cpu()))
    name = type(module).__name__
    if made.ByteSize() >= _LARGEST_GRAPH:
        raise ExportError(
            f"{name} takes {made.ByteSize() / 1e9:.1f} GB, and an ONNX graph at most 2; ask it in torch."
        )
    run = _opened(made.SerializeToString(), threads, name)
    return lambda inputs: torch.from_numpy(run(np.ascontiguousarray(inputs.cpu().float().numpy())))


def _opened(graph: str | bytes, threads: int, owner: str) -> Runner:
    options = session_options(threads)
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but this
        raise ModelError(
            f"{owner} cannot be loaded by onnxruntime: {error}. Export the student again."
        ) from error
    run, name = session.run, session.get_inputs()[0].name

    def answer(raw: NDArray[Any]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = run(None, {name: raw})[0]
        return logits

    return answer


def open_program(path: Path) -> Runner:
    """A ``.pt2`` file in torch, on as many threads as torch has now.

    Raises:
        ModelError: If torch cannot load the file.
    """
    with silence():
        try:
            module = torch.export.load(path).module()
        except Exception as error:  # anything from a zip error to a schema mismatch
            raise ModelError(
                f"{path} cannot be loaded by torch.export: {error}. Export the student again."
            ) from error
    return _runner(module)


def open_module(deployed: Deployed) -> Runner:
    """A student in torch, as it was trained: what every file is compared with."""
    return _runner(deployed)


def _runner(module: nn.Module) -> Runner:
    def answer(raw: NDArray[Any]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = module(torch.from_numpy(raw)).numpy()
        return logits

    return answer
