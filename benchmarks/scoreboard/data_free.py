"""Students that see no data: only what is made from the teacher. Their own small protocol, beside the board's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.scoreboard.protocol import (
    AUGMENTATION,
    EXECUTION,
    Bench,
    Outcome,
    PairOfModels,
    followed,
)
from limbeck.data import Arrays, Stream
from limbeck.methods import KD, Method
from limbeck.recipe import SGD, OneCycle, Training
from limbeck.teachers import LiveTeacher
from limbeck.training.inversion import Inversion, invert
from limbeck.training.made import collected, mixed, pasted
from limbeck.training.synthesis import Synthesis, synthesise

BATCH_EXAMPLES: Final = 128
METHOD: Final[Method] = KD(temperature=4)
_UNUSED: Final = {"competition_weight"}
"""Settings that change nothing here: no student is competed with."""

_FEW_STEPS: Final = 1200
_MANY_STEPS: Final = 12_000


@dataclass(frozen=True, slots=True)
class Maker:
    """How some images are made, and how many."""

    settings: Synthesis | Inversion
    samples: int


@dataclass(frozen=True, slots=True)
class Pool:
    """All images of a row, and how long its students learn from them."""

    makers: tuple[Maker, ...]
    mixtures: int
    pasted: int
    steps: int

    @property
    def training(self) -> Training:
        """Of each student."""
        return Training(
            steps=self.steps,
            batch_examples=BATCH_EXAMPLES,
            optimizer=SGD(learning_rate=0.1),
            schedule=OneCycle(),
            clip=5.0,
        )


_GENERATOR: Final = Maker(
    Synthesis(steps=600, warmup_steps=100, batch_examples=128, width=16), samples=20_000
)
_INVERSION: Final = Maker(Inversion(steps=100, batch_examples=250, flip=True), samples=1_000)

POOLS: Final = {
    "generator": Pool((_GENERATOR,), mixtures=40_000, pasted=0, steps=_FEW_STEPS),
    "inversion": Pool((_INVERSION,), mixtures=20_000, pasted=0, steps=_FEW_STEPS),
    "generator and inversion": Pool(
        (_GENERATOR, _INVERSION), mixtures=50_000, pasted=200_000, steps=_MANY_STEPS
    ),
}


def setting() -> dict[str, Any]:
    """The protocol of each row as plain data."""
    return {
        name: {
            "made_by": [
                {"samples": maker.samples, **maker.settings.model_dump(mode="json", exclude=_UNUSED)}
                for maker in pool.makers
            ],
            "mixtures": pool.mixtures,
            "pasted": pool.pasted,
            "training": pool.training.model_dump(mode="json"),
        }
        for name, pool in POOLS.items()
    }


def fit(bench: Bench, pair: PairOfModels, row: str, *, seed: int) -> tuple[Outcome, float]:
    """Train a student on images made from the teacher alone; what it reached, and the CPU seconds of making them.

    Test data are real. Validation data are looked at for the record and choose nothing.
    """
    torch.set_num_threads(1)
    teacher = bench.teacher(pair)
    began = time.process_time()
    pool = POOLS[row]
    images = _images(bench, teacher, pool, seed)
    making = time.process_time() - began
    stream = Stream(
        Arrays(images, None, classes=bench.splits.train.classes, name="made"),
        bench.preprocessing, batch_examples=BATCH_EXAMPLES, seed=seed, augmentation=AUGMENTATION,
    )  # fmt: skip
    outcome = followed(
        bench, pair, METHOD, teacher, stream, pool.training, seed=seed, epoch_examples=len(images)
    )
    return outcome, round(making, 1)


def _images(bench: Bench, teacher: LiveTeacher, pool: Pool, seed: int) -> Tensor:
    """Images as bytes."""
    inputs = torch.cat([_made(bench, teacher, maker, seed) for maker in pool.makers])
    between = mixed(inputs, pool.mixtures, seed=seed)
    return bench.preprocessing.raw(torch.cat([inputs, between, pasted(inputs, pool.pasted, seed=seed)]))


def _made(bench: Bench, teacher: LiveTeacher, maker: Maker, seed: int) -> Tensor:
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    black_and_white = bench.preprocessing.apply(ends)
    channels, height, width = bench.shape
    if isinstance(maker.settings, Synthesis):
        steps = synthesise(
            teacher, shape=(channels, height, width), classes=bench.classes, samples=maker.samples,
            settings=maker.settings, bounds=black_and_white, seed=seed, execution=EXECUTION,
        )  # fmt: skip
    else:
        steps = invert(
            teacher, shape=bench.shape, classes=bench.classes, samples=maker.samples,
            settings=maker.settings, bounds=black_and_white, seed=seed, execution=EXECUTION,
        )  # fmt: skip
    return collected(steps)[0]
