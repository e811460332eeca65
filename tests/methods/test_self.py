"""What each method means in which a student is its own teacher."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import CE, EMA, ClassPairs, Exits, Method, PastSelf, Traced, VirtualTeacher, total
from limbeck.models import MLP, Residual, ViT
from limbeck.taps import layers
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, Pool

ROWS, CLASSES = 6, 4
GENERATOR = torch.Generator().manual_seed(1)
STUDENT = 3 * torch.randn(ROWS, CLASSES, generator=GENERATOR, dtype=torch.float64)


def given(labels: Iterable[int], ids: Iterable[int] | None = None) -> Batch:
    known = torch.tensor(list(labels))
    numbers = torch.arange(len(known)) if ids is None else torch.tensor(list(ids))
    return Batch(numbers, torch.zeros(len(known), 2), known, torch.full((len(known),), CLEAN))


def kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (
        np.exp(log_softmax(logits.detach().numpy() / temperature, axis=-1)) for logits in (teacher, student)
    )
    return torch.as_tensor(rel_entr(p, q).sum(-1))


def whole(method: Method, student: Tensor, batch: Batch, state: nn.Module | None = None) -> Tensor:
    divisors = {name: weights.sum() for name, weights in method.weights(None, batch).items()}
    return total(method.loss(Outputs(student), None, batch, state), divisors)


def slope(method: Method, batch: Batch) -> Tensor:
    leaf = STUDENT.clone().requires_grad_()
    (found,) = torch.autograd.grad(whole(method, leaf, batch), leaf)
    return found


def moved(module: nn.Module) -> None:
    """Another module, so to speak: every number of it is changed."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.999])
def test_ema_leaves_equal_weights_as_they_are(momentum: float, case) -> None:
    made = case(EMA(momentum=momentum))
    before = {name: value.clone() for name, value in made.student.state_dict().items()}
    for _ in range(3):
        made.method.advance(made.student, made.state)
    after = made.state.student.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_ema_without_momentum_copies_the_student(case) -> None:
    made = case(EMA(momentum=0.0))
    moved(made.student)
    made.method.advance(made.student, made.state)
    after = made.state.student.state_dict()
    assert all(torch.equal(after[name], value) for name, value in made.student.state_dict().items())


def test_ema_moves_weights_by_the_momentum_and_copies_buffers(case) -> None:
    made = case(EMA(momentum=0.9))
    expected = {name: value.detach().clone() for name, value in made.student.named_parameters()}
    for _ in range(3):
        moved(made.student)
        made.method.advance(made.student, made.state)
        for name, value in made.student.named_parameters():
            expected[name] = 0.9 * expected[name] + 0.1 * value.detach()
    for name, value in made.state.student.named_parameters():
        torch.testing.assert_close(value, expected[name])
    theirs = dict(made.student.named_buffers())
    assert all(torch.equal(value, theirs[name]) for name, value in made.state.student.named_buffers())


def test_ema_compares_with_the_average_at_the_temperature(case) -> None:
    made = case(EMA(temperature=3.0))
    moved(made.student)
    ours, theirs = made.student(made.batch.inputs), made.state.student(made.batch.inputs)
    torch.testing.assert_close(made.loss().detach(), 9 * kl(ours, theirs, 3.0).mean())
    assert made.loss() > 0


def test_ema_is_asked_in_eval_mode_and_never_trained(case) -> None:
    made = case(EMA())
    moved(made.student)
    made.state.train()
    before = {name: value.clone() for name, value in made.state.named_buffers()}
    made.loss().backward()
    assert not any(part.training for part in made.state.modules())
    assert all(each.grad is None and not each.requires_grad for each in made.state.parameters())
    assert all(torch.equal(value, before[name]) for name, value in made.state.named_buffers())


def test_ema_gains_its_weight_over_the_first_updates(case) -> None:
    made, risen = case(EMA(ramp_up_steps=4, momentum=0.9)), case(EMA(momentum=0.9))
    for update in range(6):
        moved(made.student)
        risen.student.load_state_dict(made.student.state_dict())
        torch.testing.assert_close(made.loss(), min(1.0, update / 4) * risen.loss())
        for each in (made, risen):
            each.method.advance(each.student, each.state)


