"""Methods that hold a method: how they are written, and what each does to the terms inside."""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import jsonschema
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from limbeck.data import Preprocessing, Stream
from limbeck.errors import MethodError, RecipeError
from limbeck.methods import (
    CE,
    KD,
    WSLD,
    AnyMethod,
    Balance,
    LearnedTemperature,
    Method,
    PseudoLabel,
    Reads,
    SampleWeights,
    Schedule,
    Standardise,
    Sum,
    TemperatureSchedule,
    Traced,
    WarmUp,
    dump,
    parse,
    total,
)
from limbeck.methods.total_variation import TotalVariation
from limbeck.methods.wrapping import leaves, mapped
from limbeck.models import state_digest
from limbeck.pipeline.arms import student_arms
from limbeck.recipe import SGD, Choice, Execution, Training, load
from limbeck.recipe import dump as written
from limbeck.taps import Layer
from limbeck.training import distilling, gradient_share, start
from limbeck.training.terms import pull
from limbeck.types import ABSENT, CLEAN, Batch, Frozen, Outputs, Pool, Term, Terms, digest

pytestmark = pytest.mark.filterwarnings("ignore:standardise takes")

CLASSES, EXAMPLES, STEPS = 10, 6, 11
GENERATOR = torch.Generator().manual_seed(7)
STUDENT, TEACHER = (3 * torch.randn(2, EXAMPLES, CLASSES, generator=GENERATOR, dtype=torch.float64)).unbind()
LABELS = TEACHER.argmax(1)
LABELS[1], LABELS[4] = (LABELS[1] + 1) % CLASSES, ABSENT


class Recipe(Frozen):
    """A recipe with nothing else in it."""

    method: AnyMethod


class Recorded(KD):
    """Says what it was called with, and keeps a part of its own."""

    kind: Literal["kd"] = "kd"
    bound: bool = False

    @property
    def grows(self) -> bool:
        return True

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Method:
        return self.model_copy(update={"bound": True})

    def init(self, traced: Traced) -> nn.Module:
        return nn.Linear(1, 1)

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        assert isinstance(state, nn.Linear)
        state.bias.add_(1)

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        assert isinstance(state, nn.Linear)
        return nn.Sequential(student, state)


class PerClass(Method):
    """A method whose units are classes."""

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = ""
    kind: Literal["per-class"] = "per-class"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none", coupled=True)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"per-class": torch.ones(CLASSES)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        values = student.logits.square().mean(0)
        return {"per-class": Term(values, torch.ones_like(values), unit="class")}


BATCH = Batch(torch.arange(EXAMPLES), torch.zeros(EXAMPLES, 2), LABELS, torch.full((EXAMPLES,), CLEAN))


def traced(student: Tensor = STUDENT, teacher: Tensor = TEACHER, *, pool: bool = True) -> Traced:
    known = Pool(BATCH.ids, BATCH.labels) if pool else None
    return Traced(BATCH, Outputs(student), Outputs(teacher), nn.Linear(1, 1), steps=STEPS, pool=known)


def started(method: Method, **options: Any) -> nn.Module | None:
    state = method.init(traced(**options))
    return None if state is None else state.double()


def loss(
    method: Method,
    state: nn.Module | None = None,
    *,
    student: Tensor = STUDENT,
    teacher: Tensor = TEACHER,
    batch: Batch = BATCH,
) -> Tensor:
    answers = Outputs(teacher) if method.reads.teacher else None
    weights = method.weights(answers, batch)
    terms = method.loss(Outputs(student), answers, batch, state)
    assert list(weights) == list(terms)
    for name, term in terms.items():
        torch.testing.assert_close(weights[name], term.weights, check_dtype=False)
    return total(terms, {name: each.double().sum() for name, each in weights.items()})


def gradient(method: Method, state: nn.Module | None = None, **options: Any) -> Tensor:
    student = STUDENT.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(method, state, student=student, **options), student)
    return found


def ticked(method: Method, state: nn.Module | None, count: int) -> None:
    with torch.no_grad():
        for _ in range(count):
            method.advance(nn.Linear(1, 1), state)


