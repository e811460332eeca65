"""Ids: from content, distinct, and the same in whatever order the samples stand."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data.arrays import Arrays
from limbeck.data.content import contents


@given(
    values=st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 2)), min_size=2, max_size=30),
    seed=st.integers(0, 1000),
)
def test_ids_are_distinct_and_follow_their_sample_through_any_order(
    values: list[tuple[int, int]], seed: int
) -> None:
    images = np.array([[[content]] for content, _ in values], dtype=np.uint8)
    labels = np.array([label for _, label in values])
    order = np.random.default_rng(seed).permutation(len(values))
    first = Arrays(images, labels, classes=["a", "b", "c"])
    second = Arrays(images[order], labels[order], classes=["a", "b", "c"])
    assert len(set(first.ids.tolist())) == len(values)
    assert first.ids.min() >= 0
    keys = [
        sorted(zip(one.ids.tolist(), one.contents.tolist(), one.labels.tolist(), strict=True))
        for one in (first, second)
    ]
    assert keys[0] == keys[1]
    assert first.digest == second.digest


def test_contents_are_equal_exactly_for_equal_rows() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (200, 6), dtype=np.uint8)
    hashes = contents(rows)
    same = (rows[:, None] == rows[None]).all(2)
    assert torch.equal(hashes[:, None] == hashes[None], torch.from_numpy(same))


def test_the_digest_changes_with_content_labels_classes_and_shape() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    labels = np.array([0, 1, 0, 1])
    changed = images.copy()
    changed[2, 0, 0] += 100
    sources = [
        Arrays(images, labels),
        Arrays(changed, labels),
        Arrays(images, labels[::-1].copy()),
        Arrays(images, labels, classes=["a", "b"]),
        Arrays(images.reshape(4, 3, 2), labels),
    ]
    assert len({source.digest for source in sources}) == len(sources)


def test_a_subset_keeps_ids_names_and_content() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4), dtype=np.uint8)
    source = Arrays(images, np.arange(10) % 2, names=[f"file{row}" for row in range(10)])
    rows = torch.tensor([7, 2, 5])
    part = source.subset(rows).subset(torch.tensor([2, 0]))
    assert torch.equal(part.ids, source.ids[[5, 7]])
    assert part.names == ("file5", "file7")
    assert torch.equal(part.raw(torch.tensor([0, 1])), source.raw(torch.tensor([5, 7])))
    assert part.digest != source.digest
