"""What a model still gets right when its inputs are spoiled, in the same way for everybody and every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import ndimage

from limbeck.errors import DataError, nearest
from limbeck.evaluation.quality import accuracy

Kind = Literal["image", "features"]
SEVERITIES: Final = (1, 2, 3)
"""Mild, clear, strong."""

_BLOCK_NUMBERS: Final = 4_000_000
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_IMAGE_NOISE: Final = (0.05, 0.10, 0.20)  # standard deviation, of the full range
_FEATURE_NOISE: Final = (0.1, 0.25, 0.5)  # standard deviation, of the training data's
_CONTRAST: Final = (0.75, 0.5, 0.3)  # what is left of the distance from the image's mean
_SIDES: Final = np.array([[-1, -1], [-1, 0], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 0], [1, 1]])


@dataclass(frozen=True, slots=True)
class Robustness:
    """A model's accuracy on clean and on spoiled inputs."""

    clean: float
    corrupted: Mapping[str, tuple[float, ...]]
    """For each corruption, the accuracy at severities 1, 2 and 3."""
    mean: float
    """Over all corruptions and severities."""


def corruptions(kind: Kind) -> tuple[str, ...]:
    """The names of the corruptions for a kind of input."""
    return tuple(_IMAGE) if kind == "image" else ("noise",)


def robustness(
    predictors: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    raw: np.ndarray,
    labels: Int[np.ndarray, " examples"],
    *,
    seed: int = 0,
    deviations: Float[np.ndarray, " features"] | None = None,
) -> dict[str, Robustness]:
    """Spoil the inputs once per corruption and severity, and ask every model about the same ones.

    Args:
        predictors: Models by name: raw inputs in, logits ``[examples, classes]`` out.
        raw: Inputs as :func:`corrupt` takes them.
        labels: The right classes.
        seed: Of the corruptions.
        deviations: For feature tables, as in :func:`corrupt`.

    Raises:
        DataError: If the inputs are neither images nor features, or logits and labels cannot be compared.
    """
    clean = {name: accuracy(predict(raw), labels) for name, predict in predictors.items()}
    kinds = corruptions("image" if raw.ndim == 4 else "features")
    table: dict[str, dict[str, tuple[float, ...]]] = {name: {} for name in predictors}
    for kind in kinds:
        for severity in SEVERITIES:
            spoiled = corrupt(raw, kind, severity=severity, seed=seed, deviations=deviations)
            for name, predict in predictors.items():
                table[name][kind] = (*table[name].get(kind, ()), accuracy(predict(spoiled), labels))
    return {
        name: Robustness(clean[name], rows, float(np.mean([value for row in rows.values() for value in row])))
        for name, rows in table.items()
    }


def corrupt(
    raw: np.ndarray,
    name: str,
    *,
    severity: int,
    seed: int = 0,
    ids: Int[np.ndarray, " examples"] | None = None,
    deviations: Float[np.ndarray, " features"] | None = None,
) -> np.ndarray:
    """Spoiled copies of raw inputs: a pure function of each sample, its id, the name, severity and seed.

    Args:
        raw: Images ``[examples, height, width, channels]`` in uint8, or features ``[examples, features]`` in
            floating point.
        name: One of :func:`corruptions`.
        severity: 1, 2 or 3.
        seed: Another one gives other noise and other shifts.
        ids: Which sample each row is, so that rows can be spoiled in any order; row numbers if not given.
        deviations: The training data's standard deviation per feature: the unit of the noise on features.

    Returns:
        The same shape and dtype.

    Raises:
        DataError: If the inputs, the name or the severity are not among these, or the deviations are missing.

    References:
        Hendrycks & Dietterich, `Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations <https://arxiv.org/abs/1903.12261>`_, 2019. The kinds are theirs, the strengths ours.
    """
    _check(raw, name, severity, deviations)
    rows = np.arange(len(raw)) if ids is None else ids
    keys = _scramble(rows.astype(np.uint64) ^ _scramble(np.array([seed], dtype=np.int64).astype(np.uint64)))
    spoiled = np.empty_like(raw)
    for block in _blocks(raw):
        if deviations is not None and raw.ndim == 2:
            noise = _bell(keys[block], raw.shape[1]) * (_FEATURE_NOISE[severity - 1] * deviations)
            spoiled[block] = raw[block] + noise
        else:
            spoiled[block] = _IMAGE[name](raw[block], severity - 1, keys[block])
    return spoiled


