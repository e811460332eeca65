"""The one task that every arm does: data, models, order of the samples, views, loss, optimizer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from jaxtyping import Bool, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from limbeck.data import Augmentation, Preprocessing, Source, Stream
from limbeck.data.counter import below, hashed
from limbeck.data.fashion_mnist import fashion_mnist
from limbeck.methods import Method, parse
from limbeck.models import Architecture, Residual, Separable
from limbeck.recipe import SGD, Cosine, Execution, Plan, Training
from limbeck.training.randomness import drawing

BATCH_EXAMPLES: Final = 128
EPOCH_EXAMPLES: Final = 60_000
EPOCHS: Final = 10
TEMPERATURE: Final = 4.0
TEACHER_SHARE: Final = 0.9
FIXED_VIEWS: Final = 4
VIEW_SEED: Final = 0
AUGMENTATION: Final = Augmentation(shift=2, flip=True)
OPTIMIZER: Final = SGD(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=0.0)
PLAIN: Final = Execution(precision="fp32", layout="contiguous", threads=1)
"""What torch does when nobody chooses."""

View = Literal["clean", "same"]
StudentName = Literal["cnn", "separable"]
Framework = Literal["limbeck", "torchdistill", "torchdistill-1.1.4", "plain"]

TEACHERS: Final[dict[tuple[StudentName, int], Architecture]] = {
    ("cnn", 2): Residual(width=16, depth=4),
    ("cnn", 6): Residual(width=32, depth=3),
    ("cnn", 20): Residual(width=64, depth=3),
    ("separable", 6): Residual(width=32, depth=1, stem_stride=2),
}
"""By about how many times a forward pass costs that student's, both in fp32 and torch's default layout."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of doing the task."""

    name: str
    framework: Framework
    ratio: int
    view: View = "clean"
    student: StudentName = "cnn"
    execution: Execution | None = None
    """Number format and layout; ``None``: the plan's for Limbeck, torch's defaults for the others."""
    workers: int = 0
    """Processes that prepare samples, in torchdistill."""
    plan: Plan | None = None
    """Limbeck's, once it is measured."""
    teacher: Path | None = None
    """Weights of its teacher; none: random ones."""
    stored: bool = True
    """Whether Limbeck asks its teacher once; otherwise it asks about every view, as the others do."""


@dataclass(frozen=True, slots=True)
class Task:
    """The data of the task."""

    train: Source
    test: Source
    preprocessing: Preprocessing

    @classmethod
    def fashion_mnist(cls, examples: int | None = None) -> Task:
        """Fashion-MNIST: all of its training samples, or the first ``examples``."""
        train, test = fashion_mnist()
        preprocessing = Preprocessing().fitted(train)
        part: Source = train if examples is None else train.subset(torch.arange(examples))
        return cls(part, test, preprocessing)

    @property
    def shape(self) -> tuple[int, ...]:
        """One model input."""
        return self.preprocessing.shape(self.train.shape)

    @property
    def classes(self) -> int:
        """Logits."""
        return len(self.train.classes)

    def student(self, name: StudentName, seed: int = 0) -> nn.Module:
        """A student with the weights that Limbeck's own training would start from."""
        with drawing(seed):
            return self.untrained(name)

    def untrained(self, name: StudentName) -> nn.Module:
        """A student with weights from torch's generator."""
        if name == "separable":  # the demo's, for which bf16 gains nothing
            return Separable().build(self.shape, self.classes)
        return _small_cnn(self.shape[0], self.classes)

    def teacher(self, arm: Arm) -> nn.Module:
        """An arm's teacher in eval mode."""
        with drawing(0):
            module = TEACHERS[arm.student, arm.ratio].build(self.shape, self.classes).eval()
        if arm.teacher is not None:
            module.load_state_dict(load_file(arm.teacher))
        return module

    def stream(self, view: View, seed: int = 0) -> Stream:
        """The batches, which are the same in every arm."""
        return Stream(
            self.train, self.preprocessing, batch_examples=BATCH_EXAMPLES, seed=seed,
            augmentation=AUGMENTATION if view == "same" else None, view_seed=VIEW_SEED, views=FIXED_VIEWS,
        )  # fmt: skip

    def orders(self, steps: int, seed: int = 0) -> list[Tensor]:
        """Which rows each of the first ``steps`` batches of :meth:`stream` holds."""
        stream, by_id = self.stream("clean", seed), torch.argsort(self.train.ids)
        sorted_ids = self.train.ids[by_id]
        return [by_id[torch.searchsorted(sorted_ids, stream.batch(number).ids)] for number in range(steps)]


def method() -> Method:
    """Hinton's distillation with a tenth of the labels' cross-entropy."""
    return parse(
        {"kd": {"temperature": TEMPERATURE, "weight": TEACHER_SHARE}, "ce": {"weight": 1 - TEACHER_SHARE}}
    )


def training(steps: int) -> Training:
    """Limbeck's settings of the task."""
    return Training(steps=steps, batch_examples=BATCH_EXAMPLES, optimizer=OPTIMIZER, schedule=Cosine())


def moves(
    ids: Int[Tensor, " samples"], view: int
) -> tuple[Int[Tensor, "samples 2"], Bool[Tensor, " samples"]]:
    """How far each sample is shifted (down, right) in a view, and whether it is then mirrored.

    For arms that transform one sample at a time; they see what Limbeck's batched views show.
    """
    bits = hashed(VIEW_SEED, torch.full_like(ids, view), ids, draws=5)
    shift = AUGMENTATION.shift
    return below(bits[:, :2], 2 * shift + 1) - shift, (bits[:, 2] & 1).bool()


def _small_cnn(channels: int, classes: int) -> nn.Module:
    """Three blocks of convolution, normalisation, ReLU and pooling: 94,000 parameters for one grey channel."""
    sizes = (channels, 32, 64, 128)
    blocks = [
        part
        for before, after in itertools.pairwise(sizes)
        for part in (
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)
        )
    ]  # fmt: skip
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1], classes))
