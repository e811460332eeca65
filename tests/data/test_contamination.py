"""Contamination: planted duplicates are found, and nothing else is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data import Arrays, Division, Parts, Splits, contamination, split


def splits(planted: int, repeated: int) -> Splits:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (count, 4, 4), dtype=np.uint8) for count in (40, 20, 20)]
    images[1][:planted] = images[0][10 : 10 + planted]
    images[2][5 : 5 + planted] = images[0][20 : 20 + planted]
    images[2][0] = images[1][19]
    images[0][1 : 1 + repeated] = images[0][0]
    train, validation, test = (
        Arrays(
            one, np.arange(len(one)) % 2, name=name, names=[f"{name}/{row}.png" for row in range(len(one))]
        )
        for one, name in zip(images, ("train", "validation", "test"), strict=True)
    )
    return split(Parts(train, validation, test), Division())


@given(planted=st.integers(0, 6), repeated=st.integers(0, 5))
def test_planted_duplicates_are_counted(planted: int, repeated: int) -> None:
    found = contamination(splits(planted, repeated))
    assert (found.train_validation, found.train_test) == (planted, planted)
    assert (found.validation_test, found.within_train) == (1, repeated)


def test_examples_name_both_samples() -> None:
    found = contamination(splits(1, 0))
    assert "validation row 0 (validation/0.png) is train row 10 (train/10.png)" in found.examples
    assert not found.clean


def test_a_pool_that_is_cut_shows_its_own_duplicates() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    twice = Arrays(np.concatenate([images, images]), np.tile(np.arange(30) % 2, 2))
    found = contamination(split(Parts(twice), Division(validation=0.3, test=0.3)))
    assert found.train_test > 0
