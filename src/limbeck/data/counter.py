"""Random numbers without a state: a hash of what they are for, in whole tensors.

Nothing is drawn one after another, so any number can be had again, in any order and in any batch.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

_WORD: Final = 1 << 64
_GAMMA: Final = 0x9E3779B97F4A7C15
_STRIDE: Final = 0xD1342543DE82EF95


def hashed(
    seed: int, view: Int[Tensor, " batch"] | int, ids: Int[Tensor, " batch"], *, draws: int = 1
) -> Int[Tensor, "batch draws"]:
    """Independent 63-bit numbers for each (seed, view, id), by integer arithmetic that wraps around.

    Args:
        seed: Any whole number.
        view: One whole number for all rows, or one a row.
        ids: int64, any values.
        draws: How many numbers a row.

    Returns:
        int64 in ``[0, 2**63)``. A row's numbers depend on its own seed, view and id alone.

    References:
        Steele, Lea & Flood, `Fast Splittable Pseudorandom Number Generators
        <https://doi.org/10.1145/2660193.2660195>`_, 2014 (the mixing function of SplitMix64).
    """
    start = _mixed_number(seed)
    if isinstance(view, int):
        state = ids + _signed(start + view * _STRIDE)
    else:
        state = ids + view * _signed(_STRIDE) + _signed(start)
    steps = torch.tensor([_signed((draw + 1) * _GAMMA) for draw in range(draws)], device=ids.device)
    return _mixed(_mixed(state)[:, None] + steps) & ((1 << 63) - 1)


def uniform(bits: Int[Tensor, ...]) -> Float[Tensor, ...]:
    """Hashes as float32 in ``[0, 1)``, from their upper 24 bits."""
    return (bits >> 39).to(torch.float32) * 2.0**-24


def below(bits: Int[Tensor, ...], count: int) -> Int[Tensor, ...]:
    """Hashes as whole numbers in ``[0, count)``, for a count below 2**31."""
    return ((bits >> 31) * count) >> 32


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shifted(state, 27)) * _signed(0x94D049BB133111EB)
    return state ^ _shifted(state, 31)


def _mixed_number(value: int) -> int:
    value = (value + _GAMMA) % _WORD
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % _WORD
    return value ^ (value >> 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """A shift to the right that fills with zeros (torch's fills with the sign)."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """A 64-bit word as the signed number with the same bits."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value
