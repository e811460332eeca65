"""What each method means in which several students learn from each other."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import Branches, Method, Mutual, OnlineEnsemble, Traced
from limbeck.methods.branches import tail
from limbeck.models import MLP, Architecture, Residual, Separable, ViT
from limbeck.taps import layers, stages, tap
from limbeck.types import Batch, Outputs

METHODS = [
    Mutual(peers=3, temperature=2.0),
    OnlineEnsemble(peers=3),
    OnlineEnsemble(peers=3, mean="probability"),
]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.kind} {method.peers}")
FAMILIES = [
    Residual(width=4, depth=2),
    Separable(width=4, depth=2),
    ViT(width=16, depth=3),
    MLP(width=8, depth=3),
]


def log_softmaxes(logits: list[Tensor], temperature: float) -> list[np.ndarray]:
    return [log_softmax(each.detach().numpy() / temperature, axis=-1) for each in logits]


def kl(log_q: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    return rel_entr(np.exp(log_p), np.exp(log_q)).sum(-1)


def targets(method: Method, logits: list[Tensor], number: int) -> list[np.ndarray]:
    """The log-probabilities that one party learns from, by the paper's words."""
    each = log_softmaxes(logits, method.temperature)
    if isinstance(method, Mutual):
        return [log_p for place, log_p in enumerate(each) if place != number]
    if method.mean == "logit":
        mean = torch.stack([one.detach() for one in logits]).mean(0)
        return log_softmaxes([mean], method.temperature)
    return [np.log(np.mean(np.exp(each), 0))]


def differing(method: Method, case):
    """A case whose models all differ, and the student's answers."""
    made = case(method)
    with torch.no_grad():
        for parameter in made.state.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    student, _ = made.answers()
    return made, student


@every_method
def test_each_party_learns_from_the_others_and_peers_from_labels(method: Method, case) -> None:
    made, student = differing(method, case)
    logits = [student.logits, *made.state(made.batch.inputs)]
    ours = log_softmaxes(logits, method.temperature)
    expected = [
        np.mean([kl(log_q, log_p) for log_p in targets(method, logits, number)], axis=0)
        for number, log_q in enumerate(ours)
    ]
    rows = made.batch.labelled.numpy()
    labels = made.batch.labels.numpy()[rows]
    hard = -sum(log_q[rows, labels] for log_q in log_softmaxes(logits[1:], 1.0))
    own, peers, supervised = made.method.loss(student, None, made.batch, made.state).values()
    assert own.scale == peers.scale == method.temperature**2
    np.testing.assert_allclose(own.values.detach().numpy(), expected[0])
    np.testing.assert_allclose(peers.values.detach().numpy(), np.sum(expected[1:], axis=0))
    np.testing.assert_allclose(supervised.values.detach().numpy()[rows], hard)
    assert torch.equal(supervised.weights, made.batch.labelled.double())


@every_method
def test_peers_get_no_gradient_from_the_student_nor_the_student_from_them(method: Method, case) -> None:
    made, student = differing(method, case)
    terms = made.method.loss(student, None, made.batch, made.state)
    name = made.method.kind
    for of_peers in (f"{name}-peers", f"{name}-peers-ce"):
        loss = terms[of_peers].values.sum()
        assert all((gradient == 0).all() for gradient in made.gradient(loss).values())
        found = torch.autograd.grad(loss, list(made.state.parameters()), retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in found)
    own = terms[name].values.sum()
    found = torch.autograd.grad(own, list(made.state.parameters()), retain_graph=True, allow_unused=True)
    assert set(found) == {None}
    assert any((gradient != 0).any() for gradient in made.gradient(own).values())


@every_method
def test_a_target_gets_no_gradient(method: Method, case) -> None:
    made, student = differing(method, case)
    logits = [student.logits, *made.state(made.batch.inputs)]
    leaf = Outputs(student.logits.detach().requires_grad_())
    term = made.method.loss(leaf, None, made.batch, made.state)[made.method.kind]
    (found,) = torch.autograd.grad(term.values.sum() * term.scale, leaf.logits)
    p = np.mean([np.exp(log_p) for log_p in targets(method, logits, 0)], axis=0)
    q = np.exp(log_softmaxes(logits[:1], method.temperature)[0])
    np.testing.assert_allclose(found.numpy(), method.temperature * (q - p), atol=1e-12)


@every_method
def test_equal_parties_have_nothing_to_learn_from_each_other(method: Method, case) -> None:
    made = case(method)
    for peer in made.state.students:
        peer.load_state_dict(made.student.state_dict())
    student, _ = made.answers()
    terms = made.method.loss(student, None, made.batch, made.state)
    for name in (method.kind, f"{method.kind}-peers"):
        torch.testing.assert_close(terms[name].values, torch.zeros_like(terms[name].values))


