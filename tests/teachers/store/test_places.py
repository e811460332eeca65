"""Where ids stand: found as a search finds them, however they are spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.teachers.store.places import Places

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.sets(INT64, min_size=1, max_size=60), st.data())
def test_finds_what_a_search_finds(ids: set[int], data: st.DataObject) -> None:
    held = np.array(sorted(ids), np.int64)
    wanted = np.array(data.draw(st.lists(st.sampled_from(sorted(ids)), max_size=20)), np.int64)
    found = Places(held).find(wanted)
    assert found is not None
    assert np.array_equal(found, np.searchsorted(held, wanted))


@given(st.sets(INT64, min_size=1, max_size=60), INT64)
def test_says_so_where_an_id_is_not_there(ids: set[int], other: int) -> None:
    held = np.array(sorted(ids - {other}), np.int64)
    if len(held):
        assert Places(held).find(np.array([held[0], other], np.int64)) is None


@pytest.mark.parametrize(
    "ids", [np.arange(1000), np.r_[np.arange(500), 2**62 + np.arange(500)]], ids=["near", "two"]
)
def test_ids_that_crowd_together_are_found_too(ids: np.ndarray) -> None:
    wanted = ids[::-7]
    assert np.array_equal(Places(ids).find(wanted), np.searchsorted(ids, wanted))
    assert Places(ids).find(np.array([ids[-1] + 1])) is None
