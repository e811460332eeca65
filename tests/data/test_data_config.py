"""The data part of a recipe: told apart by kind, loaded as it was dumped, mistakes in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from limbeck.data import AnyData, ArrayFiles, Digits, Preprocessing, load
from limbeck.types import digest

ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyData)
EXAMPLES = [
    {"kind": "fashion-mnist", "validation": 5000, "labelled": 1000},
    {"kind": "digits", "test": 0.3, "seed": 4},
    {"kind": "arrays", "path": "data.npz", "classes": ["a", "b"]},
    {"kind": "images", "folder": "pets", "on_bad": "skip"},
    {"kind": "python", "python": "package.module:function", "arguments": {"depth": 3}},
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["kind"]))
def test_a_config_survives_dump_and_load(example: dict[str, object]) -> None:
    config = ADAPTER.validate_python(example)
    again = ADAPTER.validate_json(ADAPTER.dump_json(config))
    assert again == config
    assert digest(again) == digest(config)
    assert config.kind == example["kind"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("validation", 0),
        ("validation", 1.0),
        ("validation", -0.1),
        ("test", "half"),
        ("test", True),
        ("labelled", "some"),
        ("labelled", 0.0),
        ("limit", 0),
        ("seed", -1),
        ("sead", 1),
    ],
)
def test_a_wrong_value_is_one_mistake(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python({"kind": "digits", field: value})
    assert [error["loc"][:2] for error in caught.value.errors()] == [("digits", field)]


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="'fashion-mnist', 'digits', 'arrays', 'images', 'python'"):
        ADAPTER.validate_python({"kind": "imagenet"})


def test_there_is_a_schema_with_a_description_for_every_field() -> None:
    schema = ADAPTER.json_schema()
    for name, part in schema["$defs"].items():
        for field, facts in part["properties"].items():
            assert field == "kind" or facts.get("description"), f"{name}.{field}"


def test_digits_are_divided_as_asked() -> None:
    splits = load(Digits(validation=200, test=300, labelled=100), Preprocessing())
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1297, 200, 300)
    assert len(splits.labelled) == 100
    assert splits.train.shape == (8, 8, 1)
    assert int(splits.train.raw(splits.labelled).max()) == 255


def test_array_files_bring_their_own_parts(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 3), dtype=np.uint8)
    for name, rows in (("train", slice(0, 30)), ("test", slice(30, 40))):
        np.savez(tmp_path / f"{name}.npz", inputs=images[rows], labels=np.arange(40)[rows] % 2)
    config = ArrayFiles(path=tmp_path / "train.npz", test_path=tmp_path / "test.npz", validation=6)
    splits = load(config, Preprocessing())
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (24, 6, 10)
