"""What a stored teacher costs a training epoch: the demo's student with its answers, and without any teacher.

Both arms see the same batches on one thread. Blocks of steps alternate in one process, each in a random order, and
the CPU seconds of neighbouring blocks are compared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.form import ratio, write
from limbeck.data import Stream, load
from limbeck.methods import CE, KD, Method
from limbeck.models import count_parameters
from limbeck.recipe import Execution, Recipe, preset
from limbeck.recipe import load as load_recipe
from limbeck.recipe.keeping import kind_of
from limbeck.teachers import LiveTeacher, StoredTeacher
from limbeck.teachers.store import Store, label, store_key
from limbeck.teachers.store.format import targets_home
from limbeck.training import Step, start, train

REPETITIONS = 31
BLOCK_STEPS = 20
FORMATS = (
    Execution(precision="fp32", layout="channels_last"),
    Execution(precision="bf16", layout="channels_last"),
)


class _Linear(nn.Module):
    """Answers that need no training: what they are does not change what reading them costs."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = self.layer(inputs.flatten(1))
        return answers


def main() -> None:
    """Measure and write ``results/stored_epoch.json``."""
    torch.set_num_threads(1)
    recipe = load_recipe(preset("fashion-mnist"))
    splits = load(recipe.data, recipe.preprocessing)
    preprocessing = recipe.preprocessing.fitted(splits.train)
    shape, classes = preprocessing.shape(splits.train.shape), len(splits.train.classes)
    stream = Stream(
        splits.train, preprocessing, batch_examples=recipe.training.batch_examples, seed=0,
        augmentation=recipe.augmentation,
    )  # fmt: skip
    figures, facts = {}, {}
    with TemporaryDirectory() as cache:
        flat = 1
        for size in shape:
            flat *= size
        teacher = LiveTeacher(_Linear(flat, classes), classes=classes, shape=shape)
        key = store_key(teacher, splits.train, preprocessing, keep=kind_of(recipe.teacher.keep))
        for _ in label(teacher, splits.train, preprocessing, key, batch_examples=512, cache=Path(cache)):
            pass
        stored = StoredTeacher(Store.open(targets_home(Path(cache)) / key.digest))
        for execution in FORMATS:
            with_teacher, without = _measured(recipe, stream, stored, execution, shape, classes)
            name = f"stored_epoch_over_plain_epoch_{execution.precision}"
            figures[name] = ratio(with_teacher, without, better="lower", goal=1.05)
            steps = len(splits.train) / recipe.training.batch_examples
            facts[f"{execution.precision}_epoch_cpu_seconds"] = {
                "stored_teacher": round(median(with_teacher) / BLOCK_STEPS * steps, 3),
                "no_teacher": round(median(without) / BLOCK_STEPS * steps, 3),
            }
    student = recipe.student.model.build(shape, classes)
    path = write(
        "stored_epoch",
        figures,
        medians=facts,
        setting={
            "student": recipe.student.model.model_dump(mode="json"),
            "parameters": count_parameters(student),
            "batch_examples": recipe.training.batch_examples,
            "steps_per_block": BLOCK_STEPS,
            "threads": 1,
            "augmentation": recipe.augmentation.model_dump(mode="json") if recipe.augmentation else None,
        },
    )
    print(path.read_text())


def _measured(
    recipe: Recipe,
    stream: Stream,
    stored: StoredTeacher,
    execution: Execution,
    shape: tuple[int, ...],
    classes: int,
) -> tuple[list[float], list[float]]:
    steps = BLOCK_STEPS * (REPETITIONS + 2)

    def arm(method: Method) -> Iterator[Step]:
        training = recipe.training.model_copy(update={"steps": steps, "labelled_share": None})
        state = start(
            lambda: recipe.student.model.build(shape, classes), method, stored, stream,
            training=training, execution=execution, seed=0,
        )  # fmt: skip
        return train(state, stream, stored, execution=execution)

    arms = {"stored": arm(KD(temperature=4)), "plain": arm(CE())}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    order = random.Random(0)  # noqa: S311
    for repetition in range(REPETITIONS + 1):
        for name in order.sample(sorted(arms), len(arms)):
            began = time.process_time()
            for _ in range(BLOCK_STEPS):
                next(arms[name])
            if repetition:  # the first block warms up
                seconds[name].append(time.process_time() - began)
    return seconds["stored"], seconds["plain"]


if __name__ == "__main__":
    main()
