from __future__ import annotations

import pytest
import torch

from limbeck.training.randomness import drawing, step_seed


def test_a_block_draws_from_its_seed_alone() -> None:
    torch.rand(3)
    with drawing(7):
        first = torch.rand(4)
    torch.rand(5)
    with drawing(7):
        assert torch.equal(torch.rand(4), first)


def test_a_block_leaves_the_numbers_outside_as_they_were() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), drawing(7):
        torch.rand(9) @ torch.rand(8)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_steps_differ_in_the_bits_that_torch_uses() -> None:
    seeds = {step_seed(seed, step) & 0xFFFFFFFF for seed in range(20) for step in range(100)}
    assert len(seeds) == 2000


def test_seeds_of_steps_fit_in_what_torch_takes() -> None:
    assert all(0 <= step_seed(seed, step) < 2**63 for seed in (0, 1, 2**63 - 1) for step in (0, 10**6))
