"""What every method of the table keeps to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from limbeck.errors import MethodError
from limbeck.methods import METHODS, Method, catalogue, dump, parse, total
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, digest

every_method = pytest.mark.parametrize("name", METHODS)
OTHER: Mapping[str, Mapping[str, Any]] = {
    "ce": {"weight": 0.5, "label_smoothing": 0.1},
    "kd": {"weight": 0.5, "temperature": 4.0},
    "pseudo-label": {"weight": 0.5},
}
"""Another value for every hyperparameter of every method."""


def samples(count: int = 8, classes: int = 5) -> tuple[Outputs, Outputs, Batch]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, count, classes, generator=generator, dtype=torch.float64).unbind()
    labels = torch.arange(count) % classes
    labels[1::2] = ABSENT
    batch = Batch(torch.arange(count), torch.zeros(count, 2), labels, torch.full((count,), CLEAN))
    return Outputs(student.clone().requires_grad_()), Outputs(teacher.clone().requires_grad_()), batch


def given(method: Method, teacher: Outputs | None) -> Outputs | None:
    return teacher if method.reads.teacher else None


@every_method
def test_comes_back_equal_from_plain_data(name: str) -> None:
    for method in (METHODS[name](), METHODS[name](**OTHER[name])):
        again = parse(json.loads(json.dumps(dump(method))))
        assert again == method
        assert digest(again) == digest(method)


@every_method
def test_changing_any_field_changes_the_digest(name: str) -> None:
    assert set(OTHER[name]) == set(METHODS[name].model_fields) - {"kind"}
    digests = [digest(METHODS[name](**{field: value})) for field, value in OTHER[name].items()]
    assert len({digest(METHODS[name]()), *digests}) == len(digests) + 1


@every_method
def test_two_methods_with_equal_fields_have_different_digests(name: str) -> None:
    others = [digest(METHODS[other]()) for other in METHODS if other != name]
    assert digest(METHODS[name]()) not in others


@every_method
def test_is_named_alike_in_the_table_and_in_itself(name: str) -> None:
    assert METHODS[name]().kind == name


@every_method
def test_states_its_weights_before_its_loss(name: str) -> None:
    student, teacher, batch = samples()
    method = METHODS[name]()
    answers = given(method, teacher)
    weights = method.weights(answers, batch)
    terms = method.loss(student, answers, batch, method.init(student, answers))
    assert list(weights) == list(terms)
    for term_name, term in terms.items():
        assert term.values.shape == term.weights.shape
        assert weights[term_name].dtype == torch.float32
        torch.testing.assert_close(weights[term_name], term.weights, check_dtype=False)


@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.uint8])
def test_weights_do_not_take_the_inputs_number_format(name: str, dtype: torch.dtype) -> None:
    _, teacher, batch = samples()
    batch = Batch(batch.ids, batch.inputs.to(dtype), batch.labels, batch.views)
    weights = METHODS[name]().weights(teacher, batch)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


@every_method
def test_a_weight_multiplies_the_loss(name: str) -> None:
    single, half = (loss_of(METHODS[name](weight=weight)) for weight in (1.0, 0.5))
    torch.testing.assert_close(half, 0.5 * single)


@every_method
@pytest.mark.parametrize("size", [1, 3, 8])
def test_micro_batches_equal_the_batch(name: str, size: int) -> None:
    method = METHODS[name]()
    student, teacher, batch = samples()
    answers = given(method, teacher)
    whole = loss_of(method)
    (expected,) = torch.autograd.grad(whole, WHOLE.logits)
    totals = {term: weights.sum() for term, weights in method.weights(answers, batch).items()}
    parts = []
    for first in range(0, len(batch), size):
        rows = slice(first, first + size)
        part_answers = None if answers is None else answers[rows]
        parts.append(total(method.loss(student[rows], part_answers, batch[rows], None), totals))
    summed = torch.stack(parts).sum()
    (found,) = torch.autograd.grad(summed, student.logits)
    torch.testing.assert_close(summed, whole)
    torch.testing.assert_close(found, expected)


@every_method
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    student, teacher, batch = samples()
    terms = METHODS[name]().loss(student, teacher, batch, None)
    torch.stack([term.values.sum() for term in terms.values()]).sum().backward()
    assert teacher.logits.grad is None
    assert student.logits.grad is not None


@every_method
def test_only_the_labels_it_reads_matter(name: str) -> None:
    method = METHODS[name]()
    student, teacher, batch = samples()
    without = Batch(batch.ids, batch.inputs, torch.full_like(batch.labels, ABSENT), batch.views)
    answers = given(method, teacher)
    same = all(
        torch.equal(one.values, other.values)
        for one, other in zip(
            method.loss(student, answers, batch, None).values(),
            method.loss(student, answers, without, None).values(),
            strict=True,
        )
    )
    assert same == (method.reads.labels == "none")


@every_method
def test_asks_for_a_missing_teacher(name: str) -> None:
    method = METHODS[name]()
    student, _, batch = samples()
    if not method.reads.teacher:
        method.loss(student, None, batch, None)
        return
    with pytest.raises(MethodError, match=type(method).__name__):
        method.loss(student, None, batch, None)


@every_method
def test_a_batch_of_one_is_a_batch(name: str) -> None:
    method = METHODS[name]()
    student, teacher, batch = samples(1)
    terms = method.loss(student, given(method, teacher), batch, None)
    assert all(term.values.shape == (1,) for term in terms.values())


@every_method
def test_a_batch_without_units_costs_nothing(name: str) -> None:
    method = METHODS[name]()
    student, teacher, batch = samples()
    terms = method.loss(student, given(method, teacher), batch, None)
    loss = total(terms, {term: torch.tensor(0.0) for term in terms})
    assert torch.isfinite(loss)


def test_ce_without_any_label_is_zero_with_a_zero_gradient() -> None:
    student, _, batch = samples()
    method = METHODS["ce"]()
    without = Batch(batch.ids, batch.inputs, torch.full_like(batch.labels, ABSENT), batch.views)
    divisors = {term: weights.sum() for term, weights in method.weights(None, without).items()}
    loss = total(method.loss(student, None, without, None), divisors)
    loss.backward()
    assert loss == 0
    assert student.logits.grad is not None
    assert (student.logits.grad == 0).all()


def test_the_listing_has_every_method_and_its_facts() -> None:
    listed = {entry["name"]: entry for entry in catalogue()}
    assert list(listed) == list(METHODS)
    json.dumps(catalogue(), allow_nan=False)
    for name, entry in listed.items():
        assert set(entry) == {"name", "family", "summary", "reads", "defaults", "paper"}
        assert METHODS[name](**entry["defaults"]) == METHODS[name]()
        assert entry["summary"].endswith(".")
        assert entry["paper"].startswith("https://")


WHOLE, WHOLE_TEACHER, WHOLE_BATCH = samples()


def loss_of(method: Method) -> torch.Tensor:
    answers = given(method, WHOLE_TEACHER)
    totals = {term: weights.sum() for term, weights in method.weights(answers, WHOLE_BATCH).items()}
    return total(method.loss(WHOLE, answers, WHOLE_BATCH, None), totals)
