"""What Limbeck's label stage costs beside a plain loop: the same teacher, the same images, the answers on disk.

The plain loop is what one writes without Limbeck: eager fp32 without gradients, 128 images at once, normalised in
batches, the answers in one file. The label stage does all that it does in a run: it checks its way of asking on a
sample, and writes a checksummed store. Both on one thread, taking turns in a random order.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from benchmarks.form import ratio, write
from limbeck.files import read_json
from limbeck.models import count_parameters
from limbeck.pipeline.arms import TEACHER
from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.label import ask
from limbeck.pipeline.planning import described
from limbeck.pipeline.run import events
from limbeck.recipe import Recipe
from limbeck.recipe import load as load_recipe
from limbeck.teachers.store.format import targets_home
from limbeck.training import measure_plan

REPETITIONS: Final = 5
LOOP_EXAMPLES: Final = 128
SAMPLES: Final = 16_000
TEACHERS: Final = {
    "cnn": "{kind: residual, width: 32, depth: 2, stem_stride: 2}",
    "encoder": "{kind: vit, width: 64, depth: 4, patch: 4}",
}
RECIPE: Final = """\
name: labelling
data: {{kind: fashion-mnist, validation: 500, labelled: 100, limit: {samples}}}
teacher:
  model: {model}
  training:
    steps: 200
    batch_examples: 128
    optimizer: {{kind: adamw, learning_rate: 0.002}}
    schedule: {{kind: one-cycle}}
student: {{model: {{kind: linear}}}}
export: {{formats: []}}
evaluation: {{robustness: false}}
"""
SPENT = dict[str, list[dict[str, float]]]


def main() -> None:
    """Measure and write ``results/labelling.json``."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for name, model in TEACHERS.items():
        with TemporaryDirectory() as folder:
            os.environ["LIMBECK_CACHE"] = str(Path(folder) / "cache")
            context = _ready(model, Path(folder) / "run")
            spent = _measured(context)
            asked = read_json(context.folder.targets(TEACHER))
            figures |= _figures(name, spent)
            facts[name] = _facts(context, spent, asked)
    setting = {"samples": SAMPLES, "threads": 1, "plain_loop_batch_examples": LOOP_EXAMPLES}
    print(write("labelling", figures, teachers=facts, setting=setting).read_text())


def _ready(model: str, folder: Path) -> Context:
    """A run whose teacher is trained, on a plan that was measured for one thread."""
    recipe = load_recipe(RECIPE.format(model=model, samples=SAMPLES + 500))
    planned = recipe.model_copy(update={"plan": _plan(recipe)})
    for event in events(planned, folder, until="teacher"):
        del event
    context = Context.reopened(RunFolder(folder))
    _ = context.splits, context.teacher_module
    return context


def _plan(recipe: Recipe) -> Any:
    shape, classes = (1, 28, 28), 10
    measured = measure_plan(
        lambda: recipe.student.model.build(shape, classes),
        lambda: recipe.teacher.model.build(shape, classes),
        shape,
        classes,
        batch_examples=128,
        cores=1,
    )
    return measured.plan


def _measured(context: Context) -> SPENT:
    arms: dict[str, Callable[[], None]] = {
        "plain": lambda: _plain_loop(context),
        "labelling": lambda: _label_stage(context),
    }
    found: SPENT = {name: [] for name in arms}
    order = random.Random(0)  # noqa: S311
    for repetition in range(REPETITIONS + 1):
        for name in order.sample(sorted(arms), len(arms)):
            spent = _spent(arms[name])
            if repetition:  # the first warms up
                found[name].append(spent)
    return found


def _plain_loop(context: Context) -> None:
    """Preprocessing and all, as one writes it."""
    model, train = context.teacher_module.eval(), context.splits.train
    images = train.raw(torch.arange(len(train)))
    mean, deviation = (torch.tensor(part) for part in _normalisation(context))
    answers = []
    with torch.no_grad():
        for batch in images.split(LOOP_EXAMPLES):
            inputs = (batch.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
            answers.append(model(inputs))
    torch.save(torch.cat(answers), context.folder.path / "answers.pt")


def _normalisation(context: Context) -> tuple[float, float]:
    """What makes the plain loop's inputs those of the run."""
    first = torch.arange(2)
    raw = context.splits.train.raw(first).permute(0, 3, 1, 2).float() / 255
    inputs = context.preprocessing.apply(context.splits.train.raw(first))
    deviation = float((raw.max() - raw.min()) / (inputs.max() - inputs.min()))
    return float(raw.max() - inputs.max() * deviation), deviation


def _label_stage(context: Context) -> None:
    shutil.rmtree(targets_home(None), ignore_errors=True)
    for event in ask(context, TEACHER, stage="label"):
        del event


def _spent(work: Callable[[], None]) -> dict[str, float]:
    """CPU and wall seconds, and by how many megabytes the resident memory rose at most."""
    before = _fresh_memory()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {**spent, "peak_mb": (_status("VmHWM") - before) / 1e3}


def _fresh_memory() -> int:
    """Give back what is free, begin a new peak (Linux), and return what is resident, in kilobytes."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def _figures(name: str, spent: SPENT) -> dict[str, Any]:
    def over(what: str) -> dict[str, Any]:
        both = ([one[what] for one in spent[arm]] for arm in ("plain", "labelling"))
        return ratio(*both, better="higher")

    return {f"eager_over_labelling_{name}": over("cpu"), f"eager_over_labelling_{name}_wall": over("wall")}


def _facts(context: Context, spent: SPENT, asked: dict[str, Any]) -> dict[str, Any]:
    medians = {
        arm: {what: round(median(one[what] for one in ones), 3) for what in ones[0]}
        for arm, ones in spent.items()
    }
    teacher = read_json(context.folder.path / "teacher.json")
    return {
        "model": context.recipe.teacher.model.model_dump(mode="json"),
        "parameters": count_parameters(context.teacher_module),
        "accuracy": teacher["validation"],
        "plan": described(context.plan),
        "check": asked["check"],
        "refused": asked["refused"],
        "store_bytes": asked["bytes"],
        "medians": medians,
    }


if __name__ == "__main__":
    main()
