"""How many threads compute: the one place where torch, BLAS, onnxruntime and child processes are told.

Who asks says a number, which comes from the plan (or is 1); nothing else in the package sets one. What the numbers
were is part of a run's provenance.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from limbeck.errors import UserError

if TYPE_CHECKING:
    import onnxruntime

FILE_THREADS: Final = 1
"""What an exported file is run and timed on."""

_TRUE: Final = frozenset({"true", "1", "yes", "on"})


def cores() -> int:
    """Cores that this process may use."""
    if affinity := getattr(os, "sched_getaffinity", None):
        return len(affinity(0))
    return os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads within a block, and as many as before after it."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def all_threads(count: int) -> Iterator[None]:
    """The same for torch and for the BLAS of numpy, scipy and scikit-learn; takes milliseconds to enter."""
    with threads(count), threadpool_limits(count, user_api="blas"):
        yield


def session_options(count: int) -> onnxruntime.SessionOptions:
    """Options of an onnxruntime session on ``count`` threads.

    Operators run one after another, and no thread waits by spinning.
    """
    import onnxruntime  # only those who open a session pay for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def environment(count: int) -> dict[str, str]:
    """The environment of a process that shall compute on ``count`` threads, whatever library it loads.

    Threads that wait sleep instead of spinning, as in this process.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(count)), "OMP_WAIT_POLICY": "passive"}


def refuse_dynamic_threads() -> None:
    """Refuse ``OMP_DYNAMIC=true``: OpenMP then changes its threads at will, and training can hang.

    Raises:
        UserError: If the environment asks for it.
    """
    value = os.environ.get("OMP_DYNAMIC", "")
    if value.strip().lower() in _TRUE:
        raise UserError(
            f"OMP_DYNAMIC is {value!r} in the environment; with it training can hang. "
            "Expected false: run `unset OMP_DYNAMIC` and start again."
        )


def recorded(count: int) -> dict[str, Any]:
    """What a run is told to compute on, for its record.

    Args:
        count: Of the stages that compute alone in the main process; workers are told by :func:`environment`.

    Returns:
        ``cores`` of the machine; ``torch``, ``onnxruntime`` and ``blas`` threads of the main process; ``libraries``:
        each BLAS that is loaded, with its version; ``wait_policy`` of OpenMP.
    """
    found = (library for library in threadpool_info() if library["user_api"] == "blas")
    libraries = sorted({f"{library['internal_api']} {library['version']}" for library in found})
    return {
        "cores": cores(),
        "torch": count,
        "onnxruntime": FILE_THREADS,
        "blas": count,
        "libraries": libraries,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
    }
