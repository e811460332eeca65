"""One place decides how many threads compute, and what it changes is put back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

import limbeck
from limbeck.errors import UserError
from limbeck.threads import (
    all_threads,
    cores,
    environment,
    recorded,
    refuse_dynamic_threads,
    session_options,
    threads,
)

ROOT = Path(limbeck.__file__).parent
SETTERS = re.compile(
    r"set_num_(interop_)?threads|(intra|inter)_op_num_threads|threadpool_limits|(OMP|MKL|OPENBLAS)_NUM_THREADS\"|"
    r"cpu_count\(|sched_getaffinity"
)
ALLOWED = {"threads.py", "evaluation/memory_probe.py", "cli/doctor.py"}
"""The one place; a script that must not import it; and who only reads the environment."""


def test_nothing_else_in_the_package_sets_threads_or_counts_cores() -> None:
    found = {
        path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if SETTERS.search(path.read_text())
    }
    assert found == ALLOWED


@pytest.mark.parametrize("block", [threads, all_threads])
def test_threads_are_as_before_after_the_block_though_it_raises(block) -> None:
    before = torch.get_num_threads(), blas()
    inside = []

    def fail() -> None:
        inside.append(torch.get_num_threads())
        raise KeyError

    with pytest.raises(KeyError), block(before[0] + 1):
        fail()
    assert inside == [before[0] + 1]
    assert (torch.get_num_threads(), blas()) == before


def blas() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_is_told_too() -> None:
    with all_threads(1):
        assert set(blas()) <= {1}


def test_a_session_and_a_child_process_are_told_the_same_number() -> None:
    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    told = environment(3)
    assert told["OMP_NUM_THREADS"] == told["MKL_NUM_THREADS"] == told["OPENBLAS_NUM_THREADS"] == "3"
    assert told["OMP_WAIT_POLICY"] == "passive"
    assert "PATH" in told


def test_the_record_says_what_everybody_was_told() -> None:
    found = recorded(2)
    assert (found["torch"], found["blas"], found["onnxruntime"]) == (2, 2, 1)
    assert found["cores"] == cores() >= 1


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes"])
def test_refuses_threads_that_change_by_themselves(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", value)
    with pytest.raises(UserError, match="unset OMP_DYNAMIC"):
        refuse_dynamic_threads()
