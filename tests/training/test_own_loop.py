from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import MethodError, TeacherError
from limbeck.losses import forward_kl
from limbeck.methods.ce import CE
from limbeck.methods.kd import KD
from limbeck.training.own_loop import distilling
from limbeck.training.schedule import factor


@pytest.mark.parametrize("given", ["batch", "inputs", "logits"])
def test_gives_the_same_numbers_as_the_loop(bench, given: str) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.plain_mlp, teacher, stream)
    own = bench.start(bench.plain_mlp, teacher, stream)
    losses = []
    with distilling(own.student, teacher, bench.method, allow_labels=True) as d:
        for number in range(6):
            batch = stream.batch(number)
            if given == "batch":
                loss = d.loss(batch)
            else:
                logits = own.student(batch.inputs) if given == "logits" else None
                loss = d.loss(batch.inputs, labels=batch.labels, logits=logits)
            losses.append(loss.item())
            own.optimizer.zero_grad()
            loss.backward()
            own.optimizer.param_groups[0]["lr"] = own.optimizer.param_groups[1]["lr"] = 0.1 * factor(
                own.training.schedule, number, 6
            )
            own.optimizer.step()
    assert losses == [step.loss for step in bench.run(state, stream, teacher)]
    for mine, other in zip(own.student.parameters(), state.student.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_bare_module_is_a_teacher_in_eval_mode_without_gradients(bench) -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5))
    batch, student = bench.batches().batch(0), bench.plain_mlp()
    with distilling(student, teacher.train(), KD()) as d:
        first, again = d.loss(batch), d.loss(batch.inputs)
    assert torch.equal(first, again)
    first.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_labels_that_would_count_twice_are_refused(bench) -> None:
    with pytest.raises(MethodError, match="count twice"), distilling(bench.mlp(), bench.teacher, KD() + CE()):
        pass


def test_a_stored_teacher_needs_ids(bench) -> None:
    stream, student = bench.batches(size=40), bench.plain_mlp()
    live = bench.teacher
    batch = stream.batch(0)
    with distilling(student, bench.looked_up(live, stream), KD()) as d, distilling(student, live, KD()) as e:
        torch.testing.assert_close(d.loss(batch.inputs, ids=batch.ids), e.loss(batch))
        torch.testing.assert_close(d.loss(batch), e.loss(batch))
        with pytest.raises(TeacherError, match="ids="):
            d.loss(batch.inputs)


def test_a_missing_teacher_is_refused(bench) -> None:
    with pytest.raises(TeacherError, match="there is none"), distilling(bench.mlp(), None, KD()):
        pass


def test_connectors_must_reach_the_optimizer(bench) -> None:
    class Connected(KD):
        def init(self, traced):
            return nn.Linear(3, 3)

    batch = bench.batches().batch(0)
    with distilling(bench.mlp(), bench.teacher, Connected()) as d:
        with pytest.raises(MethodError, match=r"d\.begin"):
            d.loss(batch)
        assert len(d.begin(batch)) == 2
        assert d.loss(batch).requires_grad


def test_the_students_mode_stays_the_callers(bench) -> None:
    student = bench.mlp().train()
    student[2].eval()
    with distilling(student, bench.teacher, KD()) as d:
        d.loss(bench.batches().batch(0))
    assert student.training
    assert not student[2].training


def test_a_model_that_is_its_own_teacher_is_taught_by_what_it_was(bench) -> None:
    """Fine-tuned, pruned and quantised students are given themselves: the teacher must not move along."""
    student, batch = bench.plain_mlp().train(), bench.batches().batch(0)
    with torch.no_grad():
        before = student.eval()(batch.inputs)
    student.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    with distilling(student, student, KD(temperature=1)) as d:
        for _ in range(3):
            optimizer.zero_grad()
            (d.loss(batch) + student(batch.inputs).square().mean()).backward()
            optimizer.step()
        moved = d.loss(batch)
    with torch.no_grad():
        logits = student(batch.inputs)
    expected = forward_kl(logits, before).mean()
    assert float(expected) > 1e-4
    torch.testing.assert_close(moved.detach(), expected)
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
