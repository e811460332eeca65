from __future__ import annotations

import copy

import pytest
import torch

from limbeck.methods.ce import CE
from limbeck.methods.kd import KD
from limbeck.methods.pseudo_label import PseudoLabel
from limbeck.training.fit import trace
from limbeck.training.preflight import estimate, gradient_conflict, gradient_share
from limbeck.types import Outputs


@pytest.fixture
def parties(bench):
    stream, teacher = bench.batches(images=True), bench.image_teacher
    return bench.start(bench.cnn, teacher, stream), stream, teacher


def test_shares_of_the_gradient_sum_to_one(bench, parties) -> None:
    shares = gradient_share(*parties, execution=bench.execution)
    assert set(shares) == {"kd", "ce"}
    assert sum(shares.values()) == pytest.approx(1)


def test_a_heavier_term_has_a_larger_share(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    shares = [
        gradient_share(
            bench.start(bench.mlp, teacher, stream, method=method), stream, teacher, execution=bench.execution
        )
        for method in (KD() + 0.1 * CE(), KD() + 10.0 * CE())
    ]
    odds = [each["ce"] / each["kd"] for each in shares]
    assert odds[1] == pytest.approx(100 * odds[0], rel=1e-4)


def test_the_conflict_is_the_cosine_between_the_gradients(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    methods = {"kd": KD(), "ce": CE(), "pseudo-label": PseudoLabel()}
    state = bench.start(bench.plain_mlp, teacher, stream, method=sum(methods.values()))
    found = gradient_conflict(state, stream, teacher, execution=bench.execution, batches=1)
    batch = stream.batch(0)
    student, answers = Outputs(state.student(batch.inputs)), teacher(batch)
    flat = {}
    for name, method in methods.items():
        (term,) = method.loss(student, answers, batch, None).values()
        each = torch.autograd.grad(
            (term.values * term.weights).sum(), list(state.student.parameters()), retain_graph=True
        )
        flat[name] = torch.cat([gradient.flatten() for gradient in each])
    assert list(found) == [("kd", "ce"), ("kd", "pseudo-label"), ("ce", "pseudo-label")]
    for (one, other), cosine in found.items():
        expected = torch.nn.functional.cosine_similarity(flat[one], flat[other], dim=0)
        assert cosine == pytest.approx(float(expected), abs=1e-6)


def test_terms_on_the_same_way_have_a_cosine_of_one_and_idle_ones_of_zero(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    method = KD() + 3 * KD() + 0 * KD()
    state = bench.start(bench.mlp, teacher, stream, method=method)
    found = gradient_conflict(state, stream, teacher, execution=bench.execution)
    assert found == {
        ("kd", "kd_2"): pytest.approx(1),
        ("kd", "kd_3"): 0,
        ("kd_2", "kd_3"): 0,
    }
    alone = bench.start(bench.mlp, teacher, stream, method=KD())
    assert gradient_conflict(alone, stream, teacher, execution=bench.execution) == {}


def test_looking_ahead_changes_nothing(bench, parties) -> None:
    state, stream, teacher = parties
    before, drawn = copy.deepcopy(state.state_dict()), torch.get_rng_state()
    gradient_share(state, stream, teacher, execution=bench.execution)
    gradient_conflict(state, stream, teacher, execution=bench.execution)
    estimate(state, stream, teacher, execution=bench.execution)
    after = state.state_dict()
    assert after["step"] == before["step"] == 0
    assert not after["optimizer"]["state"]
    assert all(torch.equal(value, before["student"][name]) for name, value in after["student"].items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_the_estimate_counts_bytes_and_multiplies_steps(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.plain_mlp, teacher, stream, steps=50)
    found = estimate(state, stream, teacher, execution=bench.execution)
    weights = sum(parameter.nbytes for parameter in state.student.parameters())
    assert found.parameter_bytes == 3 * weights  # themselves, gradients, momentum
    assert found.activation_bytes == 4 * 12 * (6 + 8)  # inputs of both layers; tanh keeps its own output
    assert found.seconds == pytest.approx(50 * found.step_seconds)


def test_a_trace_is_one_batch_and_what_both_sides_answer_to_it(bench, parties) -> None:
    state, stream, teacher = parties
    traced = trace(
        state.student,
        teacher,
        stream,
        execution=bench.execution,
        device=state.device,
        reads=state.method.reads,
    )
    assert traced.batch.inputs.shape == (12, 2, 5, 5)
    assert traced.student.logits.shape == traced.teacher.logits.shape == (12, 3)
    assert traced.student_model is state.student
    assert torch.equal(traced.pool.ids, stream.source.ids)
