"""Whatever changes the answers changes the key, and the difference can be said."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from limbeck.data import Augmentation, Preprocessing
from limbeck.teachers.store import FixedViews, Keep, StoreKey, differences, store_key


def test_every_part_changes_the_folders_name(key, two_views):
    changes = {
        "teacher": "x",
        "data": "x",
        "preprocessing": "x",
        "view": two_views,
        "keep": Keep(),
        "classes": 4,
        "folds": 2,
        "execution": "x",
    }
    assert set(changes) == set(StoreKey.model_fields)
    others = [key.model_copy(update={part: value}) for part, value in changes.items()]
    assert len({key.digest, *(other.digest for other in others)}) == len(changes) + 1
    for part, other in zip(changes, others, strict=True):
        (sentence,) = differences(key, other)
        assert sentence.startswith(f"{part} is ")


def test_views_of_another_seed_or_augmentation_are_another_store(key, two_views):
    changed = [
        two_views.model_copy(update=update)
        for update in ({"seed": 6}, {"views": 3}, {"augmentation": Augmentation(shift=2, flip=True)})
    ]
    keys = [key.model_copy(update={"view": view}) for view in [two_views, *changed]]
    assert len({each.digest for each in keys}) == 4


def test_an_augmentation_that_changes_nothing_is_refused():
    with pytest.raises(ValidationError, match="use the view 'clean'"):
        FixedViews(views=2, seed=0, augmentation=Augmentation())


def test_a_key_survives_dump_and_load(key, two_views):
    for each in (key, key.model_copy(update={"view": two_views})):
        assert StoreKey.model_validate(each.model_dump(mode="json")) == each


def test_the_order_of_the_pool_does_not_change_it_and_the_preprocessing_does(
    teacher, pool, preprocessing, key
):
    turned = pool.subset(torch.arange(len(pool)).flip(0))
    assert store_key(teacher, turned, preprocessing, keep="float32") == key
    other = Preprocessing(mean=(0.0,), std=(1.0,)).fitted(pool)
    assert differences(key, store_key(teacher, pool, other, keep="float32"))[0].startswith("preprocessing")
