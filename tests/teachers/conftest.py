"""A small pool, a small teacher with BatchNorm and dropout, and a teacher that counts what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.data import Arrays, Augmentation, Preprocessing
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import FixedViews, Store, StoreKey, label, open_store, store_key
from limbeck.types import Batch, Offer, Outputs

SAMPLES, BATCH, SHARD = 50, 4, 12


class Counting:
    """A teacher that remembers the ids it was asked about, and can fail at a given question."""

    def __init__(self, teacher: LiveTeacher) -> None:
        self.teacher = teacher
        self.asked: list[int] = []
        self.questions = 0
        self.fail_at: int | None = None

    @property
    def offer(self) -> Offer:
        return self.teacher.offer

    @property
    def digest(self) -> str:
        return self.teacher.digest

    def __call__(self, batch: Batch) -> Outputs:
        self.questions += 1
        if self.questions == self.fail_at:
            raise KeyboardInterrupt
        self.asked += batch.ids.tolist()
        return self.teacher(batch)


def make_model(seed: int = 0) -> nn.Module:
    """A net with what goes wrong in training mode."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 3)
    )
    model(torch.randn(16, 1, 8, 8))
    return model


@pytest.fixture
def model() -> nn.Module:
    return make_model()


@pytest.fixture
def pool() -> Arrays:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (SAMPLES, 8, 8, 1), dtype=torch.uint8, generator=generator)
    return Arrays(images, torch.arange(SAMPLES) % 3, name="squares")


@pytest.fixture
def preprocessing(pool: Arrays) -> Preprocessing:
    return Preprocessing().fitted(pool)


@pytest.fixture
def teacher(model: nn.Module) -> Counting:
    return Counting(LiveTeacher(model, classes=3, shape=(1, 8, 8)))


@pytest.fixture
def other_teacher() -> Counting:
    return Counting(LiveTeacher(make_model(seed=9), classes=3, shape=(1, 8, 8)))


@pytest.fixture
def two_views() -> FixedViews:
    return FixedViews(views=2, seed=5, augmentation=Augmentation(shift=1, flip=True))


@pytest.fixture
def key(teacher: Counting, pool: Arrays, preprocessing: Preprocessing) -> StoreKey:
    return store_key(teacher, pool, preprocessing, keep="float32")


@pytest.fixture
def fill(teacher: Counting, pool: Arrays, preprocessing: Preprocessing) -> Callable[..., Store]:
    """Label and open: ``fill(key)``, or ``fill(key, teacher=..., source=..., cache=...)``."""

    def filled(key: StoreKey, **changes: object) -> Store:
        given = {"teacher": teacher, "source": pool} | changes
        cache = given.pop("cache", None)
        assert cache is None or isinstance(cache, Path)
        for _ in label(
            given["teacher"],
            given["source"],
            preprocessing,
            key,
            batch_examples=BATCH,
            shard_records=SHARD,
            cache=cache,
        ):
            pass
        return open_store(key, cache=cache)

    return filled
