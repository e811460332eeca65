"""An fp32 ONNX file in, an int8 ONNX file out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from limbeck.compress.byte_input import ByteInput, byte_input, overrides, read_bytes
from limbeck.compress.compact import compact
from limbeck.compress.graph import nested, only_reader, producer
from limbeck.compress.operators import float_operators, operators, quantised_operators
from limbeck.compress.silence import silence
from limbeck.errors import ExportError
from limbeck.files import write_with

_FRONT: Final = ("Cast", "Transpose", "Reshape", "Add", "Sub", "Mul", "Div")


def quantize(
    source: Path, target: Path, calibration: NDArray[Any], *, batch_examples: int = 64
) -> dict[str, int]:
    """Write an int8 file for a fp32 one: static ranges, uint8 activations, int8 weights per channel.

    Logits stay floating point, and so does preprocessing in the graph.

    Args:
        source: An ONNX file with one input and a dynamic batch.
        target: The file to write, whole or not at all.
        calibration: Raw inputs ``[n, ...]`` that the ranges of activations are measured on.
        batch_examples: How many of them are run at a time.

    Returns:
        The operators that compute on integers, counted in the graph that onnxruntime makes of the file.

    Raises:
        ExportError: If onnxruntime cannot quantise the graph, or leaves a convolution or product in fp32.
    """
    if not len(calibration):
        raise ExportError(
            "onnx-int8 needs calibration samples and got 0. Raise export.calibration_examples or give data."
        )
    with tempfile.TemporaryDirectory() as folder, silence():
        try:
            model = _quantised(source, Path(folder), calibration, batch_examples)
        except Exception as error:  # onnxruntime raises whatever its parts raise, without a tree of its own
            raise ExportError(
                f"{source.name} cannot be quantised: {type(error).__name__}: {_first_line(error)} "
                "Leave 'onnx-int8' out of export.formats."
            ) from error
        counts = _checked(model, Path(folder) / "checked.onnx")
    write_with(target, lambda path: onnx.save(model, path))
    return counts


def _quantised(source: Path, folder: Path, calibration: NDArray[Any], batch_examples: int) -> onnx.ModelProto:
    prepared, quantised = folder / "prepared.onnx", folder / "quantised.onnx"
    quant_pre_process(source, prepared)  # folds normalisation into convolutions, infers shapes
    model = onnx.load(prepared)
    front = None if nested(model) else byte_input(model)
    quantization.quantize_static(
        prepared,
        quantised,
        _Calibration(model.graph.input[0].name, calibration, batch_examples),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        nodes_to_exclude=_preprocessing(model),
        extra_options={"TensorQuantOverrides": overrides(front)},
    )
    return _leaner(onnx.load(quantised), front)


def _leaner(model: onnx.ModelProto, front: ByteInput | None) -> onnx.ModelProto:
    if not nested(model):
        if front is not None:
            read_bytes(model, front)
        _keep_float_logits(model)
    return compact(model)


class _Calibration:
    """Raw samples in batches, as the quantiser asks for them."""

    def __init__(self, name: str, samples: NDArray[Any], batch_examples: int) -> None:
        self._batches: Iterator[dict[str, NDArray[Any]]] = (
            {name: samples[start : start + batch_examples]}
            for start in range(0, len(samples), batch_examples)
        )

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch; None after the last."""
        return next(self._batches, None)


def _preprocessing(model: onnx.ModelProto) -> list[str]:
    """The nodes that only move, cast, shift and scale the raw input."""
    names = []
    node = only_reader(model, model.graph.input[0].name)
    while node is not None and node.op_type in _FRONT:
        names.append(node.name)
        node = only_reader(model, node.output[0])
    return names


def _keep_float_logits(model: onnx.ModelProto) -> None:
    """The last product can give float logits: rounding them to eight bits would cost time and answers."""
    logits = model.graph.output[0].name
    dequantize = producer(model, logits)
    quantize_ = None if dequantize is None else producer(model, dequantize.input[0])
    if dequantize is None or quantize_ is None or quantize_.op_type != "QuantizeLinear":
        return
    last = producer(model, quantize_.input[0])
    if last is None or only_reader(model, last.output[0]) is None:
        return
    if dequantize.op_type == "DequantizeLinear" and last.op_type in ("Gemm", "MatMul"):
        dequantize.output[0] = f"{logits}_rounded"
        last.output[0] = logits
        quantize_.input[0] = logits


def _checked(model: onnx.ModelProto, path: Path) -> dict[str, int]:
    onnx.save(model, path)
    counts = operators(path)
    if left := float_operators(counts):
        listed = ", ".join(f"{count} {name}" for name, count in sorted(left.items()))
        raise ExportError(
            f"onnxruntime leaves {listed} of the int8 graph in fp32 (it has no integer kernel for them), "
            "so the file would be neither small nor quick. Leave 'onnx-int8' out of export.formats or "
            "replace these layers."
        )
    return quantised_operators(counts)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")[:300] + "."
