"""Terms whose multipliers follow their gradients."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
import torch
from tests.methods.modified import (
    BATCH,
    CLASSES,
    EXAMPLES,
    LABELS,
    STUDENT,
    TEACHER,
    PerClass,
    started,
    ticked,
    traced,
)
from torch import Tensor, nn

from limbeck.data import Preprocessing, Stream
from limbeck.errors import MethodError
from limbeck.methods import CE, KD, Balance, Method, PseudoLabel
from limbeck.models import state_digest
from limbeck.recipe import SGD, Execution, Training
from limbeck.training import distilling, gradient_share, start
from limbeck.training.terms import pull
from limbeck.types import Batch, Outputs, Term, Terms


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
