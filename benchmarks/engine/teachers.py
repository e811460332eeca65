"""The teachers, trained once on all labels: how sure they are decides how often Limbeck asks one twice."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.engine.task import AUGMENTATION, BATCH_EXAMPLES, TEACHERS, Arm, Task
from limbeck.data import Stream
from limbeck.files import cache_home, write_with
from limbeck.methods import CE
from limbeck.recipe import SGD, OneCycle, Training
from limbeck.training import measure_plan, start, train
from limbeck.types import digest

_STEPS: Final = {2: 400, 6: 1200, 20: 400}
"""By ratio; the accuracy trainings have a better teacher than those that are only timed."""


def trained_weights(arm: Arm) -> Path:
    """Where the weights of an arm's teacher lie; trains it (minutes) where that is still to be done."""
    model, training = TEACHERS[arm.student, arm.ratio], _training(arm)
    key = digest([model.model_dump(mode="json"), training.model_dump(mode="json"), torch.__version__])
    path = cache_home() / "benchmarks" / f"{key}.safetensors"
    if not path.exists():
        weights = _trained(arm, Task.fashion_mnist())
        write_with(path, lambda beside: save_file(weights, beside))
    return path


def _training(arm: Arm) -> Training:
    return Training(
        steps=_STEPS[arm.ratio],
        batch_examples=BATCH_EXAMPLES,
        optimizer=SGD(learning_rate=0.1),
        schedule=OneCycle(),
    )


def _trained(arm: Arm, task: Task) -> dict[str, Tensor]:
    def factory() -> nn.Module:
        return TEACHERS[arm.student, arm.ratio].build(task.shape, task.classes)

    execution = measure_plan(
        factory, None, task.shape, task.classes, batch_examples=BATCH_EXAMPLES, cores=1
    ).plan.student
    stream = Stream(
        task.train, task.preprocessing, batch_examples=BATCH_EXAMPLES, seed=0, augmentation=AUGMENTATION
    )
    state = start(factory, CE(), None, stream, training=_training(arm), execution=execution, seed=0)
    for _ in train(state, stream, None, execution=execution):
        pass
    return {name: value.contiguous() for name, value in state.student.state_dict().items()}
