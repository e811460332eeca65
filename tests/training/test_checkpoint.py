from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from limbeck.errors import DiskError, NonFiniteLossError, RunError
from limbeck.recipe.plan import Execution
from limbeck.training.checkpoint import load, previous, remove, save

OPTIMIZERS = [{"kind": "sgd", "learning_rate": 0.1}, {"kind": "adamw", "learning_rate": 0.01}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "student.checkpoint"


def equal(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return isinstance(second, dict) and first.keys() == second.keys() and all(
            equal(value, second[key]) for key, value in first.items()
        )  # fmt: skip
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each["kind"])
@pytest.mark.parametrize(
    "execution",
    [Execution(), Execution(precision="bf16", layout="channels_last")],
    ids=lambda each: each.precision,
)
@pytest.mark.parametrize("kill_after", [1, 4, 6])
def test_a_resumed_training_equals_the_uninterrupted_one_bit_for_bit(
    bench, path: Path, optimizer, execution: Execution, kill_after: int
) -> None:
    stream, teacher = bench.batches(images=True, augmented=True), bench.image_teacher

    def begun():
        return bench.start(bench.cnn, teacher, stream, execution=execution, optimizer=optimizer)

    whole = begun()
    bench.run(whole, stream, teacher, execution=execution)
    killed = begun()
    bench.run(killed, stream, teacher, execution=execution, steps=kill_after)
    save(killed, path)
    torch.rand(7)
    resumed = begun()
    assert load(resumed, path)
    assert resumed.step == kill_after
    bench.run(resumed, stream, teacher, execution=execution)
    resumed.seconds = whole.seconds
    assert equal(resumed.state_dict(), whole.state_dict())


def test_keeps_what_the_caller_keeps(bench, path: Path) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    state.kept = {"accuracy": 0.5, "step": 3, "weights": {"a": torch.arange(3.0)}}
    save(state, path)
    other = bench.start(bench.mlp, teacher, stream)
    load(other, path)
    assert equal(other.kept, state.kept)
    assert other.last_checkpoint == path


def test_nothing_saved_is_nothing_loaded(bench, path: Path) -> None:
    state = bench.start(bench.mlp, bench.teacher, bench.batches())
    assert not load(state, path)
    assert state.step == 0


def two_checkpoints(bench, path: Path):
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    for step in (2, 4):
        bench.run(state, stream, teacher, steps=step)
        save(state, path)
    return bench.start(bench.mlp, teacher, stream)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(bench, path: Path, damage: str) -> None:
    fresh = two_checkpoints(bench, path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path.write_bytes({"truncated": content[:middle], "empty": b"", "flipped": bytes(content)}[damage])
    with pytest.warns(UserWarning, match="damaged and is passed over"):
        assert load(fresh, path)
    assert fresh.step == 2


def test_only_damaged_checkpoints_are_an_error_with_a_cure(bench, path: Path) -> None:
    fresh = two_checkpoints(bench, path)
    for each in (path, previous(path)):
        each.write_bytes(each.read_bytes()[:-5])
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(RunError, match="Remove them"):
        load(fresh, path)


@pytest.mark.parametrize("renames_before_the_kill", [0, 1])
def test_a_kill_between_the_renames_loses_nothing(
    bench, path: Path, renames_before_the_kill: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    bench.run(state, stream, teacher, steps=2)
    save(state, path)
    bench.run(state, stream, teacher, steps=4)
    renamed = iter([Path.replace] * (1 + renames_before_the_kill))

    def rename(self: Path, target: Path) -> Path:
        for genuine in renamed:
            return genuine(self, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", rename)
        with pytest.raises(KeyboardInterrupt):
            save(state, path)
    fresh = bench.start(bench.mlp, teacher, stream)
    assert load(fresh, path)
    assert fresh.step == (4 if renames_before_the_kill else 2)


def test_a_full_disk_leaves_the_checkpoints_as_they_were(
    bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = two_checkpoints(bench, path)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="disk is full"):
        save(fresh, path)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def test_weights_that_are_not_finite_do_not_replace_finite_ones(bench, path: Path) -> None:
    state = two_checkpoints(bench, path)
    load(state, path)
    before = path.read_bytes()
    with torch.no_grad():
        next(state.student.parameters())[0, 0] = torch.nan
    with pytest.raises(
        NonFiniteLossError, match=r"0\.weight.*last finite checkpoint is .*student\.checkpoint"
    ):
        save(state, path)
    assert path.read_bytes() == before


def test_remove_leaves_nothing(bench, path: Path) -> None:
    two_checkpoints(bench, path)
    remove(path)
    assert not list(path.parent.iterdir())
