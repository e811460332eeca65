"""The page on the store's format, read by a program that knows nothing else, fits every kind."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from limbeck.data import Arrays, Preprocessing
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import (
    DenseAnswers,
    Embeddings,
    Features,
    Keep,
    SampledAnswers,
    TopKAnswers,
    TopKSampledAnswers,
    Values,
    label,
    open_store,
    store_key,
)
from limbeck.teachers.store.keeping import KINDS
from limbeck.types import CLEAN

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "target-store.md").read_text()
KEPT = [
    DenseAnswers(dtype="float32"), DenseAnswers(dtype="int8"), DenseAnswers(of="probabilities"), TopKAnswers(k=2),
    TopKAnswers(k=9), TopKSampledAnswers(k=2, draws=3), SampledAnswers(draws=3),
    SampledAnswers(draws=3, draw_temperature=2.0), Values(dtype="int8"), Embeddings(),
]  # fmt: skip


@pytest.mark.parametrize("kind", KEPT, ids=str)
def test_another_program_finds_every_record_as_the_page_says(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Arrays(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 5)
    preprocessing = Preprocessing(kind="features").fitted(source)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    teacher = LiveTeacher(model, classes=5, shape=(4,))
    taps = (Features(name="0", shape=(6,), dtype="int8"), Features(name="2@in", shape=(6,), dtype="float32"))
    key = store_key(teacher, source, preprocessing, keep=Keep(answers=kind, taps=taps))
    for _ in label(teacher, source, preprocessing, key, batch_examples=4, cache=tmp_path):
        pass
    store = open_store(key, cache=tmp_path)
    (tmp_path / "targets.json").write_text(json.dumps({"path": str(store.folder.path)}))
    monkeypatch.chdir(tmp_path)
    code = re.search(r"<!-- example -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert code
    (tmp_path / "page.py").write_text(code[1])
    names = runpy.run_path(str(tmp_path / "page.py"))
    assert names["record"] == store.folder.dtype
    assert len(names["ids"]) == 12
    ours = store.outputs(store.ids, torch.full((12,), CLEAN), ["2@in"]).taps["2@in"]
    np.testing.assert_array_equal(names["records"][:, 0]["2@in"]["features"], ours.numpy())


def test_every_kind_stands_on_the_page() -> None:
    for name in KINDS:
        assert f"| `{name}`" in PAGE
