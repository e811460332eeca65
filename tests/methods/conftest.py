"""Every method of the table on two small nets, so that what all of them keep to can be tested alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.data import Preprocessing, Stream
from limbeck.data.arrays import Arrays
from limbeck.methods import METHODS, Method, Traced, parts, total
from limbeck.models import Architecture, Residual, ViT
from limbeck.recipe import Execution, Training
from limbeck.taps import layers, tap
from limbeck.teachers import LiveTeacher
from limbeck.training import Step, TrainState, start, train
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, Pool

CLASSES, SIDE, EXAMPLES = 6, 8, 8

CONVOLUTIONAL = {
    "student": Residual(width=4, depth=1, stages=2),
    "teacher": Residual(width=8, depth=1, stages=2),
}
TRANSFORMER = {"student": ViT(width=16, depth=1, patch=4), "teacher": ViT(width=32, depth=2, patch=4)}
ATTENTIVE = ("attention-scores",)
"""Methods that read attention, which only the transformers have."""


class Together(nn.Module):
    """Two nets that answer as one; what each says can be read, as of the members of an ensemble."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        for number, member in enumerate(members):
            self.add_module(f"member:{number}", member)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([member(inputs) for member in self.children()]).mean(0)


class Several(Architecture):
    """The family of a teacher that is two nets."""

    kind: str = "several"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return Together([CONVOLUTIONAL["teacher"].build(shape, classes) for _ in range(2)])


class Tagger(Architecture):
    """A net that answers in every column of an image."""

    kind: str = "tagger"
    width: int = 6

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(1, 2),  # of its one channel: [batch, height, width]
            nn.Conv1d(shape[1], self.width, 3, padding=1), nn.ReLU(), nn.Conv1d(self.width, classes, 1),
            Transposed(),
        )  # fmt: skip


class Transposed(nn.Module):
    """From channels first to channels last."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.transpose(1, 2)


SEQUENCES = {"student": Tagger(), "teacher": Tagger(width=12)}
SEVERAL = {**CONVOLUTIONAL, "teacher": Several()}
ENSEMBLED = ("confident-teachers",)
"""Methods that compare with each member of an ensemble."""


def families(method: Method) -> Mapping[str, Architecture]:
    """The student's and the teacher's family for a method."""
    if method.reads.sequences:
        return SEQUENCES
    kinds = {part.kind for part in parts(method)}
    if kinds & set(ENSEMBLED):
        return SEVERAL
    return TRANSFORMER if kinds & set(ATTENTIVE) else CONVOLUTIONAL


def net(model: Architecture, seed: int) -> nn.Module:
    """A net in double precision and eval mode, with random normalisation so that every layer matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = model.build((1, SIDE, SIDE), CLASSES)
        for parameter in module.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 0.5, 0.3)
    return module.double().eval()


