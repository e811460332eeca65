"""How a run asks its teacher: checked on a sample, written down, and part of the store's key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ExportError, UserError
from limbeck.pipeline import answering, choosing
from limbeck.pipeline.arms import TEACHER, arm_of, fold_jobs
from limbeck.pipeline.choosing import chosen
from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.recipe import Asking, Plan
from limbeck.teachers import fold_of

BF16 = Asking(precision="bf16")
FOLDED = Asking(folded=True)
CLASSES = 10


class Fine(nn.Module):
    """Its classes differ by less than bf16 can tell apart."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, CLASSES, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(3 + 0.01 * torch.randn(CLASSES, 64))

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = 20 * self.layer(inputs.flatten(1))
        return answers


class Rows(nn.Module):
    """Normalises the rows of a square, where folding takes them for columns."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm, self.head = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(64, CLASSES)
        self.norm.running_mean.normal_()
        self.norm.weight.data.normal_()

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = 5 * self.head(self.norm(self.layer(inputs[:, 0])).flatten(1))
        return answers


@pytest.fixture
def context(quick: Any) -> Context:
    return Context.reopened(RunFolder(quick.out))


def asked(context: Context, teacher: nn.Module | None, *ways: Asking, batch: int = 128) -> choosing.Chosen:
    """What is chosen for a teacher of which the plan thinks that these ways are fast."""
    plan = Plan(label=ways[0], label_next=ways[1:], label_batch_examples=batch)
    context.__dict__["plan"] = plan
    if teacher is not None:
        context.__dict__["teacher_module"] = teacher.eval()
    return chosen(context, TEACHER)


def test_the_fastest_way_is_used_where_its_answers_are_close(context: Context) -> None:
    found = asked(context, None, FOLDED)
    assert found.asking == FOLDED
    assert found.refused == ()
    assert found.way.agreement >= 0.999
    assert found.way.kl_nats <= 1e-4
    assert found.way.samples >= 300


def test_what_breaks_the_answers_is_refused_and_the_next_is_used(context: Context) -> None:
    found = asked(context, Fine(), BF16, Asking(layout="channels_last"))
    assert found.asking == Asking(layout="channels_last")
    (refused,) = found.refused
    assert refused.asking == BF16
    assert refused.kl_nats > 1e-4


def test_where_nothing_is_close_the_teacher_is_asked_plainly(context: Context) -> None:
    found = asked(context, Rows(), FOLDED, FOLDED.model_copy(update={"layout": "channels_last"}))
    assert found.asking == Asking()
    assert [way.agreement < 0.999 for way in found.refused] == [True, True]
    assert (found.way.agreement, found.way.kl_nats) == (1.0, 0.0)


def rounded(
    error: float, *, samples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, choosing.Way]:
    """Answers with an error, the right ones, and what the check found."""
    random = np.random.default_rng(seed)
    exact = random.normal(0, 4, (samples, CLASSES)).astype(np.float32)
    answers = exact + random.uniform(-error, error, exact.shape).astype(np.float32)
    near = choosing.agreement(answers, exact), choosing.kl_nats(answers, exact)
    return answers, exact, choosing.Way(BF16, samples, *near, ms_per_example=0.5)


@pytest.mark.parametrize("error", [0.01, 0.02, 0.05])
def test_the_margin_of_a_small_sample_leaves_few_wrong_classes_among_many_others(error: float) -> None:
    margin = choosing._margin(*rounded(error)[:2])
    answers, exact, way = rounded(error, samples=200_000, seed=1)
    sure = ~choosing.doubtful(torch.from_numpy(answers), margin).numpy()
    wrong = (answers.argmax(1) != exact.argmax(1)) & sure
    assert 1 - way.agreement > 1e-3
    assert wrong.mean() < 2 * choosing.MOST_WRONG
    assert sure.mean() > 1 - 2 * error  # and it is no larger than it has to be


def test_answers_without_an_error_need_no_margin() -> None:
    _, exact, _ = rounded(0.0)
    assert choosing._margin(exact, exact) == 0.0


def test_a_few_wrong_classes_are_cured_by_asking_twice_where_it_is_doubtful() -> None:
    answers, exact, way = rounded(0.02)
    assert not way.close
    found = choosing._careful(way, answers, exact, replace(way, ms_per_example=1.0))
    assert found is not None
    assert found.close
    assert 0 < found.doubtful < 0.05
    assert 0.02 < found.asking.doubt_margin < 0.08
    assert found.ms_per_example == pytest.approx(0.5 + found.doubtful, abs=1e-3)


@pytest.mark.parametrize(("error", "plain_ms"), [(1.0, 1.0), (0.02, 0.5)], ids=["all doubtful", "no gain"])
def test_asking_twice_is_left_where_it_gains_nothing(error: float, plain_ms: float) -> None:
    answers, exact, way = rounded(error)
    assert choosing._careful(way, answers, exact, replace(way, ms_per_example=plain_ms)) is None


def test_a_model_that_is_read_inside_is_asked_as_it_is() -> None:
    folded = Asking(precision="bf16", layout="channels_last", threads=2, folded=True)
    assert answering.inside(folded) == Asking(precision="bf16", layout="channels_last", threads=2)
    careful = folded.model_copy(update={"doubt_margin": 0.1})
    assert answering.inside(careful) == Asking(layout="channels_last", threads=2)
    assert answering.inside(Asking(engine="onnxruntime", threads=2)) == Asking(threads=2)


def test_an_engine_that_cannot_take_the_model_is_passed_over(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise ExportError("operator odd has no counterpart in ONNX.")

    monkeypatch.setattr(answering, "onnx_engine", refuses)
    found = asked(context, None, Asking(engine="onnxruntime"), FOLDED)
    assert found.asking == FOLDED
    assert found.refused[0].failure == "operator odd has no counterpart in ONNX."


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_asked(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "available_bytes", lambda device: 4_000_000)
    with pytest.raises(UserError, match=r"plan\.label_batch_examples is 100000: .* Expected at most \d+"):
        asked(context, None, FOLDED, batch=100_000)


def test_the_ways_are_other_stores_and_are_written_down(again: Any, limbeck: Any) -> None:
    found = {}
    for name, change in {"plain": (), "folded": ("plan.label.folded=true",)}.items():
        overrides = [part for one in change for part in ("--set", one)]
        result = limbeck("label", str(again.recipe), "--out", str(again.out), *overrides)
        assert result.exit_code == 0, result.stderr
        found[name] = again.read("targets.json")
    assert "asked with fp32 folded, 1 thread (100.00% agreement, KL" in result.output
    assert found["plain"]["key"] != found["folded"]["key"]
    assert found["folded"]["teacher"] == found["plain"]["teacher"]
    assert found["folded"]["execution"]["folded"] is True
    assert found["folded"]["check"]["asked"] == "fp32 folded, 1 thread"
    assert found["folded"]["check"]["kl_nats"] < 1e-4
    assert found["folded"]["refused"] == []


def test_the_report_says_how_the_teacher_was_asked(quick: Any) -> None:
    report = quick.read("report.json")
    asked = report["teacher"]["asked"]
    assert asked["way"] == "fp32, 1 thread"
    assert (asked["agreement"], asked["folds"], asked["refused"]) == (1.0, 0, [])
    assert report["provenance"]["asked"]["kl_nats"] == 0.0


@pytest.mark.long
def test_a_run_asks_onnxruntime_where_the_plan_says_so(again: Any, limbeck: Any) -> None:
    change = ("--set", "plan.label.engine=onnxruntime")
    result = limbeck("label", str(again.recipe), "--out", str(again.out), *change)
    assert result.exit_code == 0, result.stderr
    assert again.read("targets.json")["check"]["asked"] == "onnxruntime fp32, 1 thread"


def test_with_folds_nobody_answers_for_what_they_were_trained_on(
    recipe: Path, tmp_path: Path, limbeck: Any
) -> None:
    out = tmp_path / "run"
    training = "{steps: 8, batch_examples: 64, evaluate_every_steps: 8}"
    changes = ("teacher.folds=2", f"teacher.training={training}", "export.formats=[]")
    overrides = [part for change in changes for part in ("--set", change)]
    result = limbeck("label", str(recipe), "--out", str(out), *overrides)
    assert result.exit_code == 0, result.stderr
    context = Context.reopened(RunFolder(out))
    stored, train = context.stored_teacher(), context.splits.train
    assert stored.store.key.folds == 2
    folds = fold_of(train.ids, 2)
    for number, job in enumerate(fold_jobs(context.recipe)):
        arm, own = arm_of(context.recipe, job), folds == number
        stream = context.stream(arm, arm.training, seed=0, augmentation=None)
        seen = {sample for step in range(20) for sample in stream.batch(step).ids.tolist()}
        assert seen == set(train.ids[~own].tolist())
        member, rows = answering.student_of(context, job), torch.nonzero(own).flatten()
        with torch.no_grad():
            expected = member(context.preprocessing.apply(train.raw(rows)))
        held = stored.store.answers(train.ids[rows], torch.full_like(rows, -1))
        torch.testing.assert_close(held, expected, rtol=1e-2, atol=1e-2)
    facts = json.loads((out / "teacher.json").read_text())
    assert len(facts["folds"]) == 2
    again = limbeck("label", str(recipe), "--out", str(out), *overrides)
    assert again.exit_code == 0
    assert context.folder.stages()["label"]["state"] == "done"