def kl(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    return (softmax(teacher, 1) * (log_softmax(teacher, 1) - log_softmax(student, 1))).sum(1)


WRITTEN: list[tuple[Any, Method]] = [
    ({"standardise": {"of": {"kd": {"temperature": 2, "weight": 9}}}, "ce": {"weight": 0.1}},
     Standardise(of=KD(temperature=2, weight=9)) + 0.1 * CE()),
    ({"standardise": {"of": "kd", "weight": 2}}, 2 * Standardise(of=KD())),
    ({"warm-up": {"of": {"kd": {}, "pseudo-label": None}, "steps": 5}},
     WarmUp(of=KD() + PseudoLabel(), steps=5)),
    ({"warm-up": {"of": [{"kd": {"temperature": 1}}, {"kd": {"temperature": 4}}]}},
     WarmUp(of=KD(temperature=1) + KD(temperature=4))),
    ({"schedule": {"of": {"standardise": {"of": {"learned-temperature": {"highest": 9}}}}, "shape": "cosine"}},
     Schedule(of=Standardise(of=LearnedTemperature(highest=9)), shape="cosine")),
    ({"balance": {"shares": {"kd": 3, "ce": 1}}}, Balance(shares={"kd": 3, "ce": 1})),
]  # fmt: skip
SCHEMA = Recipe.model_json_schema()
every_form = pytest.mark.parametrize(("written", "expected"), WRITTEN, ids=[repr(one) for one, _ in WRITTEN])


@every_form
def test_is_read_as_it_is_written(written: Any, expected: Method) -> None:
    assert parse(written) == expected
    jsonschema.validate({"method": written}, SCHEMA)


@every_form
def test_comes_back_equal_from_plain_data(written: Any, expected: Method) -> None:
    plain = json.loads(json.dumps(dump(expected)))
    jsonschema.validate({"method": plain}, SCHEMA)
    assert parse(plain) == expected
    assert digest(parse(plain)) == digest(expected)
    recipe = Recipe(method=expected)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_anything_inside_changes_the_digest() -> None:
    inside = [KD(), KD(temperature=3), KD() + CE(), CE() + KD(), 2 * KD(), WarmUp(of=KD())]
    assert len({digest(WarmUp(of=method)) for method in inside}) == len(inside)


@pytest.mark.parametrize(
    ("written", "places"),
    [
        ({"standardise": {"of": {"kd": {"temperature": 0}}}}, {("standardise", "of", "kd", "temperature")}),
        ({"warm-up": {"of": {"kdd": {}}, "steps": 0}}, {("warm-up", "of", "kdd"), ("warm-up", "steps")}),
        (
            {"warm-up": {"of": {"schedule": {"of": [{"kd": {"temprature": 1}}]}}}},
            {("warm-up", "of", "schedule", "of", 0, "kd", "temprature")},
        ),
        ({"standardise": {"of": {"ce": {}}}}, {("standardise", "of")}),
        ({"warm-up": {"of": {"standardise": {"of": "ce"}}}}, {("warm-up", "of", "standardise", "of")}),
        ({"balance": {"shares": {"kd": 0}}}, {("balance", "shares", "kd")}),
    ],
)
def test_a_mistake_inside_has_its_place(written: Any, places: set[tuple[Any, ...]]) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe(method=written)
    assert {error["loc"] for error in caught.value.errors()} == {("method", *place) for place in places}


def test_a_recipe_names_the_line_and_the_nearest_name_inside() -> None:
    text = """
data: {kind: digits}
teacher: {model: {kind: linear}}
student: {model: {kind: linear}}
method:
  standardise:
    of:
      kd:
        temprature: 2
"""
    with pytest.raises(RecipeError, match=r"method\.standardise\.of\.kd.*line 9.*'temperature'"):
        load(text)


def test_the_schema_refuses_a_mistake_inside() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"method": {"warm-up": {"of": {"kd": {"temperature": 0}}}}}, SCHEMA)


def test_a_factor_scales_the_modifier_and_so_all_inside() -> None:
    method = WarmUp(of=KD() + CE(weight=0.5), steps=4)
    assert 2 * method == WarmUp(of=KD() + CE(weight=0.5), steps=4, weight=2)
    assert method + CE() == Sum(methods=(method, CE()))
    state = started(method)
    torch.testing.assert_close(loss(2 * method, state), 2 * loss(method, state))
    torch.testing.assert_close(loss(0.5 * Standardise(of=2 * KD())), loss(Standardise(of=KD())))


