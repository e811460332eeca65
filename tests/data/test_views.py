"""Views: each is determined by (view seed, view, id) alone, can be made again, and is as likely as the
others.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from limbeck.data.views import Augmentation, augment
from limbeck.errors import DataError
from limbeck.types import CLEAN

EVERYTHING = Augmentation(shift=2, flip=True, erase=0.4)


def images(count: int, channels: int = 2, height: int = 7, width: int = 9) -> Tensor:
    return torch.arange(count * channels * height * width).reshape(count, channels, height, width).float() + 1


@given(
    rows=st.lists(st.integers(0, 19), min_size=1, max_size=30),
    seed=st.integers(0, 1 << 40),
    padding=st.sampled_from(["reflect", "edge"]),
)
def test_a_view_is_the_same_in_every_batch(rows: list[int], seed: int, padding: str) -> None:
    augmentation = Augmentation.model_validate(EVERYTHING.model_dump() | {"padding": padding})
    inputs, ids, views = images(20), torch.arange(20) * 7919, torch.arange(20) % 3
    whole = augment(inputs, ids, views, augmentation=augmentation, seed=seed)
    picked = torch.tensor(rows)
    part = augment(inputs[picked], ids[picked], views[picked], augmentation=augmentation, seed=seed)
    assert torch.equal(part, whole[picked])


@given(seed=st.integers(0, 1 << 40))
def test_clean_rows_stay_as_they_are(seed: int) -> None:
    inputs = images(8)
    views = torch.tensor([CLEAN, 0] * 4)
    changed = augment(inputs, torch.arange(8), views, augmentation=EVERYTHING, seed=seed)
    assert torch.equal(changed[::2], inputs[::2])


@pytest.mark.parametrize("change", ["seed", "view", "id"])
def test_each_of_seed_view_and_id_matters(change: str) -> None:
    inputs = images(1).expand(50, -1, -1, -1)
    ids, views = torch.arange(50), torch.zeros(50, dtype=torch.int64)
    first = augment(inputs, ids, views, augmentation=EVERYTHING, seed=0)
    moved = (ids + 50 * (change == "id"), views + (change == "view"))
    second = augment(inputs, *moved, augmentation=EVERYTHING, seed=int(change == "seed"))
    assert (first != second).flatten(1).any(1).float().mean() > 0.8


def test_every_shift_and_flip_equals_the_definition_and_is_equally_likely() -> None:
    picture = images(1, channels=1)[0, 0]
    padded = torch.nn.functional.pad(picture[None, None], (1, 1, 1, 1), mode="reflect")[0, 0]
    expected = {
        (dy, dx, flip): (padded.flip(1) if flip else padded)[1 + dy : 8 + dy, 1 + dx : 10 + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        for flip in (False, True)
    }
    count = 9000
    made = augment(
        picture.expand(count, 1, -1, -1),
        torch.arange(count),
        torch.zeros(count, dtype=torch.int64),
        augmentation=Augmentation(shift=1, flip=True),
        seed=5,
    )[:, 0]
    counts = [int((made == one).flatten(1).all(1).sum()) for one in expected.values()]
    assert sum(counts) == count
    assert stats.chisquare(counts).pvalue > 1e-3


def test_edge_padding_repeats_the_outermost_pixels() -> None:
    picture = images(1, channels=1)[0, 0]
    made = augment(
        picture.expand(400, 1, -1, -1),
        torch.arange(400),
        torch.zeros(400, dtype=torch.int64),
        augmentation=Augmentation(shift=1, padding="edge"),
        seed=0,
    )[:, 0]
    padded = torch.nn.functional.pad(picture[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    expected = {
        tuple(padded[dy : dy + 7, dx : dx + 9].flatten().tolist()) for dy in range(3) for dx in range(3)
    }
    assert {tuple(one.flatten().tolist()) for one in made} == expected


def test_erased_squares_cover_the_share_they_should() -> None:
    size, share = 20, 0.5
    made = augment(
        torch.ones(3000, 1, size, size),
        torch.arange(3000),
        torch.zeros(3000, dtype=torch.int64),
        augmentation=Augmentation(erase=share),
        seed=0,
    )
    erased = (made == 0).float().mean(0)[0]
    assert erased[size // 2, size // 2].item() == pytest.approx(share**2, abs=0.03)
    assert erased[0, 0].item() == pytest.approx((share / 2) ** 2, abs=0.03)


def test_a_shift_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(DataError, match=r"augmentation\.shift is 7 pixels"):
        augment(
            images(1),
            torch.zeros(1).long(),
            torch.zeros(1).long(),
            augmentation=Augmentation(shift=7),
            seed=0,
        )


def test_rows_that_are_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="augmentation takes images"):
        _augment_rows(torch.ones(2, 5))


def _augment_rows(rows: Tensor) -> Tensor:
    unchecked = getattr(augment, "__wrapped__", augment)
    return unchecked(rows, torch.arange(2), torch.arange(2), augmentation=EVERYTHING, seed=0)
