from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from limbeck.errors import RunError
from limbeck.evaluation import peak_memory


def linear(path: Path, width: int) -> Path:
    weight = numpy_helper.from_array(np.ones((16, width), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weight"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", width])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_large_file_needs_what_its_weights_need_more_than_a_small_one(tmp_path):
    small = peak_memory(linear(tmp_path / "small.onnx", 10), requests=2)
    large = peak_memory(linear(tmp_path / "large.onnx", 500_000), requests=2)  # 32 MB of weights
    assert 0 < small.model_mb < small.total_mb
    assert 32 <= large.model_mb - small.model_mb <= 200


def test_a_file_that_does_not_load_is_named(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(RunError, match=r"broken\.onnx could not be measured: .*"):
        peak_memory(broken)