def test_leaves_carry_all_their_weights_and_can_be_replaced() -> None:
    method = 2 * WarmUp(of=3 * KD() + 0.5 * Standardise(of=KD(temperature=1))) + CE()
    assert list(leaves(method)) == [6 * KD(), KD(temperature=1), CE()]
    sharp = mapped(method, lambda leaf: leaf.model_copy(update={"weight": 0.0}))
    assert sharp == 2 * WarmUp(of=0 * KD() + 0.5 * Standardise(of=0 * KD(temperature=1))) + 0 * CE()


def test_the_inner_method_is_bound_advanced_and_shipped() -> None:
    method = WarmUp(of=Recorded() + CE())
    assert method.grows
    bound = method.bind([], None)
    assert [getattr(part, "bound", None) for part in leaves(bound)] == [True, None]
    state = started(bound)
    shipped = bound.deploy(nn.Linear(1, 1), state)
    before = shipped[1].bias.detach().clone()
    ticked(bound, state, 3)
    torch.testing.assert_close(shipped[1].bias.detach(), before + 3)


RECIPE: dict[str, Any] = {
    "data": {"kind": "digits", "labelled": 100},
    "teacher": {"model": {"kind": "linear"}},
    "student": {"model": {"kind": "linear"}},
}


def test_the_rest_of_the_library_looks_inside() -> None:
    recipe = load({**RECIPE, "method": {"balance": {"of": {"kd": {}, "ce": {"weight": 0.5}}, "weight": 2}}})
    assert student_arms(recipe)["pseudo-labels"].method == PseudoLabel() + CE()
    _, smoothed = Choice(label_smoothing=0.2).apply(recipe.training, recipe.method)
    assert smoothed == 2 * Balance(of=KD() + CE(weight=0.5, label_smoothing=0.2))
    again = load(written(recipe), overrides=["method.balance.of.kd.temperature=3"])
    assert again.method == 2 * Balance(of=KD(temperature=3) + CE(weight=0.5))
    with pytest.raises(RecipeError, match="only fits labels"):
        load({**RECIPE, "method": {"warm-up": {"of": "ce"}}})


# Standardise


def z(logits: Tensor) -> np.ndarray:
    plain = logits.numpy()
    return (plain - plain.mean(1, keepdims=True)) / plain.std(1, ddof=0, keepdims=True)


def test_standardised_kd_compares_z_scores_at_a_temperature() -> None:
    expected = 9 * 2**2 * kl(z(STUDENT) / 2, z(TEACHER) / 2).mean()
    assert float(loss(Standardise(of=KD(temperature=2, weight=9)))) == pytest.approx(expected, rel=1e-9)


def test_standardised_logits_have_neither_offset_nor_scale() -> None:
    method = Standardise(of=KD())
    generator = torch.Generator().manual_seed(3)
    scale, offset = torch.rand(2, EXAMPLES, 1, generator=generator, dtype=torch.float64) * 5 + 0.1
    torch.testing.assert_close(loss(method, student=scale * STUDENT + offset), loss(method))
    torch.testing.assert_close(loss(method, teacher=scale * TEACHER + offset), loss(method))
    assert float(loss(method, student=scale * TEACHER + offset)) == pytest.approx(0, abs=1e-12)


def test_standardise_shows_the_inner_method_the_same_as_its_loss_sees() -> None:
    seen = Standardise().shown(traced())
    np.testing.assert_allclose(seen.student.logits, z(STUDENT), rtol=1e-9)
    np.testing.assert_allclose(seen.teacher.logits, z(TEACHER), rtol=1e-9)


def test_standardised_weights_follow_the_standardised_teacher() -> None:
    method = Standardise(of=SampleWeights(of=KD(), by="confidence"))
    expected = softmax(z(TEACHER), 1).max(1)
    np.testing.assert_allclose(method.weights(Outputs(TEACHER), BATCH)["kd"], expected, rtol=1e-6)
    loss(method)


def test_two_classes_are_refused_and_few_are_warned_about() -> None:
    two = Outputs(STUDENT[:, :2])
    with pytest.raises(MethodError, match="at least 3 classes, got 2"):
        Standardise().init(replace(traced(), student=two, teacher=two))
    few = Outputs(STUDENT[:, :9])
    with pytest.warns(UserWarning, match="leaves 7 numbers of 8"):
        Standardise().init(replace(traced(), student=few, teacher=few))
    Standardise().init(traced())


