"""Small surgery on ONNX graphs: read and replace constants, find readers, drop what nobody reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The graph's constants by name."""
    return {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}


def set_constant(model: onnx.ModelProto, name: str, value: NDArray[Any]) -> None:
    """Replace a constant, or add one."""
    fresh = numpy_helper.from_array(np.ascontiguousarray(value), name)
    for entry in model.graph.initializer:
        if entry.name == name:
            entry.CopyFrom(fresh)
            return
    model.graph.initializer.append(fresh)


def readers(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    """The nodes that read a tensor."""
    return [node for node in model.graph.node if name in node.input]


def only_reader(model: onnx.ModelProto, name: str) -> onnx.NodeProto | None:
    """The one node that reads a tensor; None where there are several, or where the tensor is an output."""
    found = readers(model, name)
    is_output = any(entry.name == name for entry in model.graph.output)
    return found[0] if len(found) == 1 and not is_output else None


def producer(model: onnx.ModelProto, name: str) -> onnx.NodeProto | None:
    """The node that writes a tensor; None for inputs and constants."""
    return next((node for node in model.graph.node if name in node.output), None)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute, or ``default``."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def nested(model: onnx.ModelProto) -> bool:
    """Whether a node holds a graph of its own, which may read tensors by name from outside."""
    return any(
        entry.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        for node in model.graph.node
        for entry in node.attribute
    )


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Put these nodes, in topological order, in the place of all others."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def drop_unread(model: onnx.ModelProto) -> None:
    """Remove nodes and constants that no output depends on. The graph must not be nested."""
    wanted = {entry.name for entry in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
    replace_nodes(model, reversed(kept))
    read = [entry for entry in model.graph.initializer if entry.name in wanted]
    entries = [onnx.TensorProto.FromString(entry.SerializeToString()) for entry in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(entries)