@pytest.mark.parametrize("method", [Mutual(), OnlineEnsemble()])
def test_peers_differ_and_train_in_training_mode(method: Method, run) -> None:
    state = run.start(method)
    (peer,) = state.connectors.students
    assert not torch.equal(peer.head.weight, state.student.head.weight)
    run.go(state, steps=3)
    tracked = {
        name: int(value) for name, value in peer.named_buffers() if name.endswith("num_batches_tracked")
    }
    assert set(tracked.values()) == {3}


@pytest.mark.parametrize("method", [Mutual(), OnlineEnsemble(), Branches()])
def test_other_models_run_in_the_plans_number_format(method: Method, case) -> None:
    made, entered = case(method), []

    @contextmanager
    def computing():
        entered.append(True)
        with torch.autocast("cpu", torch.bfloat16):
            yield

    made.student.float()
    made.method = made.method.bind(layers(made.student, made.batch.inputs.float()), None)
    batch = Batch(made.batch.ids, made.batch.inputs.float(), made.batch.labels, made.batch.views)
    student, _ = made.answers(batch)
    state = made.method.init(
        Traced(batch, student, None, made.student, fresh=lambda: made.student, computing=computing)
    )
    terms = made.method.loss(student, None, batch, state)
    assert entered
    assert {term.values.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.parametrize("method", [Mutual(), OnlineEnsemble(), Branches()])
def test_other_models_must_be_buildable(method: Method, case) -> None:
    made = case(method)
    student, _ = made.answers()
    with pytest.raises(MethodError, match="cannot build"):
        made.method.init(Traced(made.batch, student, None, made.student))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_a_tail_is_what_runs_after_a_stage(family: Architecture) -> None:
    student, inputs = family.build((1, 8, 8), 5).eval(), torch.randn(3, 1, 8, 8)
    found = stages(layers(student, inputs))
    assert len(found) > 1
    for place in found:
        with tap(student, place) as features:
            logits = student(inputs)
        torch.testing.assert_close(tail(student, place)(features[place]), logits)


def test_a_tail_runs_a_shared_layer_as_often_as_the_model_does() -> None:
    shared = nn.Linear(4, 4)
    chain = nn.Sequential(nn.Linear(4, 4), shared, nn.Tanh(), shared)
    inputs = torch.randn(2, 4)
    torch.testing.assert_close(tail(chain, "0")(chain[0](inputs)), chain(inputs))


def test_a_tail_of_what_is_no_chain_is_refused(case) -> None:
    made = case("branches")
    for place in ("stages.0.0.first", "nowhere", "stem@in"):
        with pytest.raises(MethodError, match="not in a row"):
            tail(made.student, place)


def test_branches_are_taught_by_their_gated_mean(case) -> None:
    method = Branches(branches=2, temperature=2.0)
    made, student = differing(method, case)
    features = student.taps[made.method.place]
    logits = [student.logits, *(part(features) for part in made.state.tails)]
    gate = made.state.gate
    scores = features.mean((2, 3)) @ gate.weight.T + gate.bias
    shares = np.exp(log_softmax(scores.detach().numpy(), axis=-1))
    mean = sum(shares[:, [k]] * each.detach().numpy() for k, each in enumerate(logits))
    log_p = log_softmax(mean / 2, axis=-1)
    apart = [kl(log_q, log_p) for log_q in log_softmaxes(logits, 2.0)]
    rows = made.batch.labelled.numpy()
    labels = made.batch.labels.numpy()[rows]
    hard = -sum(log_q[rows, labels] for log_q in log_softmaxes(logits[1:], 1.0))
    expected = [apart[0], apart[1] + apart[2], hard, -log_softmax(mean, axis=-1)[rows, labels]]
    terms = made.method.loss(student, None, made.batch, made.state)
    for term, values in zip(terms.values(), expected, strict=True):
        found = term.values[term.weights > 0]
        np.testing.assert_allclose(found.detach().numpy(), values)
    assert [term.scale for term in terms.values()] == [4, 4, 1, 1]


def test_branches_teach_the_trunk_and_not_the_students_last_part(case) -> None:
    made, student = differing(Branches(), case)
    terms = made.method.loss(student, None, made.batch, made.state)
    loss = (terms["branches-others"].values + terms["branches-others-ce"].values).sum()
    gradients = made.gradient(loss)
    assert gradients["stem.0.weight"].abs().sum() > 0
    assert all(
        (gradient == 0).all() for name, gradient in gradients.items() if name.startswith(("stages.1", "head"))
    )
