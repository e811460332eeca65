"""A stored view is the teacher's answer to the very picture that the student sees, whatever the run's seed."""

from __future__ import annotations

import pytest
import torch

from limbeck.data import Stream
from limbeck.errors import StoreError
from limbeck.teachers.store import FixedViews, store_key
from limbeck.teachers.store.questions import blocks
from limbeck.types import ABSENT, Batch

EPOCHS, BATCH = 3, 4


@pytest.mark.parametrize("seeds", [(0, 1), (2, 7)])
def test_view_v_of_sample_i_is_the_answer_to_what_any_seed_sees_in_epoch_v_bit_for_bit(
    seeds, teacher, pool, preprocessing, two_views, fill
):
    view = FixedViews(views=EPOCHS, seed=two_views.seed, augmentation=two_views.augmentation)
    store = fill(store_key(teacher, pool, preprocessing, view=view, keep="float32"))
    for seed in seeds:
        stream = Stream(
            pool, preprocessing, batch_examples=7, seed=seed, augmentation=view.augmentation,
            view_seed=view.seed,
        )  # fmt: skip
        batches = -(-EPOCHS * len(pool) // 7)
        assert stream.epochs(batches) == EPOCHS + 1  # the last batch begins another pass
        seen = {}
        for number in reversed(range(batches)):
            batch = stream.batch(number)
            for id_, epoch, picture in zip(
                batch.ids.tolist(), batch.views.tolist(), batch.inputs, strict=True
            ):
                seen[id_, epoch] = picture
        for epoch in range(EPOCHS):
            for block in blocks(range(len(pool)), BATCH):
                ids = store.ids[block.start : block.stop]
                views = torch.full_like(ids, epoch)
                pictures = torch.stack([seen[id_, epoch] for id_ in ids.tolist()])
                asked = teacher(Batch(ids, pictures, torch.full_like(ids, ABSENT), views))
                assert torch.equal(store.answers(ids, views), asked.logits)


def test_an_epoch_beyond_those_stored_is_an_error_and_no_other_view_is_taken_for_it(
    teacher, pool, preprocessing, two_views, fill
):
    store = fill(store_key(teacher, pool, preprocessing, view=two_views, keep="float32"))
    ids = pool.ids[:2]
    with pytest.raises(StoreError, match="holds the views 0 to 1 only, and view 2 is asked for"):
        store.answers(ids, torch.tensor([1, 2]))
    with pytest.raises(StoreError, match="the clean view is asked for"):
        store.answers(ids, torch.tensor([-1, 0]))


def test_passes_are_counted_for_the_pool_that_is_gone_through_most(pool, preprocessing):
    stream = Stream(
        pool, preprocessing, batch_examples=8, seed=0, labelled=torch.arange(10), labelled_share=0.5
    )
    assert [stream.epochs(batches) for batches in (1, 2, 3, 5, 6)] == [1, 1, 2, 2, 3]
