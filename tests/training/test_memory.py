"""What a model holds while it answers, and what is free."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from limbeck.training import memory
from limbeck.training.memory import Footprint, available_bytes, footprint


class Grows(nn.Module):
    """Holds its input, and two tensors four times as wide at once, of which it frees one before the next."""

    def forward(self, inputs: Tensor) -> Tensor:
        wide = torch.cat([inputs] * 4, 1)
        for _ in range(3):
            wide = wide + 1
        return wide.sum(1, keepdim=True)


@pytest.mark.parametrize("features", [100, 1000])
def test_counts_what_is_held_at_once_for_each_example(features: int) -> None:
    found = footprint(Grows(), torch.zeros(4, features))
    exact = features * 4 * (1 + 2 * 4)
    assert exact <= found.example_bytes <= 1.1 * exact
    assert found.fixed_bytes < exact


def test_weights_are_no_part_of_it() -> None:
    model = nn.Linear(1000, 10)
    assert footprint(model, torch.zeros(4, 1000)).bytes(1) < 3 * 4000


def test_a_batch_takes_half_of_what_is_free_at_most() -> None:
    found = Footprint(fixed_bytes=1000, example_bytes=100)
    assert found.examples(22_000) == 100
    assert found.bytes(100) == 11_000
    assert found.examples(10) == 1


def test_some_memory_is_free_and_not_more_than_there_is() -> None:
    import os

    assert 0 < available_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_containers_limit_counts(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    free = available_bytes()
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("4000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    assert available_bytes() == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() > min(free, 1_500_000) / 2
    (tmp_path / "memory.max").write_text("1\n")
    assert available_bytes() == 0