def samples(count: int = EXAMPLES) -> Batch:
    """A batch of which every second sample has a label."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    labels = torch.arange(count) % CLASSES
    labels[1::2] = ABSENT
    return Batch(torch.arange(count) + 100, images, labels, torch.full((count,), CLEAN))


def spoken(batch: Batch) -> Batch:
    """The same samples as utterances: some tokens come twice, every third is short."""
    tokens = (batch.labels[:, None] + torch.arange(3)) % (CLASSES - 1) + 1
    tokens[:, 1] = tokens[:, 0]
    tokens[::4, 2] = ABSENT
    tokens[batch.labels == ABSENT] = ABSENT
    mask = torch.arange(SIDE) < (SIDE - 2 * (batch.ids % 3 == 0).long())[:, None]
    return replace(batch, labels=tokens, mask=mask)


@dataclass
class Spoken:
    """A stream of utterances."""

    stream: Stream

    def batch(self, number: int) -> Batch:
        return spoken(self.stream.batch(number))

    def clean(self, batch: Batch) -> Batch:
        return replace(batch, inputs=self.stream.clean(replace(batch, labels=batch.ids, mask=None)).inputs)

    @property
    def pool(self) -> Pool:
        return self.stream.pool


@dataclass
class Case:
    """One method, bound to two nets, with its state."""

    method: Method
    student: nn.Module
    teacher: nn.Module
    batch: Batch
    state: nn.Module | None

    def answers(self, batch: Batch | None = None) -> tuple[Outputs, Outputs | None]:
        """What the two sides say, the student's with its graph and the teacher's with one that must not be used."""
        inputs = (batch or self.batch).inputs
        reads = self.method.reads
        student = asked(self.student, inputs, reads.student_taps)
        return student, asked(self.teacher, inputs, reads.teacher_taps) if reads.teacher else None

    def loss(self, batch: Batch | None = None) -> Tensor:
        """One number for a batch."""
        given = batch or self.batch
        student, teacher = self.answers(given)
        divisors = {name: weights.sum() for name, weights in self.method.weights(teacher, given).items()}
        return total(self.method.loss(student, teacher, given, self.state), divisors)

    def gradient(self, loss: Tensor) -> dict[str, Tensor]:
        """The gradient of a loss for each of the student's parameters."""
        named = {name: each for name, each in self.student.named_parameters() if each.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        return {name: torch.zeros_like(each) if grad is None else grad
                for (name, each), grad in zip(named.items(), found, strict=True)}  # fmt: skip


def asked(model: nn.Module, inputs: Tensor, taps: tuple[str, ...]) -> Outputs:
    """A model's answers, with what makes it answer again."""
    with tap(model, taps) as features:
        logits = model(inputs)
    return Outputs(logits, dict(features), ask=lambda other: asked(model, other, taps))


def make(method: Method, *, count: int = EXAMPLES, pool: int = 64) -> Case:
    """A method ready to compute its loss."""
    models = families(method)
    student, teacher, batch = net(models["student"], 1), net(models["teacher"], 2), samples(count)
    batch = spoken(batch) if method.reads.sequences else batch
    bound = method.bind(layers(student, batch.inputs), layers(teacher, batch.inputs))
    reads = bound.reads
    ids = torch.arange(pool) + 100
    traced = Traced(
        batch=batch,
        student=asked(student, batch.inputs, reads.student_taps),
        teacher=asked(teacher, batch.inputs, reads.teacher_taps) if reads.teacher else None,
        student_model=student,
        teacher_model=teacher if reads.teacher else None,
        steps=10,
        pool=Pool(ids, torch.where(ids % 2 == 0, (ids - 100) % CLASSES, ABSENT)),
        fresh=lambda: net(models["student"], 3),
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        state = bound.init(traced)
    return Case(bound, student, teacher, batch, None if state is None else state.double())


@pytest.fixture
def case() -> Callable[..., Case]:
    """Makes a :class:`Case` from a method, or from a method's name and hyperparameters."""

    def made(method: Method | str, **options: Any) -> Case:
        fields: Mapping[str, Any] = options.pop("fields", {})
        return make(METHODS[method](**fields) if isinstance(method, str) else method, **options)

    return made


@dataclass
class Run:
    """A short training on random images."""

    stream: Stream
    training: Training
    teachers: dict[str, LiveTeacher] = field(default_factory=dict)

    def start(self, method: Method, *, seed: int = 0, **changes: Any) -> TrainState:
        """A training before its first step."""
        student = families(method)["student"]
        return start(
            lambda: student.build((1, SIDE, SIDE), CLASSES), method, self.teacher(method), self.given(method),
            training=self.training.model_copy(update=changes), execution=Execution(), seed=seed,
        )  # fmt: skip

    def given(self, method: Method) -> Stream | Spoken:
        """The batches that a method is given."""
        return Spoken(self.stream) if method.reads.sequences else self.stream

    def teacher(self, method: Method) -> LiveTeacher:
        """The teacher that a method is given; the same one each time."""
        module = net(families(method)["teacher"], 2).float()
        return self.teachers.setdefault(
            method.kind,
            LiveTeacher(module, classes=CLASSES, shape=(1, SIDE, SIDE), sequences=method.reads.sequences),
        )

    def go(self, state: TrainState, *, steps: int = 3) -> list[Step]:
        """So many steps further."""
        taken = []
        for step in train(state, self.given(state.method), self.teacher(state.method), execution=Execution()):
            taken.append(step)
            if len(taken) == steps:
                break
        return taken


@pytest.fixture
def run() -> Run:
    """Trains any method for a few steps."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (48, SIDE, SIDE, 1), generator=generator, dtype=torch.uint8)
    labels = torch.arange(48) % CLASSES
    labels[::3] = ABSENT
    source = Arrays(images, labels, classes=tuple("abcdef"), name="random")
    preprocessing = Preprocessing().fitted(source)
    stream = Stream(source, preprocessing, batch_examples=16, seed=3)
    return Run(stream, Training(steps=6, batch_examples=16))
