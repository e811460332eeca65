"""Numbers are written with the digits that say something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.reports import figures
from limbeck.reports.tracks import padded, scale

numbers = st.floats(-1e12, 1e12, allow_nan=False)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.score(0.90142), "0.9014"),
        (figures.signed(-0.01), "\u22120.0100"),
        (figures.percent(0.9735), "97.4\u202f%"),
        (figures.span(0.9, 0.95), "90.0 to 95.0\u202f%"),
        (figures.count(696618), "696,618"),
        (figures.number(0.024312), "0.0243"),
        (figures.number(1234.5), "1,234"),
        (figures.number(0), "0"),
        (figures.size(43_902), "43.9\u202fKB"),
        (figures.size(2_786_472), "2.79\u202fMB"),
        (figures.times(32.52), "32.5\u00d7"),
        (figures.duration(0.42), "0.4\u202fs"),
        (figures.duration(59.7), "1\u202fmin 0\u202fs"),
        (figures.duration(7500), "2\u202fh 05\u202fmin"),
        (figures.plain({"a": [True, None, 1200]}), "a yes, \u2013, 1,200"),
    ],
)
def test_is_written_as_readers_expect(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize(
    "name", ["score", "signed", "percent", "count", "number", "size", "times", "duration", "brief"]
)
def test_what_is_missing_is_a_dash(name: str) -> None:
    assert getattr(figures, name)(None) == "\u2013"


@given(value=numbers)
def test_three_digits_are_within_a_two_hundredth(value: float) -> None:
    written = float(figures.number(value).replace(",", "").replace("\u2212", "-"))
    assert written == pytest.approx(value, rel=0.00501)


@given(values=st.lists(st.floats(-1, 1), min_size=1), step=st.sampled_from([0.05, 0.1]))
def test_a_scale_holds_its_values_in_order(values: list[float], step: float) -> None:
    for line in (scale(values, step=step), padded(values)):
        places = [float(line.at(value)) for value in sorted(values)]
        assert places == sorted(places)
        assert line.low < line.high
        assert min(values) >= line.low - 1e-9
        assert max(values) <= line.high + 1e-9
