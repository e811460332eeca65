"""Where samples stand among sorted ids, for a whole batch at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_MOST_BITS: Final = 22
"""At most 16 MB of slots."""

_CROWDED: Final = 16
"""Ids in one slot from which on halving is quicker than walking."""

_ID_BITS: Final = 64


class Places:
    """Finds ids among sorted ones.

    Ids are hashes, so their leading bits tell about where each stands: a table of slots gives the first place that
    they allow, and a step or two from there the id itself. Ids that crowd together are found by halving.

    Args:
        ids: Sorted, distinct.
    """

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._ids = ids
        bits = min(max(len(ids), 2).bit_length() + 2, _MOST_BITS)
        self._shift, self._half = _ID_BITS - bits, 1 << (bits - 1)
        counts = np.bincount(self._slots(ids), minlength=1 << bits)
        self._steps = int(counts.max())
        first = np.cumsum(counts) - counts
        self._first = first.astype(np.int32 if len(ids) < 2**31 else np.int64)

    def find(self, wanted: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The place of each id; ``None`` if one of them is not there."""
        if self._steps > _CROWDED:
            place = np.searchsorted(self._ids, wanted)
            return place if np.array_equal(self._ids.take(place, mode="clip"), wanted) else None
        return self._walked(wanted)

    def _walked(self, wanted: NDArray[np.int64]) -> NDArray[np.int64] | None:
        place = self._first.take(self._slots(wanted)).astype(np.int64)
        for _ in range(self._steps + 1):
            held = self._ids.take(place, mode="clip")
            behind = held < wanted
            if not behind.any():
                return place if (held == wanted).all() else None
            place += behind
        return None

    def _slots(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return (ids >> self._shift) + self._half
