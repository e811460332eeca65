"""A smaller file for the same graph: no traces of its making, short names, no constant twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import onnx

from limbeck.compress.graph import drop_unread, nested


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Strip and rename a graph in place; what it computes, its inputs and its outputs stay.

    Exporters leave stack traces (with the paths of the machine), shapes of every tensor and long names in the
    file. For a small net they are larger than the weights.
    """
    _strip(model)
    if not nested(model):
        drop_unread(model)
        _share_constants(model)
        _shorten(model)
    return model


def _strip(model: onnx.ModelProto) -> None:
    graph = model.graph
    described: list[Any] = [
        model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *model.functions,
        *(node for function in model.functions for node in function.node),
    ]  # fmt: skip
    for part in described:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del graph.value_info[:]
    if not nested(model):
        domains = {"", *(node.domain for node in graph.node)}
        used = [entry for entry in model.opset_import if entry.domain in domains or model.functions]
        kept = [onnx.OperatorSetIdProto.FromString(entry.SerializeToString()) for entry in used]
        del model.opset_import[:]
        model.opset_import.extend(kept)


def _share_constants(model: onnx.ModelProto) -> None:
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    for entry in model.graph.initializer:
        anonymous = onnx.TensorProto.FromString(entry.SerializeToString())
        anonymous.ClearField("name")
        same[entry.name] = first.setdefault(anonymous.SerializeToString(), entry.name)
    _rename_reads(model, same)
    drop_unread(model)


def _rename_reads(model: onnx.ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        renamed = [names.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(renamed)


def _shorten(model: onnx.ModelProto) -> None:
    graph = model.graph
    fixed = {entry.name for entry in (*graph.input, *graph.output)}
    fresh = _fresh_names(fixed)
    inner = [entry.name for entry in graph.initializer]
    inner += [name for node in graph.node for name in node.output]
    names = {name: next(fresh) for name in inner if name and name not in fixed}
    _rename_reads(model, names)
    for entry in graph.initializer:
        entry.name = names.get(entry.name, entry.name)
    for number, node in enumerate(graph.node):
        written = [names.get(name, name) for name in node.output]
        del node.output[:]
        node.output.extend(written)
        node.name = f"{node.op_type}{number}"


def _fresh_names(taken: set[str]) -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    for size in itertools.count(1):
        for name in map("".join, itertools.product(letters, repeat=size)):
            if name not in taken:
                yield name
