"""Numbers as readers see them: sensible digits, units, and a dash where there is none."""

from __future__ import annotations

import math
from typing import Final

Number = int | float

NONE: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_DECIMALS: Final = 6  # more are hard to count
_THIN: Final = "\N{NARROW NO-BREAK SPACE}"


def score(value: Number | None) -> str:
    """A metric, or another number near 1: four decimals, ``0.9014``."""
    return NONE if value is None else _minus(f"{value:.4f}")


def signed(value: Number | None) -> str:
    """A difference of metrics, with its sign: ``+0.0630``."""
    return NONE if value is None else _minus(f"{value:+.4f}")


def percent(value: Number | None, decimals: int = 1) -> str:
    """A share: ``97.8 %``."""
    return NONE if value is None else _minus(f"{value * 100:.{decimals}f}{_THIN}%")


def span(low: Number | None, high: Number | None) -> str:
    """An interval of shares: ``97.2 to 98.3 %``."""
    if low is None or high is None:
        return NONE
    return _minus(f"{low * 100:.1f} to {high * 100:.1f}{_THIN}%")


def count(value: Number | None) -> str:
    """A whole number: ``696,618``."""
    return NONE if value is None else _minus(f"{round(value):,}")


def number(value: Number | None, digits: int = 3) -> str:
    """Any number to some significant digits, in powers of ten only where it is tiny."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return _minus(f"{value:g}")
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    if decimals > _DECIMALS:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return _minus(f"{mantissa}e") + _minus(str(int(exponent)))
    return _minus(f"{value:,.{max(0, decimals)}f}")


def brief(value: Number | None) -> str:
    """A number that somebody chose, as they wrote it: ``0.005``."""
    return NONE if value is None else _minus(f"{value:g}")


def size(value: Number | None) -> str:
    """Bytes in thousands: ``83.7 KB``, ``2.79 MB``."""
    if value is None:
        return NONE
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{number(value)}{_THIN}{unit}"
        value /= 1000
    return f"{number(value)}{_THIN}GB"


def times(value: Number | None) -> str:
    """How many times: three digits and a multiplication sign."""
    if value is None:
        return NONE
    digits = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{digits}\N{MULTIPLICATION SIGN}"


def duration(seconds: Number | None) -> str:
    """A span of time: ``0.4 s``, ``3 min 22 s``, ``2 h 05 min``."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f}{_THIN}s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest}{_THIN}s"
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}{_THIN}min {rest}{_THIN}s"
    return f"{hours}{_THIN}h {minutes:02d}{_THIN}min"


def plain(value: object) -> str:
    """Whatever stands in a free-form part of the report."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return number(value, 4)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(entry) for entry in value)
    return str(value)


def _minus(text: str) -> str:
    return text.replace("-", _MINUS) if text.startswith("-") else text
