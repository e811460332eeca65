"""What all rows of the scoreboard share: data, pairs of models, budget, and one training from start to end."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import nn

from limbeck.data import Augmentation, FashionMNIST, Preprocessing, Splits, Stream, load
from limbeck.files import cache_home, write_with
from limbeck.methods import CE, Method
from limbeck.models import Architecture, Residual, Separable, ViT
from limbeck.pipeline.predict import logits_of
from limbeck.recipe import SGD, AdamW, Execution, OneCycle, Training
from limbeck.teachers import LiveTeacher
from limbeck.training import start, train
from limbeck.training.randomness import drawing
from limbeck.types import digest

LABELS: Final = 5000
STEPS: Final = 400
BATCH_EXAMPLES: Final = 64
TEACHER_BATCH_EXAMPLES: Final = 128
EXECUTION: Final = Execution(precision="bf16", layout="channels_last", threads=1)
EXACT: Final = Execution(threads=1)
AUGMENTATION: Final = Augmentation(shift=2, flip=True)

_CNN_OPTIMIZER: Final = SGD(learning_rate=0.1)
_VIT_OPTIMIZER: Final = AdamW(learning_rate=4e-3, weight_decay=0.05)


@dataclass(frozen=True, slots=True)
class PairOfModels:
    """A teacher and a student."""

    teacher: Architecture
    teacher_steps: int
    student: Architecture


_CNN_TEACHER: Final = Residual(width=32, depth=1, stem_stride=2)
_VIT_TEACHER: Final = ViT(width=64, depth=4, patch=4)
_CNN_STUDENT: Final = Separable(width=16, depth=1)
_VIT_STUDENT: Final = ViT(width=32, depth=3, patch=4)

PAIRS: Final = {
    "cnn-cnn": PairOfModels(_CNN_TEACHER, 3000, _CNN_STUDENT),
    "cnn-vit": PairOfModels(_CNN_TEACHER, 3000, _VIT_STUDENT),
    "vit-cnn": PairOfModels(_VIT_TEACHER, 8000, _CNN_STUDENT),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one training reached."""

    validation: float
    right: np.ndarray
    """Whether the student is right about each test sample."""
    seconds_per_epoch: float
    """CPU seconds for as many samples as have a label."""
    peak_mb: float
    """Resident memory of the process while it trained, teacher and data included."""


class Bench:
    """The data, read once a process."""

    def __init__(self) -> None:
        config = FashionMNIST(validation=5000, labelled=LABELS)
        self.splits: Splits = load(config, Preprocessing())
        self.preprocessing = Preprocessing().fitted(self.splits.train)
        self.shape = self.preprocessing.shape(self.splits.train.shape)
        self.classes = len(self.splits.train.classes)

    def build(self, model: Architecture) -> nn.Module:
        """A new module with random weights."""
        return model.build(self.shape, self.classes)

    def stream(self, *, seed: int, everything: bool = False) -> Stream:
        """Batches of the labelled samples alone, or of the whole pool for a teacher."""
        train_part = self.splits.train
        source = train_part if everything else train_part.subset(self.splits.labelled)
        batch = TEACHER_BATCH_EXAMPLES if everything else BATCH_EXAMPLES
        return Stream(source, self.preprocessing, batch_examples=batch, seed=seed, augmentation=AUGMENTATION)

    def teacher(self, pair: PairOfModels, *, untrained: bool = False) -> LiveTeacher:
        """The pair's teacher: trained on all labels once, and kept in the cache; or with random weights."""
        with drawing(0):
            module = self.build(pair.teacher)
        if not untrained:
            module.load_state_dict(load_file(_trained_teacher(self, pair)))
        return LiveTeacher(module, classes=self.classes, shape=self.shape, layout=torch.channels_last)

    def accuracy(self, module: nn.Module) -> float:
        """Share of the validation samples that a module is right about."""
        answers = logits_of(module.eval(), self.splits.validation, self.preprocessing, EXACT)
        return float((answers.argmax(1) == self.splits.validation.labels).double().mean())