@pytest.mark.parametrize("kind", [Standardise, LearnedTemperature])
def test_only_methods_on_both_sides_logits_take_other_logits(kind: type[Method]) -> None:
    with pytest.raises(ValidationError, match="got CE"):
        kind.model_validate({"of": KD(temperature=1) + CE()})


# WarmUp and Schedule


def test_warm_up_grows_in_a_straight_line_to_the_whole() -> None:
    method = WarmUp(of=KD() + CE(), steps=4)
    state, whole = started(method), loss(KD() + CE())
    for share in (0.25, 0.5, 0.75, 1.0, 1.0):
        torch.testing.assert_close(loss(method, state), share * whole)
        ticked(method, state, 1)


@pytest.mark.parametrize(
    ("shape", "middle"), [("linear", 3 - 2 * 0.2), ("cosine", 3 - 2 * (1 - math.cos(0.2 * math.pi)) / 2)]
)
def test_a_schedule_moves_the_weight_over_the_training(shape: str, middle: float) -> None:
    method = Schedule(of=KD(), start=3, final=1, shape=shape)
    state, whole = started(method), float(loss(KD()))
    found = []
    for _ in range(STEPS + 2):
        found.append(float(loss(method, state)) / whole)
        ticked(method, state, 1)
    assert found[0] == pytest.approx(3)
    assert found[2] == pytest.approx(middle)
    assert found[STEPS - 1 :] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("method", [Schedule(), TemperatureSchedule()], ids=repr)
def test_what_goes_over_the_whole_training_must_know_its_length(method: Method) -> None:
    with pytest.raises(MethodError, match="Set its steps"):
        method.init(traced(pool=False))
    method.model_copy(update={"steps": 5}).init(traced(pool=False))


# Temperatures


