"""Data from the user's own code: every shape of answer is read, every mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.data import Preprocessing, PythonData, load
from limbeck.errors import DataError

MODULE = """
import numpy as np
from torch.utils.data import TensorDataset
import torch

images = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
labels = np.arange(60) % 3

def pair(): return images, labels
def dataset(): return TensorDataset(torch.from_numpy(images)[..., None], torch.from_numpy(labels))
def parts(test=10):
    return {"train": pair(), "test": (images[:test], labels[:test]), "classes": ["a", "b", "c"]}
def misspelt(): return {"train": pair(), "tset": pair()}
def wrong(): return 7
def fails(): raise OSError("no such table")
constant = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_pair_a_dataset_and_parts_are_read() -> None:
    pair, dataset = (
        load(PythonData(python=f"own_data_module:{name}"), Preprocessing()) for name in ("pair", "dataset")
    )
    assert pair.train.digest == dataset.train.digest
    assert len(pair.train) + len(pair.validation) + len(pair.test) == 60
    parts = load(PythonData(python="own_data_module:parts", arguments={"test": 12}), Preprocessing())
    assert len(parts.test) == 12
    assert parts.test.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("own_data_module:misspelt", "a part 'tset'. Did you mean 'test'"),
        ("own_data_module:wrong", "must be a torch Dataset"),
        ("own_data_module:fails", "failed with arguments {}: OSError: no such table"),
        ("own_data_module:constant", "must be a function, got int"),
        ("own_data_module:missing", "has no function"),
        ("no_such_module_anywhere:pair", "there is no module"),
    ],
)
def test_mistakes_are_named(reference: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(PythonData(python=reference), Preprocessing())
