"""A stored teacher is interchangeable with the live one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.data import augment
from limbeck.errors import StoreError
from limbeck.teachers import StoredTeacher
from limbeck.teachers.store import store_key
from limbeck.types import ABSENT, CLEAN, Batch, Teacher

BATCH = 4


def _blocks(pool, preprocessing, view=CLEAN):
    """The pool in the blocks in which it was labelled: in the order of the ids."""
    for rows in torch.split(torch.argsort(pool.ids), BATCH):
        ids = pool.ids[rows]
        views = torch.full_like(ids, view)
        yield Batch(ids, preprocessing.apply(pool.raw(rows)), torch.full_like(ids, ABSENT), views)


def test_fp32_answers_equal_the_live_ones_bit_for_bit(pool, preprocessing, teacher, key, fill):
    stored = StoredTeacher(fill(key))
    assert isinstance(stored, Teacher)
    for batch in _blocks(pool, preprocessing):
        assert torch.equal(stored(batch).logits, teacher(batch).logits)


def test_each_fixed_view_has_the_answers_to_that_view(pool, preprocessing, teacher, two_views, fill):
    stored = StoredTeacher(fill(store_key(teacher, pool, preprocessing, view=two_views, keep="float32")))
    seen = []
    for view in (0, 1):
        for batch in _blocks(pool, preprocessing, view):
            inputs = augment(
                batch.inputs, batch.ids, batch.views, augmentation=two_views.augmentation, seed=two_views.seed
            )
            asked = replace(batch, inputs=inputs)
            assert torch.equal(stored(asked).logits, teacher(asked).logits)
        seen.append(stored(batch).logits)
    assert not torch.equal(*seen)


def test_float16_answers_are_the_live_ones_rounded(pool, preprocessing, teacher, fill):
    stored = StoredTeacher(fill(store_key(teacher, pool, preprocessing, keep="float16")))
    for batch in _blocks(pool, preprocessing):
        assert torch.equal(stored(batch).logits, teacher(batch).logits.half().float())
        assert stored(batch).logits.dtype == torch.float32


def test_it_needs_no_inputs_and_is_known_as_the_teacher_that_was_asked(teacher, pool, key, fill):
    stored = StoredTeacher(fill(key))
    assert not stored.offer.reads_inputs
    assert stored.offer.classes == teacher.offer.classes
    assert stored.digest == teacher.digest
    ids = pool.ids[[7, 3, 3]]
    nothing = torch.full_like(ids, -1)
    logits = stored(Batch(ids, torch.empty(3, 0), nothing, nothing)).logits
    assert logits.shape == (3, 3)
    assert torch.equal(logits[1], logits[2])


@pytest.mark.parametrize(("held", "view"), [("clean", 0), ("two", CLEAN), ("two", 2)])
def test_a_view_that_is_not_held_is_refused(held, view, pool, preprocessing, teacher, two_views, fill, model):
    wanted = "clean" if held == "clean" else two_views
    store = fill(store_key(teacher, pool, preprocessing, view=wanted))
    views = torch.tensor([view if held == "clean" else 1, view])
    with pytest.raises(StoreError, match=r"holds .* only, and .* is asked for"):
        store.answers(pool.ids[:2], views)


def test_an_unknown_sample_is_named(pool, key, fill):
    store = fill(key)
    ids = torch.tensor([int(pool.ids[0]), 12345, 2**62 + 1])
    with pytest.raises(StoreError, match=r"no answer for sample 12345, 4611686018427387905 \(2 of 3"):
        store.answers(ids, torch.full((3,), CLEAN))