def test_a_temperature_schedule_is_the_method_at_each_temperature() -> None:
    method = TemperatureSchedule(of=KD(temperature=7) + Standardise(of=KD()), start=6, final=1, steps=6)
    state = started(method)
    for temperature in (6, 5, 4, 3, 2, 1, 1):
        expected = KD(temperature=temperature) + Standardise(of=KD(temperature=temperature))
        torch.testing.assert_close(loss(method, state), loss(expected))
        ticked(method, state, 1)


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (CE(), "must have a temperature, got CE"),
        (KD() + PseudoLabel(), "got PseudoLabel"),
        (LearnedTemperature(), "got LearnedTemperature"),
        (WarmUp(of=TemperatureSchedule()), "got TemperatureSchedule"),
    ],
)
def test_a_temperature_schedule_refuses_what_has_no_temperature_to_move(inside: Method, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TemperatureSchedule(of=inside)


def learned(method: Method, *, step: int) -> tuple[nn.Module, nn.Parameter, float]:
    """A state so many steps on, the parameter of its temperature, and that temperature."""
    state = started(method)
    ticked(method, state, step)
    (place,) = state.parameters()
    return state, place, float(1 + 20 * torch.sigmoid(place.detach()))


@pytest.mark.parametrize("kind", [KD, TotalVariation])
def test_a_learned_temperature_is_the_method_at_that_temperature(kind: type[Method]) -> None:
    method = LearnedTemperature(of=kind(temperature=1, weight=3), weight=2)
    state, place, temperature = learned(method, step=7)
    fixed = kind(temperature=temperature, weight=6)
    torch.testing.assert_close(loss(method, state), loss(fixed))
    torch.testing.assert_close(gradient(method, state), gradient(fixed))
    assert place.shape == ()


@pytest.mark.parametrize(
    ("step", "strength"), [(0, 0.0), (25, (1 - math.cos(math.pi / 4)) / 2), (100, 1), (150, 1)]
)
def test_the_temperature_learns_against_the_student(step: int, strength: float) -> None:
    method = LearnedTemperature(of=KD(temperature=1), rise_steps=100)
    state, place, _ = learned(method, step=step)
    loss(method, state).backward()

    def at(number: float) -> float:
        return float(loss(KD(temperature=1 + 20 / (1 + math.exp(-number)))))

    middle = float(place.detach())
    slope = (at(middle + 1e-5) - at(middle - 1e-5)) / 2e-5
    assert abs(slope) > 1e-3
    assert float(place.grad) == pytest.approx(-strength * slope, rel=1e-5, abs=1e-12)


def test_an_absent_class_leaves_the_learned_temperature_finite() -> None:
    method = LearnedTemperature()
    state, place, temperature = learned(method, step=100)
    absent = torch.zeros(CLASSES, dtype=torch.bool)
    absent[2] = True
    student, teacher = (logits.masked_fill(absent, -torch.inf) for logits in (STUDENT, TEACHER))
    value = loss(method, state, student=student, teacher=teacher)
    value.backward()
    assert place.grad.isfinite()
    expected = loss(KD(temperature=temperature), student=STUDENT[:, ~absent], teacher=TEACHER[:, ~absent])
    torch.testing.assert_close(value, expected)


def test_the_learned_temperature_leaves_weights_to_the_teacher_as_it_is() -> None:
    method = LearnedTemperature(of=SampleWeights(of=KD(temperature=1)))
    state, _, temperature = learned(method, step=3)
    each = softmax(TEACHER.numpy(), 1).max(1)
    values = temperature**2 * kl(STUDENT.numpy() / temperature, TEACHER.numpy() / temperature)
    found = loss(method, state).detach()
    assert float(found) == pytest.approx((each * values).sum() / each.sum(), rel=1e-6)


def test_a_learned_temperature_takes_the_place_of_one() -> None:
    with pytest.raises(ValidationError, match="temperature of 1"):
        LearnedTemperature(of=KD(temperature=2))
    with pytest.raises(ValidationError, match="temperature of 1"):
        LearnedTemperature(of=PseudoLabel())
    with pytest.raises(ValidationError, match="lowest must be below highest"):
        LearnedTemperature(lowest=3, highest=3)


def test_what_does_more_than_divide_by_its_temperature_is_refused_before_the_first_step() -> None:
    with pytest.raises(MethodError, match="'kd' does more"):
        LearnedTemperature(of=Standardise(of=KD(temperature=1))).init(traced())


# Sample weights


def entropy_weight(logits: np.ndarray) -> np.ndarray:
    p = softmax(logits, 1)
    return 1 + (p * np.log(p)).sum(1) / np.log(p.shape[1])


WEIGHTS = {
    "confidence": softmax(TEACHER.numpy(), 1).max(1),
    "entropy": entropy_weight(TEACHER.numpy()),
    "teacher-correct": np.array([1, 0.25, 1, 1, 1, 1]),
}


@pytest.mark.parametrize("by", WEIGHTS)
def test_samples_are_averaged_by_their_weights(by: str) -> None:
    method = SampleWeights(of=KD(temperature=2), by=by, wrong_weight=0.25)
    values = 4 * kl(STUDENT.numpy() / 2, TEACHER.numpy() / 2)
    expected = (WEIGHTS[by] * values).sum() / WEIGHTS[by].sum()
    assert float(loss(method)) == pytest.approx(expected, rel=1e-6)


def test_weights_multiply_those_of_the_inner_terms() -> None:
    found = SampleWeights(of=KD() + CE()).weights(Outputs(TEACHER), BATCH)
    np.testing.assert_allclose(found["ce"], WEIGHTS["confidence"] * (LABELS != ABSENT).numpy(), rtol=1e-6)


def test_equal_weights_are_none() -> None:
    turned = torch.stack([TEACHER[0].roll(number) for number in range(EXAMPLES)])
    for by in ("confidence", "entropy"):
        torch.testing.assert_close(loss(SampleWeights(by=by), teacher=turned), loss(KD(), teacher=turned))
    torch.testing.assert_close(loss(SampleWeights(by="teacher-correct", wrong_weight=1)), loss(KD()))


def test_a_wrong_teacher_is_left_out() -> None:
    rows = torch.tensor([0, 2, 3, 4, 5])
    kept = Batch(BATCH.ids[rows], BATCH.inputs[rows], LABELS[rows], BATCH.views[rows])
    expected = loss(KD(), student=STUDENT[rows], teacher=TEACHER[rows], batch=kept)
    torch.testing.assert_close(loss(SampleWeights(by="teacher-correct")), expected)


def test_only_teacher_correct_reads_labels() -> None:
    assert SampleWeights(by="teacher-correct").reads.labels == "some"
    assert SampleWeights(by="entropy").reads.labels == "none"
    assert SampleWeights(of=CE()).reads.teacher


@pytest.mark.parametrize("kind", [SampleWeights, WSLD])
def test_other_units_than_examples_are_refused_before_the_first_step(kind: type[Method]) -> None:
    with pytest.raises(MethodError, match=r"'per-class' has values of the shape \[10\] for 6 examples"):
        kind.model_validate({"of": PerClass()}).init(traced())


def wsld_factor() -> np.ndarray:
    rows, labels = np.arange(EXAMPLES), LABELS.numpy()
    ours, theirs = (-log_softmax(logits.numpy(), 1)[rows, labels] for logits in (STUDENT, TEACHER))
    return np.where(labels == ABSENT, 1.0, 1 - np.exp(-ours / theirs))


def test_wsld_listens_less_where_the_student_is_the_better() -> None:
    values = 4 * kl(STUDENT.numpy() / 2, TEACHER.numpy() / 2)
    each = wsld_factor()
    assert ((each > 0) & (each <= 1)).all()
    assert float(loss(WSLD(of=KD(temperature=2)))) == pytest.approx((each * values).mean(), rel=1e-9)


def test_the_factor_of_wsld_has_no_gradient() -> None:
    expected = torch.from_numpy(wsld_factor())[:, None] * gradient(KD())
    torch.testing.assert_close(gradient(WSLD(of=KD())), expected)


def test_wsld_is_finite_where_both_sides_are_certain() -> None:
    certain = torch.nn.functional.one_hot(LABELS.clamp(min=0), CLASSES).double() * 1e4
    assert float(loss(WSLD(), student=certain, teacher=certain)) == 0
    assert torch.isfinite(loss(WSLD(), teacher=certain))


# Balance


def whole_batches(run: Any) -> Any:
    """Trainings whose every batch holds all samples, so that a term's gradient hardly moves between steps."""
    source = run.stream.source
    stream = Stream(source, Preprocessing().fitted(source), batch_examples=len(source), seed=3)
    slow = SGD(learning_rate=1e-6, momentum=0, nesterov=False)
    return replace(
        run, stream=stream, training=Training(steps=20, batch_examples=len(source), optimizer=slow)
    )


def measured(run: Any, state: Any) -> dict[str, float]:
    return gradient_share(state, run.stream, run.teacher(state.method), execution=Execution())


@pytest.mark.parametrize(
    ("shares", "wanted"), [(None, {"kd": 0.5, "ce": 0.5}), ({"ce": 1, "kd": 3}, {"kd": 0.75, "ce": 0.25})]
)
@pytest.mark.parametrize("weight", [1e-4, 1e4])
def test_terms_far_apart_reach_their_shares(
    shares: Any, wanted: dict[str, float], weight: float, run
) -> None:
    long = whole_batches(run)
    method = Balance(of=KD() + CE(weight=weight), shares=shares, every_steps=2)
    state = long.start(method)
    apart = measured(long, long.start(KD() + CE(weight=weight)))
    assert max(apart.values()) > 0.999
    long.go(state, steps=5)
    assert state.connectors["own"].measurements.tolist() == [3, 3]
    assert measured(long, state) == pytest.approx(wanted, rel=0.1)


def scripted(method: Method, state: nn.Module | None, norms: Sequence[float]) -> Terms:
    """A loss whose terms' gradients have the norms that are given, and not one more is asked for."""
    left = iter(norms)
    student = Outputs(STUDENT.clone().requires_grad_(), pull=lambda number: torch.tensor(next(left)))
    terms = method.loss(student, Outputs(TEACHER), BATCH, state)
    assert next(left, None) is None
    return terms


def multipliers(terms: Terms, method: Method) -> list[float]:
    plain = method.loss(Outputs(STUDENT), Outputs(TEACHER), BATCH, None)
    ratios = [term.values / plain[name].values for name, term in terms.items()]
    return [float(ratio[ratio.isfinite()].mean().detach()) for ratio in ratios]


def test_multipliers_follow_the_logarithms_of_what_was_measured() -> None:
    inside = KD() + CE() + PseudoLabel()
    method = Balance(of=inside, every_steps=1, memory=0.5, shares={"kd": 2, "ce": 1, "pseudo-label": 4})
    state = started(method)
    terms = scripted(method, state, [1.0, 10.0, 0.1])
    assert multipliers(terms, inside) == pytest.approx([1, 0.05, 20])
    ticked(method, state, 1)
    terms = scripted(method, state, [2.0, 40.0, 0.1])
    assert multipliers(terms, inside) == pytest.approx([1, math.sqrt(0.05 * 0.025), math.sqrt(20 * 40)])


def test_a_term_without_a_gradient_keeps_its_multiplier() -> None:
    method = Balance(every_steps=1, memory=0)
    state = started(method)
    assert multipliers(scripted(method, state, [1.0, 4.0]), method.of) == pytest.approx([1, 0.25])
    for norms in ([1.0, 0.0], [0.0, 1.0], [1.0, math.inf], [math.nan, 1.0]):
        ticked(method, state, 1)
        assert multipliers(scripted(method, state, norms), method.of) == pytest.approx([1, 0.25])


def test_the_gradients_are_measured_once_in_so_many_steps() -> None:
    method = Balance(every_steps=3)
    state = started(method)
    for step in range(7):
        scripted(method, state, [1.0, 1.0] if step % 3 == 0 else [])
        scripted(method, state, [])  # the second micro-batch
        ticked(method, state, 1)


def test_a_balance_needs_terms_and_a_share_for_each() -> None:
    with pytest.raises(MethodError, match="at least two terms, got kd"):
        Balance(of=KD()).init(traced())
    with pytest.raises(MethodError, match="names kd, expected each of kd, ce"):
        Balance(shares={"kd": 1}).init(traced())
    with pytest.raises(MethodError, match="names kd, ce, hint"):
        Balance(shares={"kd": 1, "ce": 1, "hint": 1}).init(traced())


def test_a_balanced_training_resumes_exactly(run) -> None:
    method = Balance(of=KD() + CE(weight=100), every_steps=2)
    whole, half, again = (run.start(method) for _ in range(3))
    run.go(whole, steps=6)
    run.go(half, steps=3)
    saved = io.BytesIO()
    torch.save(half.state_dict(), saved)
    saved.seek(0)
    again.load_state_dict(torch.load(saved, weights_only=True))
    run.go(again, steps=3)
    assert whole.connectors["own"].measurements.tolist() == [3, 3]
    assert state_digest(again.student) == state_digest(whole.student)
    assert state_digest(again.connectors) == state_digest(whole.connectors)


class Coupled(PerClass):
    """Couples the batch, and notes how hard its term pulls."""

    kind: Literal["per-class"] = "per-class"
    pulls: ClassVar[list[float]] = []

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"per-class": torch.ones(1)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        value = student.logits.mean(0).square().sum()[None]
        if student.pull is not None:
            self.pulls.append(float(student.pull(value.sum())))
        return {"per-class": Term(value, torch.ones_like(value), unit="batch")}


def test_a_gathered_batch_pulls_as_its_first_micro_batch(run) -> None:
    Coupled.pulls.clear()
    training = run.training.model_copy(update={"accumulation": 2, "coupled": "gather"})
    state = start(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 6)), Coupled(), run.teacher(Coupled()), run.stream,
        training=training, execution=Execution(), seed=0,
    )  # fmt: skip
    student = copy.deepcopy(state.student)
    run.go(state, steps=1)
    logits = student(run.stream.batch(0).inputs)
    value = torch.cat([logits[:8], logits[8:].detach()]).mean(0).square().sum()
    assert Coupled.pulls == pytest.approx([float(pull(student, value))])


