"""Asking again finds what the store holds, and what it does not."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import StoreError
from limbeck.teachers.store import store_key, verify
from limbeck.types import Batch, Outputs


class Drifting:
    """Says that it is the same teacher, and is not."""

    def __init__(self, teacher):
        self.teacher = teacher

    @property
    def offer(self):
        return self.teacher.offer

    @property
    def digest(self):
        return self.teacher.digest

    def __call__(self, batch: Batch) -> Outputs:
        return Outputs(self.teacher(batch).logits * 1.02)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("views", ["clean", "two"])
def test_a_good_store_passes(dtype, views, teacher, pool, preprocessing, two_views, fill):
    view = "clean" if views == "clean" else two_views
    store = fill(store_key(teacher, pool, preprocessing, view=view, keep=dtype))
    teacher.asked.clear()
    found = verify(store, teacher, pool, preprocessing, sample=10)
    assert found.passed
    assert 10 <= found.asked < 14
    assert len(set(teacher.asked)) == found.asked
    assert found.agreement == 1 or dtype == "float16"
    if dtype == "float32":
        assert found.largest_error == 0


def test_other_samples_are_drawn_with_another_seed(teacher, pool, preprocessing, key, fill):
    store = fill(key)
    drawn = []
    for seed in (0, 0, 1):
        teacher.asked.clear()
        verify(store, teacher, pool, preprocessing, sample=8, seed=seed)
        drawn.append(list(teacher.asked))
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_teacher_that_drifts_does_not_pass_and_the_worst_sample_is_named(
    dtype, teacher, pool, preprocessing, fill
):
    store = fill(store_key(teacher, pool, preprocessing, keep=dtype))
    found = verify(store, Drifting(teacher), pool, preprocessing)
    assert not found.passed
    assert found.worst_id in pool.ids.tolist()
    assert verify(store, Drifting(teacher), pool, preprocessing, allowed=1.0).passed


def test_another_teacher_is_refused_and_the_difference_named(other_teacher, pool, preprocessing, key, fill):
    with pytest.raises(StoreError, match="of another teacher or other data: teacher is"):
        verify(fill(key), other_teacher, pool, preprocessing)


def test_more_than_there_is_asks_about_all(teacher, pool, preprocessing, key, fill):
    assert verify(fill(key), teacher, pool, preprocessing, sample=10**6).asked == len(pool)
    assert torch.is_grad_enabled()
