"""The scoreboard: what it trains in which order, what it writes down, and what it claims, from made-up ledgers."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.scoreboard import __main__ as runner
from benchmarks.scoreboard import data_free
from benchmarks.scoreboard import shards as pieces
from benchmarks.scoreboard.board import board
from benchmarks.scoreboard.holm import holm
from benchmarks.scoreboard.ledger import claimed, finished, ledger, packed, right, write_down
from benchmarks.scoreboard.plan import ahead, piece, shards, tuned_choice, tuned_kd
from benchmarks.scoreboard.protocol import PAIRS
from benchmarks.scoreboard.rows import CONTROLS, DOES_NOT_APPLY, ROWS, TRIALS
from benchmarks.scoreboard.shards import EXTRA_SEEDS, FIRST_PAIR, SEEDS, Shard, failure, work

TEST = 1000
KEPT = ("kd", "kd-1", "hint", "sampled", "similarity", "ema", "mutual")
"""The board is the same with fewer rows, and sooner there."""
TEACHERS = {pair: (np.arange(TEST) % 10 > 0).astype(float) for pair in PAIRS}


@pytest.fixture(autouse=True, scope="module")
def _few_rows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in set(ROWS) - set(KEPT):
            patch.delitem(ROWS, name)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


def record(shard: Shard, accuracy: float, *, validation: float | None = None) -> dict[str, Any]:
    """A training that got exactly that share of the test samples right, which ones hangs on the piece."""
    answers = np.zeros(TEST, dtype=bool)
    order = np.random.default_rng([shard.seed, len(shard.row)]).permutation(TEST)
    answers[order[: round(accuracy * TEST)]] = True
    return {
        **failure(shard, ""),
        "validation": accuracy if validation is None else validation,
        "accuracy": accuracy,
        "seconds_per_epoch": 2.0,
        "peak_mb": 500.0,
        "making_seconds": 30.0,
        "right": packed(answers),
    }


def made_up(accuracies: dict[str, float], *, others: float = 0.8) -> dict[str, Any]:
    """All that is planned, trained: accuracies by row for trained teachers, slightly moving with the seed."""
    done: dict[str, Any] = {}
    while waiting := [shard for shard in shards(done) if shard.key not in done]:
        for shard in waiting:
            accuracy = accuracies.get(shard.row, others) if shard.column != "random-teacher" else 0.7
            moved = round(accuracy + 0.002 * (shard.seed % 2) - 0.001 * shard.trial, 4)
            plain = record(shard, moved)
            del plain["error"]
            done[shard.key] = plain
    return done


def rows(found: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture(scope="module")
def whole(_few_rows: None) -> dict[str, Any]:
    """A ledger in which one method is far ahead, one far behind, and all others lie together."""
    return made_up({"hint": 0.9, "sampled": 0.6, "no-teacher": 0.75, "kd": 0.8, "generator": 0.85})


@pytest.fixture(scope="module")
def found(whole: dict[str, Any]) -> dict[str, Any]:
    return board(whole, TEACHERS)


class TestHolm:
    def test_follows_its_definition(self) -> None:
        adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
        assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})

    def test_none_falls_below_one_before_it_nor_rises_above_one(self) -> None:
        draws = np.random.default_rng(0).random(30) ** 3
        plain = {str(place): float(p) for place, p in enumerate(draws)}
        adjusted = holm(plain)
        in_order = [adjusted[name] for name in sorted(plain, key=lambda name: plain[name])]
        assert in_order == sorted(in_order)
        assert all(plain[name] <= adjusted[name] <= 1 for name in plain)
        assert list(adjusted) == list(plain)

    def test_one_comparison_is_left_as_it_is(self) -> None:
        assert holm({"a": 0.03}) == {"a": 0.03}
        assert holm({}) == {}


class TestPlan:
    def test_the_most_telling_comes_first(self) -> None:
        order = list(shards({}))
        place = {shard: number for number, shard in enumerate(order)}
        first = [n for s, n in place.items() if s.column == "published" and s.seed == 0]
        random = [n for s, n in place.items() if s.column == "random-teacher"]
        later = [n for s, n in place.items() if s.column == "published" and s.seed > 0]
        tuning = [n for s, n in place.items() if s.column == "tuned"]
        assert max(first) < min(random) <= max(random) < min(later) <= max(later) < min(tuning)

    def test_each_training_comes_once(self, whole: dict[str, Any]) -> None:
        keys = [shard.key for shard in shards(whole)]
        assert len(keys) == len(set(keys))

    def test_without_any_result_nothing_is_chosen_and_nothing_claimed(self) -> None:
        planned = list(shards({}))
        assert tuned_choice({}, "kd", FIRST_PAIR) is None
        assert not any(shard.seed in EXTRA_SEEDS for shard in planned)
        assert not any(shard.column == "tuned" and shard.seed for shard in planned)

    def test_what_has_no_teacher_has_no_random_one(self) -> None:
        random = {shard.row for shard in shards({}) if shard.column == "random-teacher"}
        assert "kd" in random
        assert not random & {*CONTROLS, "ema", "mutual"}

    def test_kd_is_tuned_on_every_pair(self) -> None:
        for pair in PAIRS:
            tried = {s.trial for s in shards({}) if s.pair == pair and s.row == "kd" and s.seed == 0}
            assert tried == set(range(len(TRIALS)))

    def test_the_choice_is_made_on_validation_data(self) -> None:
        tried = [piece("kd", FIRST_PAIR, trial, 0) for trial in range(len(TRIALS))]
        done = {
            shard.key: record(shard, accuracy, validation=validation)
            for shard, accuracy, validation in zip(tried, (0.9, 0.8, 0.7), (0.1, 0.3, 0.2), strict=True)
        }
        assert tuned_choice(done, "kd", FIRST_PAIR) == 1

    def test_what_does_not_apply_is_not_planned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(DOES_NOT_APPLY, ("hint", "vit-cnn"), "a reason")
        planned = {(shard.row, shard.pair) for shard in shards({})}
        assert ("hint", "vit-cnn") not in planned
        assert ("hint", "cnn-vit") in planned

    def test_plain_kd_at_a_temperature_of_one_may_be_the_control(self) -> None:
        done = made_up({"kd": 0.7, "kd-1": 0.82})
        assert tuned_kd(done, FIRST_PAIR) == ("kd-1", 0)
        assert tuned_kd(made_up({"kd": 0.83, "kd-1": 0.82}), FIRST_PAIR) == ("kd", 0)
        assert tuned_kd({}, FIRST_PAIR) is None
        assert not ahead(done, "hint", FIRST_PAIR, 0)

    def test_rows_ahead_of_tuned_kd_get_more_seeds_and_so_do_their_controls(
        self, whole: dict[str, Any]
    ) -> None:
        extra = {shard.row for shard in shards(whole) if shard.seed in EXTRA_SEEDS and not shard.trial}
        assert extra == {"hint", "no-teacher", "kd"}
        assert ahead(whole, "hint", FIRST_PAIR, 0)
        assert not ahead(whole, "sampled", FIRST_PAIR, 0)

    def test_one_seed_below_is_no_claim(self, whole: dict[str, Any]) -> None:
        done = dict(whole)
        shard = piece("hint", FIRST_PAIR, 0, SEEDS[-1])
        done[shard.key] = {**done[shard.key], "accuracy": 0.5}
        assert not ahead(done, "hint", FIRST_PAIR, 0)

    def test_students_without_data_have_keys_of_their_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = Shard("generator", FIRST_PAIR, "data-free", 0, 0)
        other = Shard("inversion", FIRST_PAIR, "data-free", 0, 0)
        assert one in set(shards({}))
        assert len({one.key, other.key, Shard("generator", FIRST_PAIR, "data-free", 0, 1).key}) == 3


class TestBoard:
    def test_all_rows_and_controls_are_there(self, found: dict[str, Any]) -> None:
        for pair in PAIRS:
            names = {row["method"] for row in rows(found, pair=pair, column="published")}
            assert names == {*CONTROLS, *ROWS, "tuned-kd"}
        assert {row["method"] for row in rows(found, column="tuned")} == set(ROWS)
        assert found["trainings"]["done"] == found["trainings"]["planned"]

    def test_a_row_has_what_is_promised(self, found: dict[str, Any]) -> None:
        promised = {
            "method",
            "pair",
            "seeds",
            "metric",
            "low",
            "high",
            "verdict",
            "seconds_per_epoch",
            "peak_mb",
        }
        assert all(promised <= set(row) for row in found["rows"])
        for row in found["rows"]:
            assert row["low"] <= row["metric"] <= row["high"]
        json.dumps(found)

    def test_a_clear_winner_beats_all_its_controls(self, found: dict[str, Any]) -> None:
        (row,) = rows(found, method="hint", pair=FIRST_PAIR, column="published")
        assert row["seeds"] == len(SEEDS) + len(EXTRA_SEEDS)
        assert row["verdict"] == "beats"
        assert row["against_tuned_kd"]["verdict"] == "beats"
        assert row["against_tuned_kd"]["p_holm"] <= 0.05
        assert row["against_random_teacher"]["verdict"] == "beats"
        assert row["against_best"] is None

    def test_a_clear_loser_hurts_and_says_that_its_teacher_does_not_matter(
        self, found: dict[str, Any]
    ) -> None:
        (row,) = rows(found, method="sampled", pair=FIRST_PAIR, column="published")
        assert row["verdict"] == row["against_random_teacher"]["verdict"] == "hurts"
        assert found["figures"]["methods_not_above_their_random_teacher"]["value"] == 1

    def test_the_difference_is_that_of_the_means_over_common_seeds(self, found: dict[str, Any]) -> None:
        (row,) = rows(found, method="sampled", pair=FIRST_PAIR, column="published")
        assert row["against_no_teacher"]["difference"] == pytest.approx(-0.15, abs=1e-4)
        assert row["against_no_teacher"]["seeds"] == len(SEEDS)

    def test_the_family_is_the_methods_of_the_pair(self, found: dict[str, Any]) -> None:
        (row,) = rows(found, method="hint", pair=FIRST_PAIR, column="published")
        assert row["against_tuned_kd"]["comparisons"] == len(ROWS) - 1  # kd's published form was chosen
        (control,) = rows(found, method="no-teacher", pair=FIRST_PAIR, column="published")
        assert control["against_tuned_kd"]["p_holm"] is None
        assert control["against_tuned_kd"]["verdict"] != "open"

    def test_what_the_correction_takes_back_is_open(self) -> None:
        done = made_up({"no-teacher": 0.75, "kd": 0.8, "hint": 0.84})
        noisy = [(seed, 0.82 + 0.015 * (seed - 1)) for seed in SEEDS]
        for (
            seed,
            accuracy,
        ) in noisy:  # the interval may say beats, the p-value of three seeds is not small enough
            shard = piece("hint", FIRST_PAIR, 0, seed)
            done[shard.key] = {**record(shard, accuracy)}
            done[shard.key].pop("error")
        (row,) = rows(board(done, TEACHERS), method="hint", pair=FIRST_PAIR, column="published")
        assert row["against_tuned_kd"]["p_holm"] > 0.05
        assert row["against_tuned_kd"]["verdict"] == "open"

    def test_figures(self, found: dict[str, Any]) -> None:
        figures = found["figures"]
        assert figures["methods_on_the_board"] == {
            "value": len(KEPT), "unit": "methods", "better": "higher", "goal": 40,
        }  # fmt: skip
        assert figures["share_of_planned_trainings"]["value"] == 1
        assert figures["cnn_vit_methods_above_control"]["value"] > 0
        assert figures["methods_above_tuned_kd"]["value"] == 1
        share = figures["data_free_share_of_teacher"]
        assert share["value"] == pytest.approx(0.85 / 0.9, abs=2e-3)
        assert share["low"] <= share["value"] <= share["high"]

    def test_half_a_ledger_gives_a_board(self) -> None:
        done = {}
        for shard in list(shards({}))[: len(ROWS) + 2]:
            done[shard.key] = record(shard, 0.8)
            done[shard.key].pop("error")
        found = board(done, TEACHERS)
        assert {row["pair"] for row in found["rows"]} == {FIRST_PAIR}
        assert all(row["against_tuned_kd"] is None for row in found["rows"])
        assert found["figures"]["share_of_planned_trainings"]["value"] < 0.5

    def test_an_empty_ledger_gives_an_empty_board(self) -> None:
        assert board({}, {})["rows"] == []

    def test_what_failed_is_named_and_the_rest_stands(self, whole: dict[str, Any]) -> None:
        shard = piece("hint", FIRST_PAIR, 0, 1)
        found = board({**whole, shard.key: failure(shard, "RuntimeError: no")}, TEACHERS)
        assert found["failed"] == [{"training": shard.name, "error": "RuntimeError: no"}]
        (row,) = rows(found, method="hint", pair=FIRST_PAIR, column="published")
        assert row["seeds"] == 4 or row["seeds"] == 2


class TestLedger:
    SHARD = Shard("kd", FIRST_PAIR, "published", 0, 0)

    def test_answers_survive(self) -> None:
        plain = record(self.SHARD, 0.25)
        assert right(plain).sum() == TEST / 4

    def test_a_line_that_a_kill_cut_short_takes_no_other_with_it(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.jsonl"
        write_down({"key": "a", "accuracy": 1}, path)
        with path.open("a") as file:
            file.write('{"key": "b", "accu')
        write_down({"key": "c", "accuracy": 1}, path)
        assert set(ledger(path)) == {"a", "c"}

    def test_an_error_never_replaces_a_result_but_a_result_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.jsonl"
        write_down({"key": "a", "error": "no"}, path)
        assert finished(ledger(path)) == {}
        write_down({"key": "a", "accuracy": 1}, path)
        write_down({"key": "a", "error": "no"}, path)
        assert finished(ledger(path)) == {"a": {"key": "a", "accuracy": 1}}

    def test_what_fails_is_written_down_and_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "ledger.jsonl"

        def fails(shard: Shard) -> None:
            raise ValueError("no such thing")

        monkeypatch.setattr(pieces, "train_shard", fails)
        work(self.SHARD, path)
        assert ledger(path)[self.SHARD.key]["error"] == "ValueError: no such thing"
        assert "Traceback" in capfd.readouterr().err
        monkeypatch.setattr(pieces, "train_shard", lambda shard: {"key": shard.key, "accuracy": 1.0})
        assert work(self.SHARD, path) == {"key": self.SHARD.key, "accuracy": 1.0}
        assert work(self.SHARD, path) is None

    def test_one_process_trains_what_another_does_not_hold(self, tmp_path: Path) -> None:
        with claimed(self.SHARD.key) as mine:
            assert mine
            process = multiprocessing.get_context("fork").Process(
                target=_exit_with_claim, args=(self.SHARD.key,)
            )
            process.start()
            process.join()
            assert process.exitcode == 3
        with claimed(self.SHARD.key) as mine:
            assert mine


def _exit_with_claim(key: str) -> None:
    with claimed(key) as mine:
        os._exit(0 if mine else 3)


class _Ended:
    """A process that is over."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def join(self) -> None:
        """Nothing to wait for."""


