"""Counter-based random numbers: the published function, pure per row, and uniform."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from limbeck.data.counter import below, hashed, uniform

WORD = 1 << 64
words = st.integers(-(1 << 63), (1 << 63) - 1)


def splitmix(value: int) -> int:
    """The reference, in Python's unbounded integers."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
    return value ^ (value >> 31)


@given(seed=st.integers(-(10**6), 1 << 70), view=words, id_=words, draw=st.integers(0, 7))
def test_equals_the_formula_in_unbounded_integers(seed: int, view: int, id_: int, draw: int) -> None:
    start = splitmix((seed + 0x9E3779B97F4A7C15) % WORD)
    state = splitmix((start + view * 0xD1342543DE82EF95 + id_) % WORD)
    expected = splitmix((state + (draw + 1) * 0x9E3779B97F4A7C15) % WORD) % (1 << 63)
    ids = torch.tensor([id_])
    assert hashed(seed, view, ids, draws=8)[0, draw] == expected
    assert hashed(seed, torch.tensor([view]), ids, draws=8)[0, draw] == expected


def test_numbers_are_uniform_and_unrelated_to_their_neighbours() -> None:
    bits = hashed(0, 0, torch.arange(20_000), draws=2)
    for column in (
        bits[:, 0],
        bits[:, 1],
        hashed(1, 0, torch.arange(20_000))[:, 0],
        hashed(0, 1, bits[:, 0])[:, 0],
    ):
        values = uniform(column).numpy()
        assert stats.kstest(values, "uniform").pvalue > 1e-3
        assert abs(stats.pearsonr(values[:-1], values[1:]).statistic) < 0.03
    assert abs(stats.pearsonr(uniform(bits[:, 0]).numpy(), uniform(bits[:, 1]).numpy()).statistic) < 0.03


@given(count=st.integers(1, 1000))
def test_whole_numbers_lie_below_their_count_and_reach_both_ends(count: int) -> None:
    drawn = below(hashed(3, 4, torch.arange(20 * count)), count)
    assert drawn.min() == 0
    assert drawn.max() == count - 1
