"""What a file runs as: operators counted in the graph that onnxruntime makes of it."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import onnx
import onnxruntime

_QUANTISED: Final = (
    "QLinear",
    "QGemm",
    "QAttention",
    "MatMulInteger",
    "ConvInteger",
    "DynamicQuantizeMatMul",
)
_HEAVY: Final = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


def operators(path: Path) -> dict[str, int]:
    """How often each operator stands in the optimised graph of an ONNX file.

    The optimisation goes as far as it can without depending on this machine's memory layouts.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return dict(Counter(node.op_type for node in onnx.load(optimised).graph.node))


def quantised_operators(counts: dict[str, int]) -> dict[str, int]:
    """Those of :func:`operators` that compute on integers."""
    return {name: count for name, count in counts.items() if name.startswith(_QUANTISED)}


def float_operators(counts: dict[str, int]) -> dict[str, int]:
    """Those of :func:`operators` that an int8 file should have none of: convolutions and products in fp32."""
    return {name: count for name, count in counts.items() if name in _HEAVY}
