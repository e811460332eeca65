"""A weight that grows over the first steps."""

from __future__ import annotations

import torch
from tests.methods.modified import loss, started, ticked

from limbeck.methods import CE, KD, WarmUp


def test_warm_up_grows_in_a_straight_line_to_the_whole() -> None:
    method = WarmUp(of=KD() + CE(), steps=4)
    state, whole = started(method), loss(KD() + CE())
    for share in (0.25, 0.5, 0.75, 1.0, 1.0):
        torch.testing.assert_close(loss(method, state), share * whole)
        ticked(method, state, 1)
