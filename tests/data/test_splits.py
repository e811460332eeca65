"""Splits: disjoint, complete, stratified, the same for a reordered pool, and refused where they cannot be
made.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data import Arrays, Division, Parts, Source, Splits, split
from limbeck.errors import DataError
from limbeck.types import ABSENT

SIZES = {"many": 120, "some": 60, "few": 15}


def pool(order: np.ndarray | None = None, *, unlabelled: int = 0, name: str = "pool") -> Source:
    labels = np.repeat([0, 1, 2, ABSENT], [*SIZES.values(), unlabelled])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 3, 3), dtype=np.uint8)
    picked = np.arange(len(labels)) if order is None else order
    return Arrays(images[picked], labels[picked], classes=list(SIZES), name=name)


def members(splits: Splits) -> dict[str, set[int]]:
    labelled = splits.train.ids[splits.labelled]
    parts = {"train": splits.train.ids, "validation": splits.validation.ids, "test": splits.test.ids}
    return {name: set(ids.tolist()) for name, ids in (parts | {"labelled": labelled}).items()}


@given(
    validation=st.one_of(st.integers(3, 60), st.floats(0.05, 0.4)),
    test=st.one_of(st.integers(3, 60), st.floats(0.05, 0.4)),
    labelled=st.one_of(st.just("all"), st.integers(3, 40)),
    seed=st.integers(0, 5),
)
def test_parts_are_disjoint_complete_and_the_same_for_a_reordered_pool(
    validation: float, test: float, labelled: int | str, seed: int
) -> None:
    division = Division.model_validate(
        {"validation": validation, "test": test, "labelled": labelled, "seed": seed}
    )
    source = pool()
    first = members(split(Parts(source), division))
    order = np.random.default_rng(seed).permutation(len(source))
    assert members(split(Parts(pool(order)), division)) == first
    assert first["train"] | first["validation"] | first["test"] == set(source.ids.tolist())
    assert sum(len(first[name]) for name in ("train", "validation", "test")) == len(source)
    assert first["labelled"] <= first["train"]
    if isinstance(test, int):
        assert len(first["test"]) == test
    if isinstance(labelled, int):
        assert len(first["labelled"]) == labelled


@given(share=st.floats(0.1, 0.5), seed=st.integers(0, 5))
def test_every_part_holds_each_class_in_proportion(share: float, seed: int) -> None:
    splits = split(Parts(pool()), Division(validation=share, test=30, labelled=50, seed=seed))
    chosen = splits.train.labels[splits.labelled]
    for labels in (splits.validation.labels, splits.test.labels, splits.train.labels, chosen):
        counts = torch.bincount(labels, minlength=3).double()
        expected = torch.tensor([*SIZES.values()]).double() * len(labels) / sum(SIZES.values())
        assert (counts - expected).abs().max() < 2


def test_another_seed_draws_other_samples() -> None:
    parts = [members(split(Parts(pool()), Division(labelled=50, seed=seed))) for seed in (0, 1)]
    assert all(parts[0][name] != parts[1][name] for name in ("validation", "test", "labelled"))


def test_samples_without_labels_stay_in_training_and_are_never_labelled() -> None:
    source = pool(unlabelled=40)
    splits = split(Parts(source), Division(validation=0.2, test=0.2))
    assert int((splits.train.labels == ABSENT).sum()) == 40
    assert (splits.train.labels[splits.labelled] != ABSENT).all()
    assert (splits.validation.labels != ABSENT).all()
    assert (splits.test.labels != ABSENT).all()


def test_parts_of_their_own_are_used_as_they_are() -> None:
    splits = split(Parts(pool(), test=pool(name="own")), Division())
    assert splits.test.name == "own"
    assert len(splits.test) == len(pool())
    assert len(splits.train) + len(splits.validation) == len(pool())


def test_a_limit_keeps_every_class() -> None:
    splits = split(Parts(pool(unlabelled=40)), Division(validation=30, test=30, limit=10))
    for part in (splits.train, splits.validation, splits.test):
        assert len(part) == 10
        assert {0, 1, 2} <= set(part.labels.tolist())


def own(labels: list[int], classes: list[str] | None = None, side: int = 3) -> Source:
    images = np.arange(len(labels) * side * side, dtype=np.uint8).reshape(len(labels), side, side)
    return Arrays(images, labels, classes=classes or list(SIZES), name="own")


@pytest.mark.parametrize(
    ("parts", "division", "message"),
    [
        (Parts(own([0, 0, 2, 2] * 5)), {}, "no training sample belongs to class 'some'"),
        (Parts(pool(), validation=own([0, 1, -1, 2])), {}, r"validation data must have labels.*row 2"),
        (Parts(pool(), test=own([-1, -1])), {}, "test data must have labels, but 2 of 2"),
        (Parts(pool(), test=own([0, 1], ["a", "b"])), {}, "Give both the same classes"),
        (Parts(pool(), test=own([0, 1, 2], side=4)), {}, "Bring them into one form"),
        (Parts(pool(), test=own([0, 1, 2])), {"test": 0.1}, "part of its own"),
        (Parts(own([0, 0, 1, 1, 2])), {}, "too few to give each"),
        (Parts(pool()), {"validation": 2}, "too few to give each"),
        (Parts(pool()), {"validation": 1000}, "too few to give each"),
        (Parts(pool()), {"labelled": 1000}, "data.labelled asks for 1000 labels"),
        (Parts(pool()), {"labelled": 2}, "data.labelled asks for 2 labels"),
        (Parts(pool()), {"limit": 2}, "data.limit is 2"),
        (Parts(own([0] * 9, ["only"])), {}, "at least 2 classes"),
        (Parts(own([-1] * 9)), {}, "no training sample belongs to class 'many', 'some', 'few'"),
    ],
)
def test_what_cannot_be_divided_is_refused(parts: Parts, division: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(parts, Division.model_validate(division))
