"""The stream: a pure function of the batch number, with the shares and the labels that were asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data import Arrays, Augmentation, Preprocessing, Source, Stream, augment, ordered
from limbeck.errors import DataError
from limbeck.types import ABSENT, CLEAN, Batch

PREPROCESSING = Preprocessing(mean=(0.5,), std=(0.25,))
AUGMENTATION = Augmentation(shift=1, flip=True)


def pool(count: int = 50, *, order: np.ndarray | None = None) -> Source:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 6, 6), dtype=np.uint8)
    labels = np.arange(count) % 3
    return Arrays(images, labels) if order is None else Arrays(images[order], labels[order])


def stream(source: Source, **options: object) -> Stream:
    return Stream(source, PREPROCESSING, **{"batch_examples": 8, "seed": 1, **options})  # type: ignore[arg-type]


def same(first: Batch, second: Batch) -> bool:
    return all(
        torch.equal(getattr(first, name), getattr(second, name))
        for name in ("ids", "inputs", "labels", "views")
    )


@given(numbers=st.lists(st.integers(0, 60), min_size=1, max_size=8), share=st.sampled_from([None, 0.25, 1.0]))
def test_a_batch_is_a_pure_function_of_its_number(numbers: list[int], share: float | None) -> None:
    options = {
        "labelled": torch.arange(12),
        "labelled_share": share,
        "augmentation": AUGMENTATION,
        "view_seed": 3,
    }
    used = stream(pool(), **options)
    for number in numbers:
        assert same(used.batch(number), stream(pool(), **options).batch(number))


@pytest.mark.parametrize("batch_examples", [7, 8, 50, 64])
def test_every_sample_comes_once_an_epoch_in_another_order_each_time(batch_examples: int) -> None:
    source = pool()
    batches = stream(source, batch_examples=batch_examples)
    ids = torch.cat([batches.batch(number).ids for number in range(50)]).tolist()
    epochs = [ids[start : start + 50] for start in range(0, len(ids) - 49, 50)]
    assert all(sorted(epoch) == sorted(source.ids.tolist()) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_a_reordered_pool_gives_the_same_batches() -> None:
    order = np.random.default_rng(1).permutation(50)
    first = stream(pool(), augmentation=AUGMENTATION)
    second = stream(pool(order=order), augmentation=AUGMENTATION)
    assert all(same(first.batch(number), second.batch(number)) for number in range(20))


def test_another_seed_gives_another_order_but_the_same_views() -> None:
    samples = []
    for seed in (1, 2):
        batches = [stream(pool(), seed=seed, augmentation=AUGMENTATION).batch(number) for number in range(25)]
        rows = [(int(b.ids[row]), int(b.views[row]), b.inputs[row]) for b in batches for row in range(8)]
        samples.append({(id_, view): inputs for id_, view, inputs in rows})
        samples[-1]["first"] = batches[0].ids
    assert not torch.equal(samples[0].pop("first"), samples[1].pop("first"))
    assert samples[0].keys() == samples[1].keys()
    assert all(torch.equal(samples[0][key], samples[1][key]) for key in samples[0])


def test_the_labelled_share_is_kept_and_other_labels_are_absent() -> None:
    source = pool()
    labelled = torch.arange(0, 50, 5)
    known = dict(zip(source.ids[labelled].tolist(), source.labels[labelled].tolist(), strict=True))
    batches = stream(source, labelled=labelled, labelled_share=0.25)
    for number in range(30):
        batch = batches.batch(number)
        assert int(batch.labelled.sum()) == 2
        for id_, label in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
            assert label == known.get(id_, ABSENT)


def test_without_a_share_all_samples_come_and_hidden_labels_are_absent() -> None:
    source = pool()
    batches = stream(source, labelled=torch.tensor([3, 4]), batch_examples=50)
    batch = batches.batch(0)
    assert Counter(batch.labelled.tolist()) == {True: 2, False: 48}


def test_a_share_of_one_draws_only_labelled_samples() -> None:
    source = pool()
    batches = stream(source, labelled=torch.tensor([3, 4, 9]), labelled_share=1.0)
    ids = torch.cat([batches.batch(number).ids for number in range(3)])
    assert set(ids.tolist()) == set(source.ids[[3, 4, 9]].tolist())
    assert Counter(ids.tolist()).most_common(1)[0][1] == 8


def test_views_count_how_often_the_pool_was_gone_through() -> None:
    batches = stream(pool(), augmentation=AUGMENTATION, labelled=torch.arange(10), labelled_share=0.5)
    assert batches.batch(4).views.tolist() == [1] * 4 + [0] * 4
    fixed = stream(pool(), augmentation=AUGMENTATION, views=2)
    assert {view for number in range(40) for view in fixed.batch(number).views.tolist()} == {0, 1}


def test_inputs_are_the_named_views_of_the_named_samples() -> None:
    source = pool()
    batches = stream(source, augmentation=AUGMENTATION, view_seed=9)
    batch = batches.batch(11)
    clean = batches.clean(batch)
    rows = [source.ids.tolist().index(id_) for id_ in batch.ids.tolist()]
    assert torch.equal(clean.inputs, PREPROCESSING.apply(source.raw(torch.tensor(rows))))
    assert clean.views.tolist() == [CLEAN] * 8
    assert torch.equal(clean.labels, batch.labels)
    again = augment(clean.inputs, batch.ids, batch.views, augmentation=AUGMENTATION, seed=9)
    assert torch.equal(again, batch.inputs)


def test_without_augmentation_views_are_clean() -> None:
    for augmentation in (None, Augmentation()):
        assert stream(pool(), augmentation=augmentation).batch(3).views.tolist() == [CLEAN] * 8


def test_ordered_gives_the_whole_pool_once_with_its_labels() -> None:
    source = pool()
    batches = list(ordered(source, PREPROCESSING, 16))
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    assert torch.equal(torch.cat([batch.ids for batch in batches]), source.ids)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), source.labels)


@pytest.mark.parametrize(
    ("labelled", "share", "message"),
    [
        (torch.arange(0), 0.25, "with a visible label, but there are none"),
        (torch.arange(50), 0.25, "without a visible label, but there are none"),
        (torch.arange(5), 0.01, "no sample at all in a batch of 8"),
    ],
)
def test_an_impossible_share_is_refused(labelled: torch.Tensor, share: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        stream(pool(), labelled=labelled, labelled_share=share)
