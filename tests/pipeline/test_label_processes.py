"""One store asked for by several processes of the command; and one view an epoch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from limbeck.errors import UserError
from limbeck.files import cache_home
from limbeck.pipeline import context as context_module
from limbeck.pipeline.arms import student_arms
from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.objects import Objects
from limbeck.pipeline.run import events
from limbeck.recipe import load

PLAN = "plan={workers: 1, label: {threads: 2}, label_batch_examples: 16}"


@pytest.mark.long
def test_two_processes_leave_the_same_answers_as_one_and_a_url_serves_another_machine(
    recipe: Any, tmp_path: Any, limbeck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = [], []
    url = f"file://{tmp_path}/share"
    for name, count in (("one", "1"), ("two", "2"), ("three", "1")):
        monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / name))
        plan = PLAN.replace("threads: 2", "threads: 1")
        remote = [] if name == "one" else ["--set", f"teacher.store={url}"]
        done = limbeck(
            "label", str(recipe), "--out", str(tmp_path / f"run-{name}"), "--set", plan, *remote,
            "--processes", count, "--json",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        facts = json.loads(done.stdout)
        asked.append(facts["asked"])
        answers.append((cache_home() / "targets" / facts["key"] / "answers.bin").read_bytes())
    assert answers[0] == answers[1] == answers[2]
    assert asked == [asked[0], asked[0], 0]


def test_more_processes_than_cores_are_refused_before_anything_is_done(
    tiny: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_module, "cores", lambda: 4)
    with pytest.raises(UserError, match=r"processes is 5, expected at most 4, the cores .* Ask for fewer"):
        list(events(load(tiny), tmp_path / "run", until="label", processes=5))
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_exists_only_in_python_is_asked_by_one_process(
    quick: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_module, "cores", lambda: 2)
    done = Context.reopened(RunFolder(quick.out))
    objects = Objects(teacher=done.teacher_module)
    with pytest.raises(UserError, match="2 processes cannot ask a teacher that exists only in this one"):
        list(events(done.recipe, tmp_path / "run", objects=objects, until="label", processes=2))


@pytest.mark.parametrize(("count", "enough"), [(6, True), (5, False)])
def test_fewer_epochs_than_the_training_has_are_refused_before_it_and_before_the_teacher_is_asked(
    tiny: str, tmp_path: Any, count: int, enough: bool
) -> None:
    changes = (f"teacher.view={{epochs: {count}}}", "training.labelled_share=null", "data.labelled=all")
    context = Context(load(tiny, overrides=changes), RunFolder(tmp_path / "run"))
    context.resolve()
    arm = student_arms(context.recipe)["student"]

    def begun() -> Any:
        return context.stream(arm, arm.training, seed=3, augmentation=arm.augmentation)

    if enough:  # 24 steps of 64 go through 300 samples 5.12 times
        assert int(begun().batch(23).views.max()) == 5
        return
    with pytest.raises(UserError, match=r"teacher.view.epochs is 5, .* 6 times in 24 steps of 64"):
        begun()
    with pytest.raises(UserError, match=r"Set teacher.view.epochs to 6"):
        list(events(context.recipe, tmp_path / "run", until="check"))
