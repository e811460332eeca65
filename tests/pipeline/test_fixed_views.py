"""K fixed views: the student and its teacher see the same pictures, and every seed shares the answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from limbeck.pipeline import students
from limbeck.pipeline.answering import live
from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.run import events
from limbeck.pipeline.students import student_arms
from limbeck.recipe import load
from limbeck.types import ABSENT, Batch

CHANGES = (
    "controls=[no-teacher]",
    "export.formats=[]",
    "evaluation.robustness=false",
    "teacher.keep=float32",
    "teacher.view={views: 2}",
)


@pytest.fixture(scope="module")
def viewed(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A finished run about two fixed views, with its cache."""
    base = tmp_path_factory.mktemp("views")
    recipe = load(tiny, overrides=CHANGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(base / "cache"))
        patch.setattr(students, "_side_by_side", students._in_turn)
        for _ in events(recipe, base / "run"):
            pass
        yield Context.reopened(RunFolder(base / "run"))


def test_the_stored_answers_are_those_about_what_the_student_sees(viewed: Context) -> None:
    arm = student_arms(viewed.recipe)["student"]
    stream = viewed.stream(arm, arm.training, augmentation=arm.augmentation, seed=1)
    teacher, stored = live(viewed, viewed.plan.label), viewed.stored_teacher()
    seen = set()
    for number in range(12):
        batch = stream.batch(number)
        seen |= set(batch.views.tolist())
        unlabelled = Batch(batch.ids, batch.inputs, batch.labels * 0 + ABSENT, batch.views)
        assert stored(batch).logits.allclose(teacher(unlabelled).logits, atol=1e-5)
    assert seen == {0, 1}


def test_the_report_says_what_the_teacher_was_asked_about(viewed: Context) -> None:
    text = viewed.folder.report.read_text()
    assert '"view": "2 fixed views"' in text
    assert viewed.teacher_view == "same"


def test_both_seeds_share_one_store(viewed: Context) -> None:
    stores = [
        folder for folder in (viewed.folder.path.parent / "cache" / "targets").iterdir() if folder.is_dir()
    ]
    assert len(stores) == 1
