from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.errors import NonFiniteLossError, TeacherError, UserError
from limbeck.methods.ce import CE
from limbeck.methods.kd import KD
from limbeck.recipe.plan import Execution
from limbeck.training.loop import train
from limbeck.training.schedule import factor
from limbeck.types import CLEAN

OPTIMIZERS = [{"kind": "sgd", "learning_rate": 0.1}, {"kind": "adamw", "learning_rate": 0.01}]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each["kind"])


def weights(state) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.student.state_dict().items()}


def assert_same_bits(first, second) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@every_optimizer
def test_equals_a_loop_written_by_hand(bench, optimizer) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.plain_mlp, teacher, stream, optimizer=optimizer)
    student = copy.deepcopy(state.student)
    kinds = {"sgd": {"momentum": 0.9, "nesterov": True}, "adamw": {}}[optimizer["kind"]]
    groups = [
        {"params": [student[0].weight, student[2].weight], "weight_decay": 5e-4 if kinds else 0.01},
        {"params": [student[0].bias, student[2].bias], "weight_decay": 0.0},
    ]
    kind = torch.optim.SGD if kinds else torch.optim.AdamW
    by_hand = kind(groups, lr=optimizer["learning_rate"], **kinds)
    for number, step in enumerate(bench.run(state, stream, teacher)):
        batch = stream.batch(number)
        logits, target = student(batch.inputs), teacher.model(batch.inputs).detach()
        divergence = nn.functional.kl_div(
            (logits / 2).log_softmax(-1), (target / 2).softmax(-1), reduction="batchmean"
        )
        loss = 4 * divergence + 0.5 * nn.functional.cross_entropy(logits, batch.labels)
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
        by_hand.zero_grad()
        loss.backward()
        for group in by_hand.param_groups:
            group["lr"] = optimizer["learning_rate"] * factor(state.training.schedule, number, 6)
        by_hand.step()
    for mine, other in zip(state.student.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulation", [2, 3, 5, 12])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_micro_batches_equal_the_large_batch(bench, accumulation: int, clip: float | None) -> None:
    stream, teacher = bench.batches(absent=20), bench.teacher
    whole = bench.start(bench.plain_mlp, teacher, stream, clip=clip)
    parts = bench.start(bench.plain_mlp, teacher, stream, clip=clip, accumulation=accumulation)
    for one, other in zip(bench.run(whole, stream, teacher), bench.run(parts, stream, teacher), strict=True):
        assert other.losses == pytest.approx(one.losses, abs=1e-5)
    for mine, other in zip(whole.student.parameters(), parts.student.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("view", ["clean", "same"])
def test_a_teacher_that_looks_its_answers_up_equals_the_live_one_bit_for_bit(bench, view: str) -> None:
    stream = bench.batches(images=True, size=40, augmented=view == "clean")
    live = bench.row_teacher
    stored = bench.looked_up(live, stream)
    ends = []
    for teacher in (live, stored):
        state = bench.start(bench.cnn, teacher, stream)
        bench.run(state, stream, teacher, teacher_view=view)
        ends.append(weights(state))
    assert_same_bits(*ends)


def test_the_clean_view_is_asked_without_augmentation_and_the_same_view_with_it(bench) -> None:
    stream, teacher = bench.batches(images=True, augmented=True), bench.image_teacher
    state = bench.start(bench.cnn, teacher, stream)
    teacher.asked.clear()
    bench.run(state, stream, teacher, steps=1)
    assert (teacher.asked[0].views == CLEAN).all()
    teacher.asked.clear()
    bench.run(state, stream, teacher, steps=2, teacher_view="same")
    assert torch.equal(teacher.asked[0].inputs, stream.batch(1).inputs)
    assert torch.equal(teacher.asked[0].views, stream.batch(1).views)


def test_the_teacher_stays_as_it_is_and_outside_the_student(bench) -> None:
    stream, teacher = bench.batches(images=True), bench.image_teacher
    before = copy.deepcopy(teacher.model.state_dict())
    state = bench.start(bench.cnn, teacher, stream)
    names = set(state.student.state_dict())
    bench.run(state, stream, teacher)
    assert_same_bits(before, teacher.model.state_dict())
    assert set(state.student.state_dict()) == names == set(bench.cnn().state_dict())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_what_happens_between_steps_changes_nothing(bench) -> None:
    stream, teacher = bench.batches(images=True), bench.image_teacher
    quiet = bench.start(bench.cnn, teacher, stream)
    bench.run(quiet, stream, teacher)
    state = bench.start(bench.cnn, teacher, stream)
    for step in train(state, stream, teacher, execution=bench.execution):
        torch.manual_seed(step.number)
        torch.rand(17)
        with torch.no_grad():
            state.student.eval()(torch.rand(4, 2, 5, 5))
    assert_same_bits(weights(quiet), weights(state))


def test_the_callers_no_grad_and_autocast_change_nothing(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    quiet = bench.start(bench.mlp, teacher, stream)
    bench.run(quiet, stream, teacher)
    state = bench.start(bench.mlp, teacher, stream)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        bench.run(state, stream, teacher)
    torch.testing.assert_close(weights(quiet), weights(state), rtol=0.05, atol=0.02)
    assert all(value.isfinite().all() for value in weights(state).values())


def test_the_callers_random_numbers_go_on_undisturbed(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    torch.manual_seed(1)
    expected = torch.rand(6)
    torch.manual_seed(1)
    drawn = [torch.rand(1) for _ in train(state, stream, teacher, execution=bench.execution)]
    assert torch.equal(torch.cat(drawn), expected)


def test_the_learning_rate_follows_the_schedule(bench) -> None:
    stream = bench.batches()
    settings = {"optimizer": {"kind": "sgd", "learning_rate": 0.3}, "schedule": {"kind": "one-cycle"}}
    state = bench.start(bench.mlp, None, stream, method=CE(), steps=10, **settings)
    rates = [
        (step.learning_rate, state.optimizer.param_groups[0]["lr"])
        for step in train(state, stream, None, execution=bench.execution)
    ]
    assert rates == [(0.3 * factor(state.training.schedule, step, 10),) * 2 for step in range(10)]


def test_clipping_bounds_the_gradient_and_reports_its_norm(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream, clip=0.01)
    step = bench.run(state, stream, teacher, steps=1)[0]
    gradients = [parameter.grad.flatten() for parameter in state.student.parameters()]
    assert float(torch.cat(gradients).norm()) == pytest.approx(0.01, rel=1e-3)
    assert step.gradient_norm > 0.01
    assert bench.run(bench.start(bench.mlp, teacher, stream), stream, teacher)[0].gradient_norm is None


def test_a_step_says_what_it_did_without_holding_a_graph(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    steps = bench.run(state, stream, teacher)
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    assert state.done
    assert all(step.examples == 12 and step.seconds > 0 for step in steps)
    assert set(steps[0].losses) == {"kd", "ce"}
    assert steps[0].loss == pytest.approx(sum(steps[0].losses.values()), rel=1e-6)
    assert not any(part.requires_grad for part in steps[0].terms.values())
    assert state.seconds == pytest.approx(sum(step.seconds for step in steps))


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_loss_that_is_not_finite_names_step_term_and_checkpoint(bench, clip: float | None) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.plain_mlp, teacher, stream, clip=clip)
    state.last_checkpoint = Path("somewhere/student.checkpoint")
    steps = train(state, stream, teacher, execution=bench.execution)
    next(steps)
    before = weights(state)
    with torch.no_grad():
        for parameter in teacher.model.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match=r"'kd'.* nan at step 2 of 6.*somewhere/student"):
        next(steps)
    assert_same_bits(before, weights(state))


def test_a_method_that_reads_no_teacher_asks_none(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream, method=CE())
    bench.run(state, stream, teacher)
    assert not teacher.asked


def test_a_method_that_reads_a_teacher_needs_one(bench) -> None:
    with pytest.raises(TeacherError, match="there is none"):
        bench.start(bench.mlp, None, bench.batches(), method=KD())


def test_a_batch_without_any_label_trains_on_the_rest(bench) -> None:
    stream, teacher = bench.batches(absent=40), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    steps = bench.run(state, stream, teacher)
    assert steps[-1].losses["ce"] == 0.0
    assert steps[-1].losses["kd"] > 0.0


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_bf16_and_layout_stay_close_to_fp32(bench, layout: str) -> None:
    stream, teacher = bench.batches(images=True), bench.image_teacher
    execution = Execution.model_validate({"precision": "bf16", "layout": layout})
    losses = []
    for used in (bench.execution, execution):
        state = bench.start(bench.cnn, teacher, stream, execution=used)
        losses.append([step.loss for step in bench.run(state, stream, teacher, execution=used)])
        assert all(parameter.dtype == torch.float32 for parameter in state.student.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_refuses_dynamic_threads(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    with pytest.raises(UserError, match="OMP_DYNAMIC"):
        bench.run(state, stream, teacher)
