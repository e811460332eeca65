"""Every kind can be filled, read, measured and verified, with taps and in several views."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from limbeck.data import augment
from limbeck.errors import StoreError, TeacherError
from limbeck.methods import AttentionTransfer, Hint
from limbeck.methods.pairs import Pair
from limbeck.teachers import Ensemble, StoredTeacher
from limbeck.teachers.store import (
    DenseAnswers,
    Embeddings,
    Features,
    Keep,
    SampledAnswers,
    Store,
    Text,
    TopKAnswers,
    TopKSampledAnswers,
    Values,
    differences,
    inspect,
    reader,
    store_key,
    verify,
)
from limbeck.training import distilling
from limbeck.training.terms import needed
from limbeck.types import ABSENT, CLEAN, Batch, Few, Offer, Outputs

KINDS = [
    DenseAnswers(dtype="float32"), DenseAnswers(dtype="int8"), DenseAnswers(of="probabilities"),
    TopKAnswers(k=2), TopKSampledAnswers(k=1, draws=3), SampledAnswers(draws=40),
    SampledAnswers(draws=40, draw_temperature=2.0), Values(dtype="int8"), Embeddings(),
]  # fmt: skip
TAPS = (
    Features(name="2", shape=(4, 6, 6), dtype="float32"),
    Features(name="5@in", shape=(144,), dtype="int8"),
)


def asked(pool: Any, preprocessing: Any, rows: torch.Tensor, view: int = CLEAN, views: Any = None) -> Batch:
    ids = pool.ids[rows]
    each = torch.full_like(ids, view)
    inputs = preprocessing.apply(pool.raw(rows))
    if views is not None:
        inputs = augment(inputs, ids, each, augmentation=views.augmentation, seed=views.seed)
    return Batch(ids, inputs, torch.full_like(ids, ABSENT), each)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("views", ["clean", "two"])
def test_what_is_kept_verifies_and_says_what_it_costs(
    kind: Any, views: str, teacher: Any, pool: Any, preprocessing: Any, two_views: Any, fill: Any
) -> None:
    view = "clean" if views == "clean" else two_views
    store = fill(store_key(teacher, pool, preprocessing, view=view, keep=kind))
    found = verify(store, teacher, pool, preprocessing)
    assert found.passed
    assert found.parts[0].unit == kind.unit
    summary = inspect(store.folder.path)
    assert summary.unit_bytes == kind.unit_bytes(3)
    assert store.folder.answers.stat().st_size == len(pool) * store.key.views * summary.unit_bytes
    assert summary.error is not None
    assert summary.error.answers == len(pool) * store.key.views
    few = kind.few(3)
    assert StoredTeacher(store).offer.few == few


class Turned:
    """Says that it is the same teacher, and answers for other classes."""

    def __init__(self, teacher: Any) -> None:
        self.teacher = teacher
        self.offer, self.digest = teacher.offer, teacher.digest

    def __call__(self, batch: Batch) -> Any:
        found = self.teacher(batch)
        return type(found)(found.logits.roll(1, 1), found.taps)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_teacher_that_says_something_else_does_not_pass(
    kind: Any, teacher: Any, pool: Any, preprocessing: Any, fill: Any
) -> None:
    store = fill(store_key(teacher, pool, preprocessing, keep=kind))
    found = verify(store, Turned(teacher), pool, preprocessing)
    assert not found.passed
    assert found.worst_id in pool.ids.tolist()


def test_draws_do_not_depend_on_batches_or_order(
    teacher: Any, pool: Any, preprocessing: Any, fill: Any, tmp_path: Any
) -> None:
    key = store_key(teacher, pool, preprocessing, keep=SampledAnswers(draws=40))
    turned = pool.subset(torch.arange(len(pool)).flip(0))
    stores = [
        fill(key, source=source, cache=tmp_path / name) for name, source in (("a", pool), ("b", turned))
    ]
    one, other = (store.folder.answers.read_bytes() for store in stores)
    assert one == other


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("views", ["clean", "two"])
def test_taps_come_back_as_the_teacher_gives_them(
    mapped: bool, views: str, teacher: Any, pool: Any, preprocessing: Any, two_views: Any, fill: Any,
    monkeypatch: Any,
) -> None:  # fmt: skip
    view = "clean" if views == "clean" else two_views
    keep = Keep(answers=TopKAnswers(k=2), taps=TAPS)
    store = fill(store_key(teacher, pool, preprocessing, view=view, keep=keep))
    monkeypatch.setattr(reader, "_MEMORY_BYTES", 0 if mapped else 2**30)
    stored = StoredTeacher(Store.open(store.folder.path))
    live = teacher.offer.tapping(["2", "5@in"])
    rows = torch.argsort(pool.ids)[:4]  # as they were asked about
    number = CLEAN if views == "clean" else 1
    batch = asked(pool, preprocessing, rows, number, None if views == "clean" else two_views)
    found, expected = stored(batch).taps, live(batch).taps
    assert torch.equal(found["2"], expected["2"])
    off = float((found["5@in"] - expected["5@in"]).abs().max())
    assert 0 < off <= TAPS[1].packing.bound(expected["5@in"])
    assert verify(store, teacher, pool, preprocessing).passed
    summary = inspect(store.folder.path)
    assert summary.error is not None
    assert summary.error.taps["2"] == 0
    assert 0 < summary.error.taps["5@in"] < 0.01


def test_only_what_a_method_reads_is_read_and_what_is_not_held_is_refused(
    teacher: Any, pool: Any, preprocessing: Any, fill: Any
) -> None:
    stored = StoredTeacher(fill(store_key(teacher, pool, preprocessing, keep=Keep(taps=TAPS))))
    assert stored.offer.taps == ("2", "5@in")
    narrowed = needed(Hint(pairs=(Pair(student="x", teacher="2"),)), stored)
    assert narrowed is not None
    batch = asked(pool, preprocessing, torch.arange(3))
    assert list(narrowed(batch).taps) == ["2"]
    with pytest.raises(
        TeacherError, match=r"1 of the teacher is read, and the store .* holds 2, 5@in beside"
    ):
        needed(Hint(pairs=(Pair(student="x", teacher="1"),)), stored)
    with pytest.raises(StoreError, match=r"holds 2, 5@in of the teacher, and 0 is asked for"):
        stored.store.outputs(batch.ids, batch.views, ["0"])


def test_a_store_of_few_classes_has_no_dense_answers_and_no_place_in_an_ensemble(
    teacher: Any, pool: Any, preprocessing: Any, fill: Any
) -> None:
    store = fill(store_key(teacher, pool, preprocessing, keep=TopKAnswers(k=2)))
    with pytest.raises(TeacherError, match="Whole logits are read"):
        store.answers(pool.ids[:2], torch.full((2,), CLEAN))
    stored = StoredTeacher(store)
    assert stored.offer.few == Few(likeliest=2)
    with pytest.raises(TeacherError, match="answers with the 2 likeliest classes only"):
        Ensemble([stored, stored])
    with pytest.raises(StoreError, match="a store is made from whole answers"):
        store_key(stored, pool, preprocessing)


def test_features_of_another_shape_are_refused(
    teacher: Any, pool: Any, preprocessing: Any, fill: Any
) -> None:
    keep = Keep(taps=(Features(name="2", shape=(4, 5, 5)),))
    with pytest.raises(
        TeacherError, match=r"teacher's 2 has the shape \[4, 4, 6, 6\], expected \[4, 4, 5, 5\]"
    ):
        fill(store_key(teacher, pool, preprocessing, keep=keep))


def test_a_store_of_the_first_format_is_told_what_to_do(key: Any, fill: Any) -> None:
    file = fill(key).folder.path / "manifest.json"
    value = json.loads(file.read_text())
    value["format"] = 1
    file.write_text(json.dumps(value))
    with pytest.raises(StoreError, match=r"has format 1, .* reads format 4: .*`limbeck label` ask"):
        Store.open(file.parent)


def test_the_difference_between_two_keeps_is_said_in_words(
    teacher: Any, pool: Any, preprocessing: Any
) -> None:
    few = Keep(answers=TopKAnswers(k=2), taps=TAPS)
    one, other = (store_key(teacher, pool, preprocessing, keep=keep) for keep in ("float16", few))
    (said,) = differences(one, other)
    assert said.startswith(
        "keep is dense (dtype float16, of logits) in the store and top-k (k 2) with 2 (float32)"
    )


class Writing:
    """A teacher that writes a text about each sample."""

    digest = "w"
    offer = Offer(classes=0)

    def __init__(self, word: str = "pixel") -> None:
        self.word = word

    def __call__(self, batch: Batch) -> Outputs:
        return Outputs(None, text=tuple(f"{self.word} {sample}" for sample in batch.ids.tolist()))


def test_texts_are_kept_found_by_id_and_verified(pool: Any, preprocessing: Any, fill: Any) -> None:
    key = store_key(Writing(), pool, preprocessing, keep=Text(max_bytes=32))
    store = fill(key, teacher=Writing())
    rows = torch.tensor([7, 3, 3])
    batch = asked(pool, preprocessing, rows)
    assert StoredTeacher(store)(batch).text == tuple(f"pixel {sample}" for sample in pool.ids[rows].tolist())
    assert verify(store, Writing(), pool, preprocessing).passed
    other = verify(store, Writing("word"), pool, preprocessing)
    assert not other.passed
    assert other.agreement is None


def test_a_loss_on_stored_layers_is_the_live_one_to_the_bit(
    teacher: Any, pool: Any, preprocessing: Any, fill: Any, model: Any
) -> None:
    stored = StoredTeacher(
        fill(store_key(teacher, pool, preprocessing, keep=Keep(taps=TAPS[:1]))), module=model
    )
    torch.manual_seed(3)
    student = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3))
    batch = asked(pool, preprocessing, torch.argsort(pool.ids)[:4])
    method = AttentionTransfer(pairs=(Pair(student="2", teacher="2"),))
    losses = []
    for answering in (teacher.teacher, stored):
        with distilling(student, answering, method) as d:
            losses.append(d.loss(batch))
    assert torch.equal(*losses)
    other = AttentionTransfer(pairs=(Pair(student="2", teacher="1"),))
    with (
        distilling(student, stored, other) as d,
        pytest.raises(TeacherError, match="holds 2 beside the answers"),
    ):
        d.loss(batch)
