"""Compacting changes what a file weighs, never what it answers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from limbeck.compress import compact


def _model() -> onnx.ModelProto:
    twin = np.arange(6, dtype=np.float32).reshape(2, 3)
    nodes = [
        helper.make_node("MatMul", ["raw", "a.long.name"], ["a.hidden.tensor"], "first.node"),
        helper.make_node("MatMul", ["raw", "the.same.again"], ["another.tensor"], "second.node"),
        helper.make_node("Add", ["a.hidden.tensor", "another.tensor"], ["logits"], "last.node"),
        helper.make_node("Neg", ["a.hidden.tensor"], ["nobody.reads"], "dead.node"),
    ]
    nodes[0].metadata_props.add(key="stack_trace", value="/home/somebody/secret.py")
    nodes[1].doc_string = "made on a machine of mine"
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(twin, "a.long.name"), numpy_helper.from_array(twin, "the.same.again")],
        value_info=[helper.make_tensor_value_info("a.hidden.tensor", TensorProto.FLOAT, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _answer(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"raw": np.array([[1, -2], [3, 5]], np.float32)})[0]


def test_the_answer_and_the_names_of_input_and_output_stay() -> None:
    before = _answer(_model())
    after = compact(_model())
    onnx.checker.check_model(after)
    np.testing.assert_array_equal(_answer(after), before)


def test_equal_constants_are_stored_once_and_dead_nodes_go() -> None:
    after = compact(_model())
    assert len(after.graph.initializer) == 1
    assert [node.op_type for node in after.graph.node] == ["MatMul", "MatMul", "Add"]


def test_nothing_of_the_machine_stays_in_the_file() -> None:
    written = compact(_model()).SerializeToString()
    for trace in (b"secret", b"machine of mine", b"long.name"):
        assert trace not in written


def test_compacting_twice_changes_nothing_more() -> None:
    once = compact(_model()).SerializeToString()
    assert compact(onnx.ModelProto.FromString(once)).SerializeToString() == once
