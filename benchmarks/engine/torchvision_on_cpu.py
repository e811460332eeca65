"""Make torchvision importable beside a CPU build of torch, for the benchmark alone.

What PyPI has was compiled against CUDA and does not load; only its Python part is needed here, which asks for two
operators when it is imported.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import torch


@functools.cache
def define_missing_operators() -> None:
    """Declare ``torchvision::nms`` and ``qnms`` where torchvision's compiled part cannot; a call still fails."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "torchvision is not installed; run this benchmark with `make bench NAME=engine`."
        )
    try:
        for library in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(library))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
