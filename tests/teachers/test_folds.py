"""Out-of-fold answers: nobody answers for what they were trained on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.data import Arrays
from limbeck.errors import TeacherError
from limbeck.teachers import LiveTeacher, OutOfFold, fold_of, outside_fold
from limbeck.teachers.store import store_key
from limbeck.types import Batch

FOLDS = 3


def _members() -> list[LiveTeacher]:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(FOLDS)]
    return [LiveTeacher(model, classes=3, shape=(1, 8, 8)) for model in models]


def _batch(pool: Arrays, preprocessing) -> Batch:
    rows = torch.arange(len(pool))
    inputs = preprocessing.apply(pool.raw(rows))
    return Batch(pool.ids, inputs, torch.full_like(rows, -1), torch.full_like(rows, -1))


def test_every_sample_has_one_fold_whatever_the_order_and_size_of_the_pool(pool: Arrays) -> None:
    folds = fold_of(pool.ids, FOLDS)
    assert set(folds.tolist()) == {0, 1, 2}
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))[:20]
    assert torch.equal(fold_of(pool.ids[order], FOLDS), folds[order])


def test_folds_are_about_equal() -> None:
    ids = torch.arange(30_000)
    counts = fold_of(ids, 5).bincount()
    assert ((counts - 6000).abs() < 5 * 70).all()


def test_a_teacher_is_trained_on_no_sample_of_its_fold_nor_on_a_copy_of_one() -> None:
    images = torch.randint(0, 256, (40, 4, 4, 1), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    source = Arrays(torch.cat([images, images[:15]]), torch.arange(55) % 3, name="twins")
    folds = fold_of(source.ids, FOLDS)
    kept = [outside_fold(source, fold, FOLDS) for fold in range(FOLDS)]
    for fold, rows in enumerate(kept):
        assert not set(source.contents[folds == fold].tolist()) & set(source.contents[rows].tolist())
        assert len(rows) + int((folds == fold).sum()) <= len(source)
    assert sum(map(len, kept)) < (FOLDS - 1) * len(source)  # twins in two folds were left out
    assert sum(map(len, kept)) > (FOLDS - 1) * len(source) - 40


def test_one_sample_cannot_be_split() -> None:
    source = Arrays(torch.zeros(1, 4, 4, 1, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), name="one")
    fold = int(fold_of(source.ids, 2))
    with pytest.raises(TeacherError, match=r"leaves no sample of one .*teacher\.folds"):
        outside_fold(source, fold, 2)


def test_each_sample_is_answered_for_by_the_teacher_of_its_fold(pool: Arrays, preprocessing) -> None:
    members = _members()
    teacher, batch = OutOfFold(members), _batch(pool, preprocessing)
    logits, folds = teacher(batch).logits, fold_of(pool.ids, FOLDS)
    for number, member in enumerate(members):
        mine = folds == number
        torch.testing.assert_close(logits[mine], member(batch).logits[mine])


def test_the_store_key_says_that_there_are_folds(pool: Arrays, preprocessing) -> None:
    members = _members()
    keys = [
        store_key(who, pool, preprocessing)
        for who in (members[0], OutOfFold(members), OutOfFold(members[::-1]), OutOfFold(members[:2]))
    ]
    assert [key.folds for key in keys] == [0, 3, 3, 2]
    assert len({key.digest for key in keys}) == len(keys)


def test_one_teacher_is_refused() -> None:
    with pytest.raises(TeacherError, match="at least two teachers"):
        OutOfFold(_members()[:1])
