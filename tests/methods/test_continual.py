"""What each method means that keeps what a student knew."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import CE, KD, LwF, Replay, Traced, total
from limbeck.types import ABSENT, CLEAN, Batch, Outputs

Sample = tuple[Tensor, Tensor, Tensor]
WIDTH, CLASSES = 3, 4


def test_lwf_is_the_divergence_of_the_old_classes_alone(case) -> None:
    made = case(LwF(old_classes=3))
    student, teacher = made.answers()
    log_q, log_p = (
        log_softmax(side.logits.detach().numpy()[:, :3] / 2, axis=-1) for side in (student, teacher)
    )
    assert float(made.loss().detach()) == pytest.approx(
        4 * rel_entr(np.exp(log_p), np.exp(log_q)).sum(-1).mean()
    )
    gradients = made.gradient(made.loss())
    assert (gradients["head.weight"][3:] == 0).all()
    assert gradients["head.weight"][:3].abs().sum() > 0


def test_lwf_on_all_classes_is_kd(case) -> None:
    assert torch.equal(case(LwF()).loss(), case(KD(temperature=2.0)).loss())


def test_lwf_costs_nothing_before_anything_new_is_learned(case) -> None:
    made = case(LwF(old_classes=2))
    student, _ = made.answers()
    terms = made.method.loss(student, student, made.batch, None)
    assert (terms["learning-without-forgetting"].values == 0).all()


def test_lwf_without_weight_is_fine_tuning(case) -> None:
    alone, both = case(CE()), case(CE() + LwF(weight=0.0))
    found, expected = both.gradient(both.loss()), alone.gradient(alone.loss())
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_lwf_cannot_know_more_classes_than_there_are(case) -> None:
    with pytest.raises(MethodError, match="old_classes is 7"):
        case(LwF(old_classes=7))


class Stage:
    """A linear student, its samples in batches of any size, and its store."""

    def __init__(self, method: Replay, *, seed: int = 0) -> None:
        self.method = method
        self.generator = torch.Generator().manual_seed(seed)
        self.student = nn.Linear(WIDTH, CLASSES).double()
        self.given = 0
        batch = self.batch(2)
        self.state = method.init(Traced(batch, self.answers(batch), None, self.student))
        self.given = 0

    def batch(self, count: int) -> Batch:
        inputs = torch.randn(count, WIDTH, generator=self.generator, dtype=torch.float64)
        labels = torch.randint(-1, CLASSES, (count,), generator=self.generator)
        ids = torch.arange(count) + self.given
        self.given += count
        return Batch(ids, inputs, labels, torch.full((count,), CLEAN))

    def answers(self, batch: Batch) -> Outputs:
        return Outputs(self.student(batch.inputs), ask=lambda inputs: Outputs(self.student(inputs)))

    def loss(self, batch: Batch, divisors: dict[str, Tensor] | None = None) -> Tensor:
        weights = self.method.weights(None, batch)
        terms = self.method.loss(self.answers(batch), None, batch, self.state)
        return total(terms, divisors or {name: each.sum() for name, each in weights.items()})

    def steps(self, counts: list[int]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Each step's batch, the loss, and the random numbers that it drew."""
        for number, count in enumerate(counts):
            batch = self.batch(count)
            torch.manual_seed(number)
            chances = torch.rand(count, 3, dtype=torch.float64)
            torch.manual_seed(number)
            yield batch, self.loss(batch), chances
            self.method.advance(self.student, self.state)
            with torch.no_grad():  # the student goes on learning
                self.student.weight.add_(
                    torch.randn(CLASSES, WIDTH, generator=self.generator, dtype=torch.float64)
                )


@pytest.mark.parametrize("label_weight", [0.0, 0.7])
@pytest.mark.parametrize("counts", [[4, 4, 4, 4], [3, 1, 20, 2, 7]])
def test_replay_is_a_reservoir_of_what_was_given_and_answered(counts: list[int], label_weight: float) -> None:
    stage = Stage(Replay(weight=0.5, capacity=5, label_weight=label_weight))
    store: list[Sample] = []
    seen = 0
    for batch, loss, chances in stage.steps(counts):
        expected = replayed(stage.student, store, chances, label_weight) if store else 0.0
        assert float(loss.detach()) == pytest.approx(0.5 * expected, rel=1e-9)
        logits = stage.student(batch.inputs).detach()
        for sample, chance in zip(
            zip(batch.inputs, logits, batch.labels, strict=True), chances[:, 2], strict=True
        ):
            place = int(chance * (seen + 1))
            if seen < 5:
                store.append(sample)
            elif place < 5:
                store[place] = sample
            seen += 1
    inputs, answers, labels = (torch.stack(column) for column in zip(*store, strict=True))
    assert torch.equal(stage.state.inputs[: len(store)], inputs)
    assert torch.equal(stage.state.logits[: len(store)], answers)
    assert torch.equal(stage.state.labels[: len(store)], labels)
    assert int(stage.state.seen) == seen


