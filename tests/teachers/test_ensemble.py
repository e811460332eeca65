"""Several teachers answer as one, and each can still be told from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from limbeck.data import Arrays, Preprocessing
from limbeck.errors import StoreError, TeacherError
from limbeck.teachers import Ensemble, LiveTeacher, StoredTeacher
from limbeck.teachers.store import Store, store_key
from limbeck.types import ABSENT, CLEAN, Batch, Teacher

COMBINATIONS = ("mean-probability", "mean-logit")
every_combination = pytest.mark.parametrize("combine", COMBINATIONS)


@pytest.fixture
def batch(pool: Arrays, preprocessing: Preprocessing) -> Batch:
    ids = pool.ids[:10]
    nothing = torch.full_like(ids, ABSENT)
    return Batch(ids, preprocessing.apply(pool.raw(torch.arange(10))), nothing, nothing * 0 + CLEAN)


@pytest.fixture
def members(teacher: Any, other_teacher: Any) -> list[Teacher]:
    return [teacher, other_teacher]


def probabilities(logits: torch.Tensor) -> np.ndarray:
    return np.asarray(softmax(logits.double().numpy(), -1))


def test_it_is_a_teacher_that_offers_every_members_logits(members: list[Teacher], batch: Batch) -> None:
    ensemble = Ensemble(members)
    assert isinstance(ensemble, Teacher)
    answers = ensemble(batch)
    assert ensemble.offer.taps == tuple(answers.taps) == ("member:0", "member:1")
    for number, member in enumerate(members):
        assert torch.equal(answers.taps[f"member:{number}"], member(batch).logits)


def test_the_mean_probability_is_the_mean_of_the_distributions(members: list[Teacher], batch: Batch) -> None:
    each = [probabilities(member(batch).logits) for member in members]
    found = probabilities(Ensemble(members)(batch).logits)
    np.testing.assert_allclose(found, (each[0] + each[1]) / 2, atol=1e-6)


def test_the_mean_logit_is_the_geometric_mean_of_the_distributions(
    members: list[Teacher], batch: Batch
) -> None:
    first, second = (probabilities(member(batch).logits) for member in members)
    geometric = np.sqrt(first * second)
    found = probabilities(Ensemble(members, combine="mean-logit")(batch).logits)
    np.testing.assert_allclose(found, geometric / geometric.sum(-1, keepdims=True), atol=1e-6)


@every_combination
def test_one_teacher_alone_answers_as_it_does(combine: Any, members: list[Teacher], batch: Batch) -> None:
    found = probabilities(Ensemble(members[:1], combine=combine)(batch).logits)
    np.testing.assert_allclose(found, probabilities(members[0](batch).logits), atol=1e-6)


def test_it_is_known_by_its_members_their_order_and_how_they_are_combined(members: list[Teacher]) -> None:
    kinds = [Ensemble(members), Ensemble(members[::-1]), Ensemble(members[:1])]
    kinds += [Ensemble(members, combine="mean-logit")]
    assert len({kind.digest for kind in kinds}) == len(kinds)
    assert Ensemble(list(members)).digest == kinds[0].digest


def test_a_module_is_taken_for_a_teacher_and_not_changed(model: nn.Module, batch: Batch) -> None:
    model.train()
    answers = Ensemble([model, model])(batch)
    assert model.training
    assert torch.equal(answers.taps["member:0"], LiveTeacher(model, classes=3)(batch).logits)


def test_its_answers_have_no_graph(members: list[Teacher], batch: Batch) -> None:
    answers = Ensemble(members)(replace(batch, inputs=batch.inputs.clone().requires_grad_()))
    assert not answers.logits.requires_grad
    assert not any(logits.requires_grad for logits in answers.taps.values())


def test_it_needs_inputs_as_soon_as_one_of_them_does(
    teacher: Any, other_teacher: Any, pool: Arrays, preprocessing: Preprocessing, batch: Batch,
    fill: Callable[..., Store],
) -> None:  # fmt: skip
    keys = [store_key(one, pool, preprocessing, keep="float32") for one in (teacher, other_teacher)]
    stored = [
        StoredTeacher(fill(key, teacher=one)) for key, one in zip(keys, (teacher, other_teacher), strict=True)
    ]
    assert not Ensemble(stored).offer.reads_inputs
    mixed = Ensemble([stored[0], other_teacher])
    assert mixed.offer.reads_inputs
    for ensemble in (Ensemble(stored), mixed):
        torch.testing.assert_close(ensemble(batch).logits, Ensemble([teacher, other_teacher])(batch).logits)
    unknown = replace(batch, ids=torch.arange(10))
    with pytest.raises(StoreError):
        mixed(unknown)


def test_its_answers_can_be_stored_as_any_teachers(
    members: list[Teacher],
    pool: Arrays,
    preprocessing: Preprocessing,
    batch: Batch,
    fill: Callable[..., Store],
) -> None:
    ensemble = Ensemble(members)
    key = store_key(ensemble, pool, preprocessing, keep="float32")
    stored = StoredTeacher(fill(key, teacher=ensemble))
    assert stored.digest == ensemble.digest
    torch.testing.assert_close(stored(batch).logits, ensemble(batch).logits)


def test_members_that_count_other_classes_are_refused(teacher: Any) -> None:
    other = LiveTeacher(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), classes=5)
    with pytest.raises(TeacherError, match="3, 5 classes"):
        Ensemble([teacher, other])


def test_no_members_and_no_such_combination_are_refused(teacher: Any) -> None:
    with pytest.raises(TeacherError, match="no members"):
        Ensemble([])
    wrong: Any = "median"
    with pytest.raises(Exception, match="mean-probability"):
        Ensemble([teacher], combine=wrong)
