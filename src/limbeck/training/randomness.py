"""Random numbers that depend on a seed and a step, and on nothing that happened before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MASK = 2**64 - 1


@contextmanager
def drawing(seed: int, *, device: torch.device | str = "cpu") -> Iterator[None]:
    """Draw torch's random numbers from ``seed`` within a block; after it, go on as if there had been none.

    Args:
        seed: Seeds the generators of the CPU and of ``device``.
        device: Where else numbers are drawn.
    """
    generators = _generators(torch.device(device))
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def step_seed(seed: int, step: int) -> int:
    """The seed of one step's dropout: 63 well mixed bits.

    The state of the random numbers of a training is therefore (seed, step), and a resumed training draws
    what the uninterrupted one draws.

    References:
        Steele, Lea & Flood, `Fast splittable pseudorandom number generators
        <https://doi.org/10.1145/2660193.2660195>`_, 2014 (the finaliser).
    """
    mixed = _mixed(_mixed(seed & _MASK) + step + 1)
    return mixed >> 1


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _generators(device: torch.device) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    return generators