@pytest.mark.filterwarnings("ignore:accumulation is 2")
def test_measuring_a_gathered_batch_counts_no_statistics(run) -> None:
    plain = run.start(Coupled() + CE(), accumulation=2, coupled="gather")
    balanced = run.start(Balance(of=Coupled() + CE()), accumulation=2, coupled="gather")
    for state in (plain, balanced):
        run.go(state, steps=1)
    for one, other in zip(plain.student.buffers(), balanced.student.buffers(), strict=True):
        assert torch.equal(one, other)
    assert balanced.connectors["own"].multipliers[1] != 1


def test_terms_are_balanced_in_a_loop_of_the_users_own() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(EXAMPLES, 4, generator=generator)
    student, teacher = nn.Linear(4, CLASSES), nn.Linear(4, CLASSES)
    parts = [KD(), CE(weight=1e4)]
    alone = []
    for part in parts:
        with distilling(student, teacher, part, allow_labels=True) as d:
            alone.append(d.loss(inputs, labels=LABELS))
    norms = [pull(student, value) for value in alone]
    with distilling(student, teacher, Balance(of=sum(parts)), allow_labels=True) as d:
        found = d.loss(inputs, labels=LABELS, logits=student(inputs))
    torch.testing.assert_close(found, alone[0] + alone[1] * norms[0] / norms[1])