def training_of(model: Architecture, steps: int, batch_examples: int) -> Training:
    """The same for every method: only the optimizer follows the family of the student."""
    optimizer = _VIT_OPTIMIZER if isinstance(model, ViT) else _CNN_OPTIMIZER
    return Training(
        steps=steps, batch_examples=batch_examples, optimizer=optimizer, schedule=OneCycle(), clip=5.0
    )


def fit(bench: Bench, pair: PairOfModels, method: Method, *, seed: int, untrained: bool = False) -> Outcome:
    """Train a student of a pair by a method, and ask it about the test samples.

    The teacher sees what the student sees. The weights of the last step count, so that no row is chosen on
    validation data more often than another.
    """
    torch.set_num_threads(1)
    teacher = bench.teacher(pair, untrained=untrained)
    stream = bench.stream(seed=seed)
    training = training_of(pair.student, STEPS, BATCH_EXAMPLES)
    return followed(bench, pair, method, teacher, stream, training, seed=seed, epoch_examples=LABELS)


def followed(
    bench: Bench, pair: PairOfModels, method: Method, teacher: LiveTeacher, stream: Stream, training: Training,
    *, seed: int, epoch_examples: int,
) -> Outcome:  # fmt: skip
    """Train a student, watch time and memory, and ask it about the validation and test samples."""
    forget_peak()
    state = start(
        lambda: bench.build(pair.student), method, teacher, stream,
        training=training, execution=EXECUTION, seed=seed, teacher_view="same",
    )  # fmt: skip
    began = time.process_time()
    for _ in train(state, stream, teacher, execution=EXECUTION, teacher_view="same"):
        pass
    spent, peak = time.process_time() - began, peak_mb()
    shipped = state.method.deploy(state.student, state.connectors).eval()
    test = bench.splits.test
    right = (logits_of(shipped, test, bench.preprocessing, EXACT).argmax(1) == test.labels).numpy()
    return Outcome(
        validation=bench.accuracy(shipped),
        right=right,
        seconds_per_epoch=spent * epoch_examples / (training.steps * training.batch_examples),
        peak_mb=peak,
    )


def forget_peak() -> None:
    """Start the kernel's count of the most resident memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    """The most resident memory since then."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


def setting(pair: str) -> dict[str, Any]:
    """The protocol of one pair as plain data, for the record and the keys of its shards."""
    models = PAIRS[pair]
    return {
        "labels": LABELS,
        "steps": STEPS,
        "batch_examples": BATCH_EXAMPLES,
        "teacher_labels": "all 55,000",
        "teacher_view": "same",
        "augmentation": AUGMENTATION.model_dump(mode="json"),
        "execution": EXECUTION.model_dump(mode="json", exclude_unset=True),
        "teacher": models.teacher.model_dump(mode="json"),
        "teacher_training": _teacher_training(models).model_dump(mode="json"),
        "student": models.student.model_dump(mode="json"),
        "student_training": training_of(models.student, STEPS, BATCH_EXAMPLES).model_dump(mode="json"),
    }


def _teacher_training(pair: PairOfModels) -> Training:
    return training_of(pair.teacher, pair.teacher_steps, TEACHER_BATCH_EXAMPLES)


def _trained_teacher(bench: Bench, pair: PairOfModels) -> Path:
    """Where the weights of a trained teacher lie; trains it where nobody has, while others wait."""
    training = _teacher_training(pair)
    key = digest([pair.teacher.model_dump(mode="json"), training.model_dump(mode="json"), torch.__version__])
    path = cache_home() / "scoreboard" / f"{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            _train_teacher(bench, pair, training, path)
    return path


def _train_teacher(bench: Bench, pair: PairOfModels, training: Training, path: Path) -> None:
    stream = bench.stream(seed=0, everything=True)
    state = start(
        lambda: bench.build(pair.teacher), CE(), None, stream,
        training=training, execution=EXECUTION, seed=0,
    )  # fmt: skip
    for _ in train(state, stream, None, execution=EXECUTION):
        pass
    weights = {name: value.contiguous() for name, value in state.student.state_dict().items()}
    write_with(path, lambda beside: save_file(weights, beside))
