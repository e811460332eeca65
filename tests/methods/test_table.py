"""What every method of the table keeps to."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from limbeck.errors import MethodError
from limbeck.methods import METHODS, catalogue, dump, parse, total
from limbeck.models import state_digest
from limbeck.types import ABSENT, Batch, digest

pytestmark = pytest.mark.filterwarnings("ignore:standardise takes:UserWarning")  # the nets have five classes
every_method = pytest.mark.parametrize("name", METHODS)
every_method_trained = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if number % 2 else [])
        for number, name in enumerate(METHODS)
    ],
)
"""What trains takes longest: every other method in the short tests, all in the long matrix."""
OTHER: Mapping[str, Mapping[str, Any]] = {
    "ce": {"weight": 0.5, "label_smoothing": 0.1},
    "kd": {"weight": 0.5, "temperature": 4.0},
    "pseudo-label": {"weight": 0.5},
    "adaptive-kl": {"weight": 0.5, "temperature": 4.0, "head_mass": 0.7},
    "alignment": {"weight": 0.5, "pairs": "penultimate", "debiased": False},
    "alpha-beta": {"weight": 0.5, "temperature": 4.0, "teacher_power": 0.5, "student_power": 0.5},
    "attention-scores": {
        "weight": 0.5,
        "pairs": [{"student": "queries:1", "teacher": "queries:2"}],
        "heads": 1,
    },
    "attention-transfer": {"weight": 0.5, "pairs": "last"},
    "channel-correlation": {"weight": 0.5, "pairs": "last"},
    "channels": {"weight": 0.5, "pairs": "stages", "connector": "convolution", "temperature": 1.0},
    "confident-teachers": {"weight": 0.5, "members": 3, "temperature": 4.0},
    "congruence": {"weight": 0.5, "pairs": "last", "gamma": 1.0},
    "contrastive": {"weight": 0.5, "pairs": "last", "width": 16, "temperature": 0.2},
    "contrastive-bank": {
        "weight": 0.5,
        "pairs": "last",
        "width": 16,
        "temperature": 0.2,
        "negatives": 32,
        "momentum": 0.9,
    },
    "correlation": {"weight": 0.5, "temperature": 4.0, "sample_weight": 0.5, "class_weight": 2.0},
    "ctc": {"weight": 0.5, "blank": 5},
    "ctc-frames": {
        "weight": 0.5,
        "temperature": 2.0,
        "blank": 5,
        "select": "all",
        "neighbourhood": 2,
    },
    "ctc-sequence": {"weight": 0.5, "blank": 5},
    "hidden-cosine": {"weight": 0.5, "pairs": "penultimate", "connector": "orthogonal"},
    "decoupled-kd": {"weight": 0.5, "temperature": 2.0, "target_weight": 0.5, "non_target_weight": 8.0},
    "gaussian": {"weight": 0.5},
    "head-regression": {
        "weight": 0.5,
        "pairs": [{"student": "head@in", "teacher": "head@in"}],
        "feature_weight": 0.5,
        "logit_weight": 2.0,
    },
    "hint": {"weight": 0.5, "pairs": "last", "connector": "convolution", "normalise": "none"},
    "importance": {
        "weight": 0.5,
        "of": {"kd": {"weight": 2}},
        "coefficients": [0.1, -0.1, 0.0, 0.0, 0.2, 0.0],
        "intercept": 0.5,
        "given": [[number, 1.0 + number] for number in range(100, 110)],
        "largest": 4.0,
    },
    "jensen-shannon": {"weight": 0.5, "temperature": 4.0, "teacher_share": 0.1, "normalised": False},
    "list-net": {"weight": 0.5, "temperature": 4.0},
    "logit-mse": {"weight": 0.5, "centred": False},
    "margin-mse": {"weight": 0.5},
    "masked": {"weight": 0.5, "pairs": "stages", "masked_share": 0.5, "mask": "places"},
    "multi-label": {"weight": 0.5, "temperature": 4.0},
    "neighbours": {"weight": 0.5, "pairs": "last"},
    "normalised-kd": {"weight": 0.5, "temperature": 4.0, "non_target_weight": 0.5},
    "ordinal": {"weight": 0.5, "temperature": 4.0},
    "overhaul": {"weight": 0.5, "pairs": "last"},
    "patient": {"weight": 0.5, "pairs": "last", "connector": "orthogonal"},
    "regression": {"weight": 0.5, "linear_from": 0.5},
    "relational": {"weight": 0.5, "pairs": "last", "distance_weight": 2.0, "angle_weight": 0.0},
    "reuse": {"weight": 0.5, "pairs": [{"student": "stages.1", "teacher": "stages.1"}]},
    "reverse-kl": {"weight": 0.5, "temperature": 4.0},
    "review": {"weight": 0.5, "pairs": "last", "largest_width": 8},
    "selectivity": {"weight": 0.5, "pairs": "stages"},
    "similarity": {"weight": 0.5, "pairs": "penultimate"},
    "skew-kl": {"weight": 0.5, "temperature": 4.0, "skew": 0.5},
    "skew-reverse-kl": {"weight": 0.5, "temperature": 4.0, "skew": 0.5},
    "token-relations": {"weight": 0.5, "pairs": "stages", "relation_heads": 2},
    "top-k": {"weight": 0.5, "k": 2},
    "total-variation": {"weight": 0.5, "temperature": 4.0},
    "variational": {"weight": 0.5, "pairs": "last"},
    "branches": {"weight": 0.5, "branches": 1, "place": "stem", "temperature": 4.0},
    "class-pairs": {"weight": 0.5, "temperature": 2.0},
    "deit": {"weight": 0.5, "temperature": 3.0, "place": "head@in"},
    "ema": {"weight": 0.5, "momentum": 0.9, "temperature": 2.0, "ramp_up_steps": 10},
    "exits": {
        "weight": 0.5,
        "places": ["stem", "stages.1"],
        "share": 0.5,
        "temperature": 2.0,
        "feature_weight": 0.1,
    },
    "learning-without-forgetting": {"weight": 0.5, "temperature": 4.0, "old_classes": 2},
    "mutual": {"weight": 0.5, "peers": 2, "temperature": 2.0},
    "online-ensemble": {"weight": 0.5, "peers": 2, "temperature": 4.0, "mean": "probability"},
    "past-self": {"weight": 0.5, "share": 0.5},
    "replay": {"weight": 0.5, "capacity": 16, "label_weight": 0.5},
    "virtual-teacher": {"weight": 0.5, "confidence": 0.9, "temperature": 2.0},
    "balance": {
        "weight": 0.5,
        "of": [{"ce": {}}, {"kd": {}}],
        "shares": {"kd": 3, "ce": 1},
        "every_steps": 5,
        "memory": 0.5,
    },
    "learned-temperature": {
        "weight": 0.5,
        "of": {"kd": {"temperature": 1, "weight": 2}},
        "lowest": 2.0,
        "highest": 9.0,
        "rise_steps": 5,
    },
    "sample-weights": {"weight": 0.5, "of": "pseudo-label", "by": "entropy", "wrong_weight": 0.5},
    "sampled": {"weight": 0.5, "draws": 5, "draw_temperature": 2.0},
    "schedule": {"weight": 0.5, "of": "ce", "start": 0.5, "final": 2.0, "shape": "cosine", "steps": 5},
    "standardise": {"weight": 0.5, "of": {"kd": {"temperature": 4}}},
    "temperature-schedule": {
        "weight": 0.5,
        "of": {"kd": {"weight": 2}},
        "start": 2.0,
        "final": 3.0,
        "shape": "cosine",
        "steps": 5,
    },
    "warm-up": {"weight": 0.5, "of": ["kd", "ce"], "steps": 5},
    "wsld": {"weight": 0.5, "of": {"kd": {"temperature": 4}}},
}
"""Another value for every hyperparameter of every method."""


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
def test_binding_names_every_layer_and_is_done_once(name: str, case) -> None:
    made = case(name)
    assert not any(sign in tap for tap in made.method.reads.student_taps for sign in "*:")
    assert parse(json.loads(json.dumps(dump(made.method)))) == made.method
    assert case(made.method).method == made.method


@every_method
def test_states_its_weights_before_its_loss(name: str, case) -> None:
    made = case(name)
    student, teacher = made.answers()
    weights = made.method.weights(teacher, made.batch)
    terms = made.method.loss(student, teacher, made.batch, made.state)
    assert list(weights) == list(terms)
    for term_name, term in terms.items():
        assert term.values.shape == term.weights.shape
        assert weights[term_name].dtype == torch.float32
        torch.testing.assert_close(weights[term_name], term.weights, check_dtype=False)


@every_method
@pytest.mark.parametrize("dtype", [torch.uint8])
def test_weights_do_not_take_the_inputs_number_format(name: str, dtype: torch.dtype, case) -> None:
    made = case(name)
    _, teacher = made.answers()
    batch = made.batch
    batch = replace(batch, inputs=batch.inputs.to(dtype))
    weights = made.method.weights(teacher, batch)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


@every_method
def test_a_weight_multiplies_the_loss(name: str, case) -> None:
    single, half = (drawn(case(name, fields={"weight": weight})) for weight in (1.0, 0.5))
    torch.testing.assert_close(half, 0.5 * single)


@every_method
@pytest.mark.parametrize("size", [3])
def test_micro_batches_equal_the_batch(name: str, size: int, case) -> None:
    made = case(name)
    if made.method.reads.coupled:
        pytest.skip("compares the samples of a batch with each other, and says so")
    if made.state is not None:
        made.state.eval()  # batch normalisation in a connector compares them too
    student, teacher = made.answers()
    divisors = {term: weights.sum() for term, weights in made.method.weights(teacher, made.batch).items()}
    torch.manual_seed(0)
    whole = total(made.method.loss(student, teacher, made.batch, made.state), divisors)
    expected = made.gradient(whole)
    parts = []
    torch.manual_seed(0)
    for first in range(0, len(made.batch), size):
        rows = slice(first, first + size)
        ours, theirs = made.answers(made.batch[rows])
        parts.append(total(made.method.loss(ours, theirs, made.batch[rows], made.state), divisors))
    summed = torch.stack(parts).sum()
    torch.testing.assert_close(summed, whole)
    for parameter, gradient in made.gradient(summed).items():
        torch.testing.assert_close(gradient, expected[parameter], rtol=1e-5, atol=1e-9)


@every_method
def test_no_gradient_reaches_the_teacher(name: str, case) -> None:
    made = case(name)
    made.loss().backward()
    assert all(parameter.grad is None for parameter in made.teacher.parameters())
    assert any(parameter.grad is not None for parameter in made.student.parameters())


@every_method
def test_only_the_labels_it_reads_matter(name: str, case) -> None:
    made = case(name)
    batch = made.batch
    without = replace(batch, labels=torch.full_like(batch.labels, ABSENT))
    same = torch.equal(drawn(case(name)), drawn(made, without))
    assert same == (made.method.reads.labels == "none")


@every_method
def test_asks_for_a_missing_teacher(name: str, case) -> None:
    made = case(name)
    student, _ = made.answers()
    if not made.method.reads.teacher:
        made.method.loss(student, None, made.batch, made.state)
        return
    with pytest.raises(MethodError, match=type(made.method).__name__):
        made.method.loss(student, None, made.batch, made.state)


@every_method
def test_a_batch_of_one_is_a_batch(name: str, case) -> None:
    made = case(name)
    loss = made.loss(made.batch[:1])
    assert torch.isfinite(loss)
    assert all(gradient.isfinite().all() for gradient in made.gradient(loss).values())


@every_method
def test_a_batch_without_units_costs_nothing(name: str, case) -> None:
    made = case(name)
    student, teacher = made.answers()
    terms = made.method.loss(student, teacher, made.batch, made.state)
    assert torch.isfinite(total(terms, {term: torch.tensor(0.0) for term in terms}))


@every_method_trained
def test_trains_what_it_should_and_nothing_else(name: str, run) -> None:
    state = run.start(METHODS[name]())
    module = run.teacher(state.method).offer.module
    teacher, student = state_digest(module), state_digest(state.student)
    before = {} if state.connectors is None else parameters(state.connectors)
    steps = run.go(state, steps=6)
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in steps)
    assert state_digest(module) == teacher
    assert state_digest(state.student) != student
    after = {} if state.connectors is None else parameters(state.connectors)
    assert {key for key, value in after.items() if torch.equal(value, before[key])} == set()


@every_method_trained
def test_a_resumed_training_is_the_uninterrupted_one(name: str, run) -> None:
    whole, half = run.start(METHODS[name]()), run.start(METHODS[name]())
    run.go(whole, steps=4)
    run.go(half, steps=2)
    saved = io.BytesIO()
    torch.save(half.state_dict(), saved)
    saved.seek(0)
    again = run.start(METHODS[name]())
    again.load_state_dict(torch.load(saved, weights_only=True))
    run.go(again, steps=2)
    assert state_digest(again.student) == state_digest(whole.student)
    if whole.connectors is not None:
        assert state_digest(again.connectors) == state_digest(whole.connectors)


@every_method_trained
def test_ships_the_student_alone_unless_it_says_that_it_grows(name: str, run) -> None:
    state = run.start(METHODS[name]())
    shipped = state.method.deploy(state.student, state.connectors)
    assert (shipped is not state.student) == state.method.grows
    batch = run.stream.batch(0)
    answers = shipped.eval()(batch.inputs)
    assert (len(answers), answers.shape[-1]) == (16, 6)


@every_method
def test_gathers_where_its_batch_is_cut(name: str, run) -> None:
    method = METHODS[name]()
    if not method.reads.coupled:
        pytest.skip("adds up by itself")
    with pytest.raises(MethodError, match=r"training\.coupled"):
        run.start(method, accumulation=2)


def test_ce_without_any_label_is_zero_with_a_zero_gradient(case) -> None:
    made = case("ce")
    batch = made.batch
    without = replace(batch, labels=torch.full_like(batch.labels, ABSENT))
    loss = made.loss(without)
    assert loss == 0
    assert all((gradient == 0).all() for gradient in made.gradient(loss).values())


def test_the_listing_has_every_method_and_its_facts() -> None:
    listed = {entry["name"]: entry for entry in catalogue()}
    assert list(listed) == list(METHODS)
    json.dumps(catalogue(), allow_nan=False)
    for name, entry in listed.items():
        assert set(entry) == {"name", "family", "summary", "reads", "defaults", "paper"}
        assert METHODS[name](**entry["defaults"]) == METHODS[name]()
        assert entry["summary"].endswith(".")
        assert entry["paper"].startswith("https://")


def drawn(made, batch: Batch | None = None) -> torch.Tensor:
    """The loss with the same random numbers each time."""
    torch.manual_seed(0)
    return made.loss(batch)


def parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    """What is trained of a module, copied."""
    return {name: each.detach().clone() for name, each in module.named_parameters() if each.requires_grad}