def test_ema_moves_once_for_a_step_of_several_micro_batches(run) -> None:
    with pytest.warns(UserWarning, match="batch normalisation"):
        state = run.start(EMA(momentum=0.75), accumulation=2)
    before = {name: value.detach().clone() for name, value in state.student.named_parameters()}
    run.go(state, steps=1)
    for name, value in state.connectors.student.named_parameters():
        after = dict(state.student.named_parameters())[name]
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * after)


def test_exits_are_the_papers_sum(case) -> None:
    made = case(Exits(share=0.4, temperature=2.0, feature_weight=0.5))
    student, _ = made.answers()
    first, last = (student.taps[place].mean((2, 3)).detach() for place in made.method.places)
    leave, labelled = made.state[0], made.batch.labelled
    reached = leave.bottleneck(first)
    logits = leave.head(reached).detach()
    hard = -log_softmax(logits.numpy(), axis=-1)[labelled, made.batch.labels[labelled]].mean()
    soft = 4 * kl(logits, student.logits, 2.0).mean()
    far = (reached - last).square().sum(1).mean()
    torch.testing.assert_close(made.loss(), 0.6 * hard + 0.4 * soft + 0.5 * far)


def test_exits_teach_what_is_before_them_and_not_the_deepest_answer(case) -> None:
    made = case(Exits())
    student, _ = made.answers()
    taps = {name: tap.detach().requires_grad_() for name, tap in student.taps.items()}
    leaf = Outputs(student.logits.detach().requires_grad_(), taps)
    loss = torch.stack(
        [term.values.sum() for term in made.method.loss(leaf, None, made.batch, made.state).values()]
    ).sum()
    early, deepest = made.method.places
    found = torch.autograd.grad(loss, [taps[early], taps[deepest], leaf.logits], allow_unused=True)
    assert found[0].abs().sum() > 0
    assert found[1:] == (None, None)


@pytest.mark.parametrize(
    "family", [Residual(width=4, depth=1), ViT(width=16, depth=3), MLP(width=8, depth=3)]
)
def test_exits_leave_any_family_after_each_stage_but_the_last(family) -> None:
    student, batch = family.build((1, 8, 8), CLASSES), torch.randn(3, 1, 8, 8)
    method = Exits().bind(layers(student, batch), None)
    assert len(method.places) == 3
    seen = {place: torch.randn(3, *layer.shape[1:]) for place in method.places
            for layer in layers(student, batch) if layer.name == place}  # fmt: skip
    answers = Outputs(torch.randn(3, CLASSES), seen)
    labels = torch.tensor([0, 1, ABSENT])
    traced = Batch(torch.arange(3), batch, labels, torch.full((3,), CLEAN))
    state = method.init(Traced(traced, answers, None, student))
    assert len(state) == 2
    assert all(term.values.isfinite().all() for term in method.loss(answers, None, traced, state).values())


def test_exits_need_two_stages() -> None:
    student = Residual(width=4, depth=1, stages=1).build((1, 8, 8), CLASSES)
    with pytest.raises(MethodError, match="one alone"):
        Exits().bind(layers(student, torch.randn(2, 1, 8, 8)), None)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_a_virtual_teacher_at_temperature_one_is_label_smoothing(confidence: float) -> None:
    batch = given([0, 1, 2, ABSENT, 3, 3])
    smoothing = (1 - confidence) * CLASSES / (CLASSES - 1)
    virtual = VirtualTeacher(confidence=confidence, temperature=1.0)
    torch.testing.assert_close(
        slope(virtual, batch), slope(CE(label_smoothing=smoothing), batch), rtol=1e-6, atol=1e-7
    )
    doubt = (1 - confidence) / (CLASSES - 1)
    entropy = -confidence * math.log(confidence) - (CLASSES - 1) * doubt * math.log(doubt)
    difference = whole(CE(label_smoothing=smoothing), STUDENT, batch) - whole(virtual, STUDENT, batch)
    assert float(difference) == pytest.approx(entropy, rel=1e-5)


