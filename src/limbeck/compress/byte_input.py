"""An int8 graph that reads raw bytes as they are: a byte already is a quantised number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from limbeck.compress.graph import constants, only_reader, producer


@dataclass(frozen=True, slots=True)
class ByteInput:
    """The front of a graph: bytes, moved about, cast, and shifted by one constant."""

    bytes_: str
    """The tensor of bytes that is cast."""
    shifted: str
    """The float tensor that the first layer reads."""
    zero: int
    """The byte that stands for zero there: the shift, rounded."""


def byte_input(model: onnx.ModelProto) -> ByteInput | None:
    """Find a front whose answer, quantised with scale 1, is the raw byte itself.

    Rounding the shift moves every input by half a grey level at most, which is as much as rounding to eight
    bits may move each of them anyway.
    """
    raw = model.graph.input[0]
    if raw.type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        return None
    moved = raw.name
    node = only_reader(model, moved)
    while node is not None and node.op_type in ("Transpose", "Reshape"):
        moved = node.output[0]
        node = only_reader(model, moved)
    if node is None or node.op_type != "Cast":
        return None
    return _shifted(model, moved, only_reader(model, node.output[0]))


def _shifted(model: onnx.ModelProto, moved: str, add: onnx.NodeProto | None) -> ByteInput | None:
    known = constants(model)
    if add is None or add.op_type != "Add" or add.input[1] not in known:
        return None
    shift = known[add.input[1]]
    zero = int(np.rint(-shift.ravel()[0])) if shift.size else -1
    if shift.size != 1 or not 0 <= zero <= 255:
        return None
    return ByteInput(bytes_=moved, shifted=add.output[0], zero=zero)


def overrides(front: ByteInput | None) -> dict[str, list[dict[str, Any]]]:
    """The quantiser's range for that tensor: one step a byte."""
    if front is None:
        return {}
    zero, scale = np.array(front.zero, np.uint8), np.array(1, np.float32)
    return {front.shifted: [{"scale": scale, "zero_point": zero}]}


def read_bytes(model: onnx.ModelProto, front: ByteInput) -> None:
    """Take cast, shift and quantisation out of a quantised graph, where together they change no byte."""
    known = constants(model)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] == front.shifted:
            add = producer(model, front.shifted)
            if add is not None and _keeps_bytes(
                known[add.input[1]], *(known[name] for name in node.input[1:])
            ):
                dequantize = only_reader(model, node.output[0])
                if dequantize is not None:
                    dequantize.input[0] = front.bytes_


def _keeps_bytes(shift: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any]) -> bool:
    levels = np.arange(256)
    steps = np.rint((levels.astype(np.float32) + shift.ravel()) / scale) + zero
    return zero.dtype == np.uint8 and np.array_equal(np.clip(steps, 0, 255), levels)