class TestRunner:
    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        path = tmp_path / "ledger.jsonl"
        monkeypatch.setattr(runner, "ledger", lambda: ledger(path))
        monkeypatch.setattr(runner, "write_down", lambda plain: write_down(plain, path))
        return path

    def test_goes_on_where_it_was(self, path: Path, whole: dict[str, Any]) -> None:
        first, second, third, *_ = shards({})
        write_down(whole[first.key], path)
        assert next(runner._open(set())) == second
        assert next(runner._open({second.key})) == third

    def test_a_killed_process_is_written_down_as_failed(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shard = next(iter(shards({})))
        runner._ended(_Ended(-9), shard)  # type: ignore[arg-type]
        assert ledger(path)[shard.key]["error"] == "the process ended with exit code -9"
        assert "exit code -9" in capsys.readouterr().out

    def test_a_result_that_was_written_before_the_kill_stays(self, path: Path, whole: dict[str, Any]) -> None:
        shard = next(iter(shards({})))
        write_down(whole[shard.key], path)
        runner._ended(_Ended(-9), shard)  # type: ignore[arg-type]
        assert finished(ledger(path))


def test_makers_of_data_are_part_of_the_setting() -> None:
    assert set(data_free.setting()) == set(data_free.POOLS)
    json.dumps(data_free.setting())