def test_a_virtual_teacher_is_softened_as_a_real_one_is() -> None:
    batch = given([0, 1, 2, ABSENT, 3, 3])
    believed = torch.full((ROWS, CLASSES), math.log(0.1 / 3), dtype=torch.float64)
    for row, label in enumerate(batch.labels):
        believed[row, label] = math.log(0.9)
    expected = 25 * kl(STUDENT, believed, 5.0)[batch.labelled].mean()
    found = whole(VirtualTeacher(confidence=0.9, temperature=5.0), STUDENT, batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def remembering(method: PastSelf, *, steps: int) -> nn.Module:
    ids = torch.tensor([70, 10, 40, 30, 20, 60, 50])
    traced = Traced(
        given([0]), Outputs(STUDENT[:1]), None, nn.Identity(),
        steps=steps, pool=Pool(ids, torch.full((7,), ABSENT)),
    )  # fmt: skip
    return method.init(traced).double()


def test_the_past_self_is_the_last_answer_to_the_same_sample() -> None:
    method, past = PastSelf(share=0.6), {}
    state, generator = remembering(method, steps=5), torch.Generator().manual_seed(2)
    for step in range(5):
        ids = torch.tensor([10, 20, 30, 40, 50, 60, 70])[torch.randperm(7, generator=generator)[:4]].tolist()
        labels = torch.randint(-1, CLASSES, (4,), generator=generator).tolist()
        logits = torch.randn(4, CLASSES, generator=generator, dtype=torch.float64)
        log_q = log_softmax(logits.numpy(), axis=-1)
        expected = []
        for row, (number, label) in enumerate(zip(ids, labels, strict=True)):
            share = 0.6 * step / 5 if number in past else 0.0
            target = (1 - share) * np.eye(CLASSES)[label] + share * past.get(number, 0.0)
            expected.append(-(target * log_q[row]).sum())
        batch = given(labels, ids)
        term = method.loss(Outputs(logits), None, batch, state)["past-self"]
        seen = batch.labelled
        torch.testing.assert_close(term.values[seen], torch.tensor(expected, dtype=torch.float64)[seen])
        assert torch.equal(term.weights, seen.double())
        past |= {number: np.exp(log_q[row]) for row, number in enumerate(ids)}
        method.advance(nn.Identity(), state)


def test_the_past_self_of_a_sample_twice_in_a_batch_is_the_later_answer() -> None:
    method = PastSelf()
    state = remembering(method, steps=2)
    method.loss(Outputs(STUDENT), None, given([0] * ROWS, [40, 10, 40, 10, 40, 20]), state)
    expected = torch.from_numpy(np.exp(log_softmax(STUDENT.numpy(), axis=-1)))
    kept = state.probabilities[[0, 1, 3]]
    torch.testing.assert_close(kept, expected[[3, 5, 4]])


def test_the_past_self_needs_to_know_the_samples() -> None:
    method = PastSelf()
    with pytest.raises(MethodError, match="which samples there are"):
        method.init(Traced(given([0]), Outputs(STUDENT[:1]), None, nn.Identity()))
    state = remembering(method, steps=2)
    with pytest.raises(MethodError, match="sample 80 is none of them"):
        method.loss(Outputs(STUDENT[:2]), None, given([0, 1], [10, 80]), state)


def test_class_pairs_match_the_next_sample_of_the_class() -> None:
    batch = given([0, 1, 0, ABSENT, 0, ABSENT])
    partners = {0: 2, 2: 4, 4: 0}
    expected = torch.stack([kl(STUDENT[row], STUDENT[other], 3.0) for row, other in partners.items()])
    method = ClassPairs(temperature=3.0)
    torch.testing.assert_close(whole(method, STUDENT, batch), 9 * expected.mean())
    assert method.weights(None, batch)["class-pairs"].tolist() == [1, 0, 1, 0, 1, 0]


def test_class_pairs_pull_a_sample_to_its_partner_and_not_the_partner_to_it() -> None:
    batch = given([0, 1, 0, ABSENT, 1, 2])
    q = torch.softmax(STUDENT / 2, -1)
    expected = torch.zeros_like(STUDENT)
    for row, other in {0: 2, 2: 0, 1: 4, 4: 1}.items():
        expected[row] = 2 * (q[row] - q[other]) / 4
    torch.testing.assert_close(slope(ClassPairs(temperature=2.0), batch), expected)


def test_class_pairs_cost_nothing_where_a_class_is_answered_alike() -> None:
    batch = given([0, 1, 0, 1, 2, ABSENT])
    alike = STUDENT.clone()
    alike[2:4] = alike[:2]
    assert whole(ClassPairs(), alike, batch) == 0
    assert whole(ClassPairs(), STUDENT, batch) > 0
