"""The same ONNX graph with less to do: preprocessing is moved, joined, and folded into the first layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from limbeck.compress import graph
from limbeck.compress.compact import compact

_ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite a graph in place so that a small net spends its time on its layers.

    Bytes are transposed before they are cast; ``((x * a) - b) / c`` becomes one shift, with the scale folded
    into the first convolution or product. That is exact (up to rounding) with zero padding too: the shift is
    taken before the scale, so that zero stays zero. A mean over the image becomes a global average
    pool, which onnxruntime computes in place and in integers.
    """
    if not graph.nested(model):
        front = _front(model)
        if front is not None:
            _rewrite(model, front)
        _pool(model)
    return compact(model)


@dataclass(slots=True)
class _Front:
    """The nodes between the raw input and the first layer, as one ``x * scale + shift``."""

    nodes: list[onnx.NodeProto]
    transpose: onnx.NodeProto | None
    cast: onnx.NodeProto | None
    tensor: str
    """What the first layer reads."""
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def _front(model: onnx.ModelProto) -> _Front | None:
    known = graph.constants(model)
    front = _Front([], None, None, model.graph.input[0].name, np.ones(1), np.zeros(1))
    node = graph.only_reader(model, front.tensor)
    while node is not None and _absorb(front, node, known):
        front.nodes.append(node)
        front.tensor = node.output[0]
        node = graph.only_reader(model, front.tensor)
    arithmetic = any(node.op_type in _ARITHMETIC for node in front.nodes)
    return front if arithmetic and graph.readers(model, front.tensor) else None


def _absorb(front: _Front, node: onnx.NodeProto, known: dict[str, NDArray[Any]]) -> bool:
    """Take one more node into the front, if it is one of those that this can handle."""
    begun = any(earlier.op_type in _ARITHMETIC for earlier in front.nodes)
    if node.op_type == "Cast" and not begun and graph.attribute(node, "to", 0) == onnx.TensorProto.FLOAT:
        front.cast = node
        return True
    if node.op_type == "Transpose" and not begun and front.transpose is None:
        front.transpose = node
        return True
    if node.op_type not in _ARITHMETIC or node.input[1] not in known:
        return False
    value = known[node.input[1]].astype(np.float64)
    if value.size > 1 and (value.ndim < 2 or value.shape[1] != value.size):
        return False  # only constants of one value, or one for each channel
    if node.op_type in ("Mul", "Div") and not (np.isfinite(value).all() and value.all()):
        return False
    _apply(front, node.op_type, value)
    return True


def _apply(front: _Front, operator: str, value: NDArray[np.float64]) -> None:
    if operator in ("Mul", "Div"):
        factor = value if operator == "Mul" else 1 / value
        front.scale, front.shift = front.scale * factor, front.shift * factor
    else:
        front.shift = front.shift + (value if operator == "Add" else -value)


def _rewrite(model: onnx.ModelProto, front: _Front) -> None:
    steps = _steps(model, front)
    made, tensor = [], model.graph.input[0].name
    for number, (operator, constant, options) in enumerate(steps):
        name = f"{front.tensor}_front{number}"
        inputs = [tensor]
        if constant is not None:
            inputs.append(f"{name}_constant")
            graph.set_constant(model, inputs[1], constant.astype(np.float32))
        tensor = front.tensor if number == len(steps) - 1 else name
        made.append(helper.make_node(operator, inputs, [tensor], name, **options))
    gone = {node.output[0] for node in front.nodes}
    graph.replace_nodes(model, [*made, *(node for node in model.graph.node if node.output[0] not in gone)])
    if not steps:
        _read_instead(model, front.tensor, tensor)


def _steps(model: onnx.ModelProto, front: _Front) -> list[tuple[str, NDArray[Any] | None, dict[str, Any]]]:
    """Operator, constant and attributes. The shift comes first: what it cancels is not rounded before."""
    steps: list[tuple[str, NDArray[Any] | None, dict[str, Any]]] = []
    if front.transpose is not None:
        steps.append(("Transpose", None, {"perm": graph.attribute(front.transpose, "perm", None)}))
    if front.cast is not None:
        steps.append(("Cast", None, {"to": onnx.TensorProto.FLOAT}))
    if front.shift.any():
        steps.append(("Add", front.shift / front.scale, {}))
    if not (np.all(front.scale == 1) or _fold(model, front)):
        steps.append(("Mul", front.scale, {}))
    return steps


def _read_instead(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in graph.readers(model, old):
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def _fold(model: onnx.ModelProto, front: _Front) -> bool:
    """Multiply the scale into the weights of the layer that reads the front, where there is exactly one."""
    known, scale, read = graph.constants(model), front.scale.ravel(), front.tensor
    layer = graph.only_reader(model, read)
    while layer is not None and layer.op_type in ("Flatten", "Reshape") and scale.size == 1:
        read = layer.output[0]
        layer = graph.only_reader(model, read)
    if layer is None or len(layer.input) < 2 or layer.input[0] != read:
        return False
    name = layer.input[1]
    if name not in known or len(graph.readers(model, name)) != 1:
        return False
    weight = known[name]
    if layer.op_type == "Conv" and graph.attribute(layer, "group", 1) == 1:
        axis = 1
    elif layer.op_type == "Gemm" and not graph.attribute(layer, "transA", 0):
        axis = 1 if graph.attribute(layer, "transB", 0) else 0
    else:
        return False
    shape = [scale.size if place == axis else 1 for place in range(weight.ndim)]
    graph.set_constant(model, name, (weight * scale.reshape(shape)).astype(weight.dtype))
    return True


def _pool(model: onnx.ModelProto) -> None:
    known = graph.constants(model)
    ranks = {entry.name: len(entry.type.tensor_type.shape.dim) for entry in model.graph.value_info}
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or ranks.get(node.input[0]) != 4 or len(node.input) != 2:
            continue
        axes = sorted(int(axis) % 4 for axis in known.get(node.input[1], np.zeros(0)).ravel())
        if axes == [2, 3] and graph.attribute(node, "keepdims", 1):
            node.op_type = "GlobalAveragePool"
            node.ClearField("attribute")
            del node.input[1:]