def _noise(
    raw: UInt8[np.ndarray, "examples height width channels"], level: int, keys: np.ndarray
) -> np.ndarray:
    noise = _bell(keys, raw[0].size).reshape(raw.shape)
    return _to_bytes(raw + 255 * _IMAGE_NOISE[level] * noise)


def _blur(
    raw: UInt8[np.ndarray, "examples height width channels"], level: int, keys: np.ndarray
) -> np.ndarray:
    sigma = (level + 1) * max(0.4, 0.01 * min(raw.shape[1:3]))  # pixels
    return _to_bytes(ndimage.gaussian_filter(raw.astype(np.float32), (0, sigma, sigma, 0), mode="nearest"))


def _contrast(
    raw: UInt8[np.ndarray, "examples height width channels"], level: int, keys: np.ndarray
) -> np.ndarray:
    mean = raw.mean(axis=(1, 2), keepdims=True)
    return _to_bytes(mean + _CONTRAST[level] * (raw - mean))


def _shift(
    raw: UInt8[np.ndarray, "examples height width channels"], level: int, keys: np.ndarray
) -> np.ndarray:
    height, width = raw.shape[1:3]
    pixels = max(level + 1, round(0.05 * (level + 1) * min(height, width)))
    moves = _SIDES[_scramble(keys) % np.uint64(len(_SIDES))] * pixels
    down = np.clip(np.arange(height) - moves[:, :1], 0, height - 1)  # the border is repeated
    right = np.clip(np.arange(width) - moves[:, 1:], 0, width - 1)
    return np.asarray(raw[np.arange(len(raw))[:, None, None], down[:, :, None], right[:, None, :]])


_IMAGE: Final[Mapping[str, Callable[[np.ndarray, int, np.ndarray], np.ndarray]]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "shift": _shift,
}


def _bell(keys: np.ndarray, numbers: int) -> Float[np.ndarray, "examples numbers"]:
    """Bell-shaped numbers of mean 0 and deviation 1: sums of four uniform ones, exact on every machine."""
    counters = np.arange(1, numbers + 1, dtype=np.uint64) * _GOLDEN
    quarters = _scramble(keys[:, None] + counters).view(np.uint16).reshape(len(keys), numbers, 4)
    total = quarters.sum(axis=2, dtype=np.int64) + 2
    return np.asarray((total / 65536 - 2) * 3**0.5)


def _scramble(numbers: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64, with wrap-around."""
    mixed = numbers + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _to_bytes(values: np.ndarray) -> UInt8[np.ndarray, "examples height width channels"]:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _blocks(raw: np.ndarray) -> Iterator[slice]:
    rows = max(1, _BLOCK_NUMBERS // max(1, raw[:1].size))
    return (slice(start, start + rows) for start in range(0, len(raw), rows))


def _check(raw: np.ndarray, name: str, severity: int, deviations: np.ndarray | None) -> None:
    image = raw.ndim == 4 and raw.dtype == np.uint8
    if not image and not (raw.ndim == 2 and np.issubdtype(raw.dtype, np.floating)):
        raise DataError(
            "raw inputs must be uint8 images [examples, height, width, channels] or floating-point features "
            f"[examples, features] to be spoiled, got {raw.dtype} {raw.shape}."
        )
    names = corruptions("image" if image else "features")
    if name not in names:
        raise DataError(
            f"there is no corruption {name!r} for such inputs.{nearest(name, names)} "
            f"Known: {', '.join(names)}."
        )
    if severity not in SEVERITIES:
        raise DataError(f"severity must be 1, 2 or 3, got {severity}.")
    if not image and deviations is None:
        raise DataError("noise on features is in units of the training data's deviations; pass deviations=.")
