"""The engine's benchmark without its peers: every arm does the same task, and the parts make a board."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.engine import accuracy, board, ours, overhead, peer, plain, runners, timing
from benchmarks.engine.ledger import Ledger
from benchmarks.engine.task import (
    AUGMENTATION,
    FIXED_VIEWS,
    OPTIMIZER,
    PLAIN,
    VIEW_SEED,
    Arm,
    Task,
    moves,
    training,
)
from torch.testing import assert_close

from benchmarks import form
from limbeck.data import Preprocessing
from limbeck.data.arrays import Arrays
from limbeck.data.views import augment
from limbeck.recipe import Plan
from limbeck.teachers import LiveTeacher
from limbeck.training.schedule import factor

ARM = Arm("limbeck", "limbeck", 2, plan=Plan())


@pytest.fixture(scope="module")
def task() -> Task:
    """Noise instead of Fashion-MNIST."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (256, 28, 28, 1), dtype=np.uint8)
    labels = draw.integers(0, 10, 256)
    pool = Arrays(images, labels, classes=[str(number) for number in range(10)])
    return Task(pool, pool, Preprocessing().fitted(pool))


def test_every_arm_reads_the_samples_in_the_order_of_the_stream(task: Task) -> None:
    stream = task.stream("clean", seed=3)
    for number, rows in enumerate(task.orders(3, seed=3)):
        assert torch.equal(task.train.ids[rows], stream.batch(number).ids)


def test_one_sample_at_a_time_is_moved_as_a_batch_is(task: Task) -> None:
    ids = task.train.ids[:32]
    images = torch.rand(32, 1, 28, 28)
    offsets, mirrored = moves(ids, view=2)
    shift = AUGMENTATION.shift
    padded = torch.nn.functional.pad(images, [shift] * 4, mode=AUGMENTATION.padding)
    views = augment(images, ids, torch.full_like(ids, 2), augmentation=AUGMENTATION, seed=VIEW_SEED)
    for image, (down, right), mirror, view in zip(
        padded, offsets.tolist(), mirrored.tolist(), views, strict=True
    ):
        top, left = down + shift, right + shift
        cropped = image[:, top : top + 28, left : left + 28]
        assert torch.equal(cropped.flip(2) if mirror else cropped, view)


@pytest.mark.parametrize("view", ["clean", "same"])
def test_limbeck_and_the_plain_loop_lose_the_same(task: Task, view: Any) -> None:
    steps, arm = 3, Arm("limbeck", "limbeck", 2, view=view, stored=False, plan=Plan())
    teacher = LiveTeacher(task.teacher(arm), classes=task.classes, shape=task.shape)
    _, losses = ours.started(arm, task, teacher, Plan(), steps=steps)
    rates = [OPTIMIZER.learning_rate * factor(training(steps).schedule, step, steps) for step in range(steps)]
    plainly = plain.train_plainly(
        task.student(arm.student), plain.live(task.teacher(arm), PLAIN), runners.inputs_of(arm, task),
        task.train.labels, zip(task.orders(2), rates, strict=False), execution=PLAIN, fused=False,
    )  # fmt: skip
    assert_close(list(losses())[:2], list(plainly), rtol=1e-4, atol=1e-5)


def test_stored_answers_are_those_of_the_teacher(task: Task, tmp_path: Path) -> None:
    module = task.teacher(ARM)
    with ours.run_of(ARM, task, task.train, module, tmp_path) as run:
        done, stored = ours.label_stage(run), run.stored_teacher()
        live = ours.asked_live(run)
    batch = task.stream("clean").batch(0)
    assert done.answers == len(task.train)
    assert min(done.answering["cpu"], done.deciding["cpu"]) > 0
    assert_close(stored(batch).logits, live(batch).logits, atol=1e-2, rtol=1e-2)


def test_the_overhead_is_measured_in_pairs(task: Task) -> None:
    found = overhead.paired_seconds(task, ARM, Plan(), repetitions=1, block_steps=1)
    assert set(found) == {"limbeck", "plain", "no-teacher"}
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in found.values())


@pytest.mark.parametrize("arm", [ARM, Arm("plain", "plain", 2)], ids=lambda arm: arm.name)
def test_an_arm_trains_on_and_labels(
    task: Task, tmp_path: Path, arm: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ours.LABEL_EXAMPLES, 2, len(task.train))
    runner = runners.RUNNERS[arm.framework](arm, task, tmp_path)
    runner.steps(1)
    done = runner.label()
    assert (done.answers if done else 0) == (len(task.train) if arm.framework == "limbeck" else 0)
    assert runner.facts["execution"]["precision"] == "fp32"