@torch.no_grad()
def replayed(student: nn.Module, store: list[Sample], chances: Tensor, label_weight: float) -> float:
    """The papers' two terms on two draws, sample by sample."""
    first, second = ([store[int(chance * len(store))] for chance in chances[:, column]] for column in (0, 1))
    gaps = [(student(inputs) - logits).square().mean() for inputs, logits, _ in first]
    hard = [-student(inputs).log_softmax(-1)[label] for inputs, _, label in second if label != ABSENT]
    return float(sum(gaps) + label_weight * sum(hard)) / len(chances)


def test_every_sample_has_the_same_chance_to_be_kept() -> None:
    stage, counts, repetitions = Stage(Replay(capacity=4)), torch.zeros(12), 150
    whole = stage.batch(12)
    numbered = Batch(
        whole.ids, torch.arange(12.0).double()[:, None].expand(12, WIDTH), whole.labels, whole.views
    )
    torch.manual_seed(0)
    for _ in range(repetitions):
        state = stage.method.init(Traced(numbered, stage.answers(numbered), None, stage.student))
        for batch in (numbered[slice(0, 5)], numbered[slice(5, 12)]):
            stage.method.loss(stage.answers(batch), None, batch, state)
            stage.method.advance(stage.student, state)
        counts += torch.bincount(state.inputs[:, 0].long(), minlength=12)
    expected, spread = repetitions / 3, (repetitions / 3 * 2 / 3) ** 0.5
    assert counts.sum() == 4 * repetitions
    assert ((counts - expected).abs() < 4 * spread).all()


def test_replay_in_micro_batches_is_replay_of_the_batch() -> None:
    stages = [Stage(Replay(capacity=5, label_weight=0.5)) for _ in range(2)]
    stages[1].student.load_state_dict(stages[0].student.state_dict())
    for stage in stages:
        list(stage.steps([4]))
    one, cut = stages
    batch = one.batch(6)
    divisors = {name: each.sum() for name, each in one.method.weights(None, batch).items()}
    torch.manual_seed(7)
    expected = one.loss(batch)
    torch.manual_seed(7)
    found = sum(cut.loss(batch[rows], divisors) for rows in (slice(0, 1), slice(1, 4), slice(4, 6)))
    assert expected > 0
    torch.testing.assert_close(found, expected)
    for stage in stages:
        stage.method.advance(stage.student, stage.state)
    assert all(
        torch.equal(value, one.state.state_dict()[name]) for name, value in cut.state.state_dict().items()
    )


def test_replay_teaches_the_student_its_earlier_answers() -> None:
    stage = Stage(Replay(capacity=5))
    *_, (_, loss, _) = stage.steps([4, 4])
    (gradient,) = torch.autograd.grad(loss, stage.student.weight)
    assert gradient.abs().sum() > 0


def test_an_empty_store_costs_nothing_and_has_a_zero_gradient() -> None:
    stage = Stage(Replay(capacity=5, label_weight=1.0))
    loss = stage.loss(stage.batch(3))
    (gradient,) = torch.autograd.grad(loss, stage.student.weight)
    assert loss == 0
    assert (gradient == 0).all()


def test_each_draw_moves_batch_statistics_once(run) -> None:
    state = run.start(CE() + Replay(capacity=8, label_weight=0.5))
    run.go(state, steps=3)
    tracked = [int(value) for name, value in state.student.named_buffers() if name.endswith("tracked")]
    assert set(tracked) == {3 + 2 * 2}


def test_replay_needs_a_student_that_can_be_asked() -> None:
    stage = Stage(Replay(capacity=5))
    list(stage.steps([2]))
    batch = stage.batch(2)
    with pytest.raises(MethodError, match="earlier samples"):
        stage.method.loss(Outputs(stage.student(batch.inputs)), None, batch, stage.state)
