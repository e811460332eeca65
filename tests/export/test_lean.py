"""A leaner graph computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from limbeck.export.lean import lean

RAW = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3)).astype(np.uint8)


def _column(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def _model(layer: str, *, pads: int = 1, group: int = 1) -> onnx.ModelProto:
    node, draw = helper.make_node, np.random.default_rng(1)
    constants = {
        "byte": np.array(1 / 255, np.float32),
        "mean": _column(0.2, 0.5, 0.7),
        "std": _column(0.3, 0.1, 0.25),
        "kernel": draw.normal(size=(6, 3 // group, 3, 3)).astype(np.float32),
        "axes": np.array([-1, -2]),
    }
    nodes = [
        node("Cast", ["raw"], ["float"], "cast", to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["moved"], "transpose", perm=[0, 3, 1, 2]),
        node("Mul", ["moved", "byte"], ["unit"], "unit"),
        node("Sub", ["unit", "mean"], ["centred"], "centre"),
        node("Div", ["centred", "std"], ["standard"], "standard"),
        node("Conv", ["standard", "kernel"], ["features"], "convolution", pads=[pads] * 4, group=group),
        node("ReduceMean", ["features", "axes"], ["logits"], "mean", keepdims=1),
    ]
    if layer == "twice":
        nodes[-1] = node("ReduceMean", ["features", "axes"], ["pooled"], "mean", keepdims=1)
        nodes.append(node("ReduceMax", ["standard"], ["highest"], "highest"))
        nodes.append(node("Add", ["pooled", "highest"], ["logits"], "both"))
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("raw", TensorProto.UINT8, ["batch", 6, 7, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 6, 1, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 6, None, None])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _answer(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"raw": RAW})[0]


CASES = {
    "padded": ({"layer": "once"}, ["Transpose", "Cast", "Add", "Conv", "GlobalAveragePool"]),
    "not padded": (
        {"layer": "once", "pads": 0},
        ["Transpose", "Cast", "Add", "Conv", "GlobalAveragePool"],
    ),
    "depthwise": (
        {"layer": "once", "group": 3},
        ["Transpose", "Cast", "Add", "Mul", "Conv", "GlobalAveragePool"],
    ),
    "read twice": (
        {"layer": "twice"},
        ["Transpose", "Cast", "Add", "Mul", "Conv", "GlobalAveragePool", "ReduceMax", "Add"],
    ),
}


@pytest.mark.parametrize(("options", "expected"), CASES.values(), ids=CASES)
def test_less_is_done_for_the_same_answer(options: dict, expected: list[str]) -> None:
    before = _answer(_model(**options))
    after = lean(_model(**options))
    onnx.checker.check_model(after)
    assert [node.op_type for node in after.graph.node] == expected
    np.testing.assert_allclose(_answer(after), before, rtol=1e-5, atol=1e-5)


def test_features_far_from_zero_lose_no_digits() -> None:
    draw = np.random.default_rng(3)
    constants = {
        "mean": np.full((1, 4), 1e5, np.float32),
        "std": np.full((1, 4), 0.5, np.float32),
        "weight": draw.normal(size=(4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["raw", "mean"], ["centred"], "centre"),
        helper.make_node("Div", ["centred", "std"], ["standard"], "standard"),
        helper.make_node("Gemm", ["standard", "weight"], ["logits"], "head"),
    ]
    made = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = lean(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    assert [node.op_type for node in model.graph.node] == ["Add", "Gemm"]
    raw = (1e5 + draw.normal(size=(8, 4))).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    exact = (raw.astype(np.float64) - 1e5) / 0.5 @ constants["weight"].astype(np.float64)
    np.testing.assert_allclose(session.run(None, {"raw": raw})[0], exact, rtol=1e-5, atol=1e-5)