def test_the_peer_gets_the_same_samples_views_and_settings(task: Task) -> None:
    passes = peer.passes_of(task.orders(4), steps_a_pass=2, views=True)
    assert [index % FIXED_VIEWS for index in (passes[0][0], passes[1][0])] == [0, 1]
    assert [index // FIXED_VIEWS for index in passes[0]] == torch.cat(task.orders(2)).tolist()
    found = peer._configuration(Arm("", "torchdistill", 2), passes, 4, None)
    settings = found["criterion"]["kwargs"]["sub_terms"]["kd"]["criterion"]["kwargs"]
    assert (settings["temperature"], round(settings["alpha"], 6)) == (4.0, 0.1)
    sampler = peer.Listed(None, passes)
    assert [list(sampler), list(sampler), list(sampler)] == [passes[0], passes[1], passes[0]]


def test_when_a_curve_reaches_an_accuracy() -> None:
    assert accuracy.epochs_to([0.5, 0.7, 0.9], 0.8) == pytest.approx(2.5)
    assert accuracy.epochs_to([0.5, 0.7], 0.4) == 1
    assert accuracy.epochs_to([0.5, 0.7], 0.8) is None


def test_ten_epochs_hold_what_the_teacher_was_asked() -> None:
    row = timing.Row(
        "clean-6", (Arm("limbeck", "limbeck", 6), Arm("older", "torchdistill-1.1.4", 6), Arm("p", "plain", 6))
    )
    clocked = {"step_cpu": [128 / 60_000], "facts": {}}
    asking = {"answer_cpu": [2 / 60_000], "deciding_cpu": [1.0]}
    older = {"answer_cpu": [2 / 60_000], "deciding_cpu": [0.0]}
    found = {"arms": {"limbeck": clocked | asking, "older": clocked | older, "p": clocked}}
    totals = [timing.total_seconds(row, found, name, "cpu")[0] for name in ("limbeck", "older", "p")]
    assert totals == pytest.approx([10 + 2 + 1, 9 + 2, 10])


def test_the_ledger_keeps_finished_parts_of_this_code_alone(tmp_path: Path) -> None:
    path = tmp_path / "parts.jsonl"
    Ledger(path).write_down("teacher", "trained")
    other = json.dumps({"state": "another", "name": "plan", "measured": {}})
    path.write_text(f'{path.read_text()}{other}\n{{"state": "cut sh')
    assert Ledger(path).parts() == {"teacher": "trained"}


def test_the_parts_make_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "RESULTS", tmp_path)
    monkeypatch.setattr(board, "peers_versions", lambda *_names: {"torch": "2"})
    found = json.loads(board.write_board(_parts()).read_text())
    figures = found["figures"]
    wanted = {"torchdistill_over_limbeck_ratio2", "torchdistill_cached_over_limbeck_ratio6", "loop_over_plain",
              "accuracy_gap_ratio6", "stored_epoch_over_plain_epoch"}  # fmt: skip
    assert wanted <= set(figures)
    assert figures["torchdistill_over_limbeck_ratio6"]["value"] == pytest.approx(1 / 1.1, rel=1e-3)
    assert len(found["tables"]) == len(timing.rows()) + 1
    assert any("takes 0.91 of Limbeck's CPU time" in note for note in found["notes"])


def _parts() -> dict[str, Any]:
    """As if every arm took a second for an epoch, and all answers as long again."""

    def arm(one: Arm) -> dict[str, Any]:
        found: dict[str, Any] = {"facts": {"execution": PLAIN.model_dump(), },
                                 "peak_mb": 1.0, "peak_above_imports_mb": 1.0}  # fmt: skip
        for clock in ("cpu", "wall"):
            found[f"step_{clock}"] = [128 / 60_000] * 3
            if one.framework in ("limbeck", "torchdistill-1.1.4") and one.stored:
                found[f"answer_{clock}"] = [1 / 60_000 / (FIXED_VIEWS if one.view == "same" else 1)] * 3
                found[f"deciding_{clock}"] = [0.0] * 3
        return found

    rows = {
        row.name: {
            "arms": {one.name: arm(one) for one in row.arms},
            "forward": {"student": [1.0], "teacher": [6.0]},
        }
        for row in timing.rows()
    }
    bits = base64.b64encode(np.packbits(np.ones(16, bool)).tobytes()).decode()
    record = {"curve": [0.5, 0.9], "right": bits, "tested": 16, "teacher": 0.9}
    whole = {name: record for each in ("limbeck", "torchdistill") for name in accuracy.trainings_names(each)}  # type: ignore[arg-type]
    blocks = {name: [1.0, 1.0, 1.0] for name in ("limbeck", "plain", "no-teacher")}
    return {**rows, **whole, "overhead": blocks}
