"""Which disagreement with the student is too much."""

from __future__ import annotations

import pytest

from limbeck.export.parity import Parity


@pytest.mark.parametrize(
    ("differing", "samples", "share", "short"),
    [
        (2, 36, 0.95, False),  # 0.944 of a few
        (6, 36, 0.95, True),
        (500, 10_000, 0.95, False),
        (560, 10_000, 0.95, True),  # 0.944 of many
        (0, 1, 1.0, False),
        (1, 10_000, 1.0, True),
        (36, 36, 0.0, False),
    ],
)
def test_a_few_samples_do_not_decide(differing: int, samples: int, share: float, short: bool) -> None:
    found = Parity(0.5, 10.0, 1 - differing / samples, {}, samples)
    assert found.short_of(share) == short
