from __future__ import annotations

import copy

import pytest
import torch

from limbeck.methods.ce import CE
from limbeck.methods.kd import KD
from limbeck.training.fit import trace
from limbeck.training.preflight import estimate, gradient_share


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


def test_looking_ahead_changes_nothing(bench, parties) -> None:
    state, stream, teacher = parties
    before, drawn = copy.deepcopy(state.state_dict()), torch.get_rng_state()
    gradient_share(state, stream, teacher, execution=bench.execution)
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


def test_trace_names_every_shape(bench, parties) -> None:
    state, stream, teacher = parties
    traced = trace(state.student, teacher, stream, execution=bench.execution, device=state.device)
    assert traced.shapes == {"inputs": (12, 2, 5, 5), "student.logits": (12, 3), "teacher.logits": (12, 3)}
