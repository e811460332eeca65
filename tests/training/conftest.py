"""A pool of random images and of random rows, small nets, and a teacher that only looks its answers up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.data.arrays import Arrays
from limbeck.data.preprocessing import Preprocessing
from limbeck.data.stream import Stream
from limbeck.data.views import Augmentation
from limbeck.methods.base import Method
from limbeck.methods.ce import CE
from limbeck.methods.kd import KD
from limbeck.recipe.plan import Execution
from limbeck.recipe.training import Training
from limbeck.training.loop import Step, train
from limbeck.training.state import TrainState, start
from limbeck.types import Batch, Offer, Outputs, Teacher

FEATURES, CLASSES = 6, 3


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, CLASSES))


def plain_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


class Columns(nn.Module):
    """Answers each row by itself, so that its answers are the same bits in every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, :CLASSES] * self.weight


@dataclass
class Live:
    """Answers with a module."""

    model: nn.Module
    asked: list[Batch] = field(default_factory=list)
    digest: str = "live"
    reads_inputs: bool = True
    classes: int = CLASSES

    @property
    def offer(self) -> Offer:
        return Offer(self.classes, reads_inputs=self.reads_inputs)

    def __call__(self, batch: Batch) -> Outputs:
        self.asked.append(batch)
        return Outputs(self.model.eval()(batch.inputs))


@dataclass
class LookedUp:
    """Answers by id alone, with what another teacher answered before."""

    answers: dict[int, Tensor]
    digest: str = "looked up"
    offer: Offer = field(default_factory=lambda: Offer(CLASSES, reads_inputs=False))

    def __call__(self, batch: Batch) -> Outputs:
        return Outputs(torch.stack([self.answers[int(each)] for each in batch.ids]))


def pool(*, images: bool = False, absent: int = 0) -> Arrays:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(40) % CLASSES
    labels[:absent] = -1
    shape = (40, 2, 5, 5) if images else (40, FEATURES)
    names = tuple("abc")
    return Arrays(torch.randn(shape, generator=generator), labels, classes=names, name="pool")


def batches(*, images: bool = False, size: int = 12, absent: int = 0, augmented: bool = False) -> Stream:
    source = pool(images=images, absent=absent)
    preprocessing = Preprocessing(kind="features").fitted(source)
    augmentation = Augmentation(shift=1, flip=True) if augmented else None
    return Stream(source, preprocessing, batch_examples=size, seed=3, augmentation=augmentation)


def looked_up(teacher: Live, stream: Stream) -> LookedUp:
    """Store what ``teacher`` answers to clean samples."""
    answers = {}
    for number in range(8):
        batch = stream.clean(stream.batch(number))
        with torch.no_grad():
            logits = teacher(batch).logits
        answers |= dict(zip(batch.ids.tolist(), logits, strict=True))
    return LookedUp(answers)


@dataclass
class Bench:
    """What the tests of this folder build their trainings from."""

    execution: Execution = field(default_factory=Execution)
    method: Method = field(default_factory=lambda: KD(temperature=2.0) + 0.5 * CE())
    mlp: Callable[[], nn.Module] = mlp
    plain_mlp: Callable[[], nn.Module] = plain_mlp
    cnn: Callable[[], nn.Module] = cnn
    batches: Callable[..., Stream] = batches
    looked_up: Callable[[Live, Stream], LookedUp] = looked_up
    live: Callable[..., Live] = Live

    @property
    def row_teacher(self) -> Live:
        return Live(Columns())

    @property
    def teacher(self) -> Live:
        with torch.random.fork_rng():
            torch.manual_seed(11)
            return Live(plain_mlp())

    @property
    def image_teacher(self) -> Live:
        with torch.random.fork_rng():
            torch.manual_seed(12)
            return Live(nn.Sequential(nn.Flatten(), nn.Linear(50, CLASSES)))

    def start(
        self,
        factory: Callable[[], nn.Module],
        teacher: Teacher | None,
        stream: Stream,
        *,
        method: Method | None = None,
        execution: Execution | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> TrainState:
        training = Training(**({"steps": 6, "batch_examples": stream.batch_examples} | settings))
        chosen, used = method or self.method, execution or self.execution
        return start(factory, chosen, teacher, stream, training=training, execution=used, seed=seed)

    def run(
        self,
        state: TrainState,
        stream: Stream,
        teacher: Teacher | None,
        *,
        steps: int | None = None,
        execution: Execution | None = None,
        **options: Any,
    ) -> list[Step]:
        taken = []
        for step in train(state, stream, teacher, execution=execution or self.execution, **options):
            taken.append(step)
            if step.number == steps:
                break
        return taken


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _image_net() -> nn.Sequential:
    """Two convolutions with BatchNorm, which has seen something; for images [2, 6, 6]."""
    with torch.random.fork_rng():
        torch.manual_seed(13)
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(8, CLASSES),
        )
        for _ in range(5):
            net(torch.randn(16, 2, 6, 6) * 2 + 1)
    return net


@pytest.fixture
def image_net() -> Callable[[], nn.Sequential]:
    return _image_net


@pytest.fixture
def learned() -> nn.Sequential:
    """The same net, after it has learned to tell three noisy patterns apart."""
    net = _image_net()
    with torch.random.fork_rng():
        torch.manual_seed(14)
        patterns = torch.randn(CLASSES, 2, 6, 6)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(60):
            labels = torch.randint(CLASSES, (32,))
            images = patterns[labels] + 0.3 * torch.randn(32, 2, 6, 6)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    return net
