"""``lb.distill``: a whole run from Python objects, with the same numbers as the command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from torch import nn

from limbeck.data import Augmentation, Parts, Preprocessing, as_source, split
from limbeck.data.config import ObjectData
from limbeck.errors import Problem, RecipeError, UserError
from limbeck.methods import CE, KD, Method
from limbeck.methods.wrapping import shared_temperature
from limbeck.models import Architecture, Together, load_student
from limbeck.pipeline.events import Event
from limbeck.pipeline.objects import Factory, Objects, described, factory
from limbeck.pipeline.run import Run, events, opened
from limbeck.recipe import (
    Assistant,
    Choice,
    Control,
    Evaluation,
    Exports,
    Gate,
    Plan,
    Recipe,
    StudentRecipe,
    TeacherRecipe,
    Training,
    Views,
)
from limbeck.recipe import load as load_recipe
from limbeck.recipe.keeping import Kept, Taps

Watch = Callable[[Iterable[Event]], object]
"""Goes through the events of a run and shows them."""

CONTROLS: tuple[Control, ...] = ("no-teacher", "pseudo-labels", "supervised", "quantised-teacher", "linear")


def distill(
    *,
    teacher: nn.Module | Architecture | str | Path | Sequence[nn.Module | str | Path],
    student: nn.Module | Factory | Architecture,
    train: Any,
    validation: Any = None,
    test: Any = None,
    classes: Sequence[str] | None = None,
    assistants: Sequence[Assistant] = (),
    method: Method | None = None,
    labelled: int | float | Literal["all"] = "all",
    out: str | Path = "runs/run",
    name: str = "run",
    preprocessing: Preprocessing | None = None,
    augmentation: Augmentation | None = None,
    training: Training | None = None,
    teacher_training: Training | None = None,
    teacher_augmentation: Augmentation | None = None,
    teacher_view: Literal["clean"] | int = "clean",
    teacher_keep: Kept = "float16",
    teacher_keep_taps: Taps | None = None,
    tuning: Sequence[Choice] = (Choice(),),
    seeds: Sequence[int] = (0, 1, 2),
    controls: Sequence[Control] = CONTROLS,
    evaluation: Evaluation | None = None,
    export: Exports | None = None,
    gate: float | None = None,
    device: Literal["cpu", "cuda", "auto"] = "cpu",
    plan: Plan | None = None,
    data_seed: int = 0,
    watch: Watch | None = None,
) -> Run:
    """Distil a student from a teacher and prove what was kept.

    Everything the command does happens here too: the control without a teacher, the exports, the report. A run
    that was stopped goes on when it is called again with the same arguments and folder.

    Args:
        teacher: A trained module, a folder with a saved one, or a family's configuration, which is trained on all
            labels first. Several modules or folders are one teacher, which answers with the mean of their
            distributions at the method's temperature (``limbeck.models.Together`` says how else).
        student: A family's configuration (``lb.shrink(teacher, width=0.25)``), a function that returns a new
            module, or a module, of which each seed trains a copy.
        train: Training samples: a pair (inputs, labels) of arrays or tensors, a map-style torch Dataset, or a
            source. uint8 images are [n, height, width, channels]; a label of -1 marks a sample without one.
        validation: The same, to choose by; by default a tenth of the training samples.
        test: The same, to measure on at the end; by default a fifth of the training samples.
        classes: Names of the classes.
        assistants: Models to distil one after another between the two: the first from the teacher, the student from
            the last. Each is a family's configuration, not a module.
        method: How answers are compared; ``KD() + CE()`` by default.
        labelled: How many training labels the student may see.
        out: The run folder.
        name: What the run is called.
        preprocessing: What raw samples become; by default images or features, standardised.
        augmentation: How the student's images are varied.
        training: The student's training, which each trained control gets too.
        teacher_training: The teacher's, where it is trained here.
        teacher_augmentation: How the teacher's training images are varied.
        teacher_view: ``clean``, or how many fixed augmented views the teacher is asked about.
        teacher_keep: What is stored of its answers: a number format for all logits, or a kind such as
            ``limbeck.teachers.store.TopKAnswers(k=32)``.
        teacher_keep_taps: Layers that are stored beside them, for methods that compare inner layers.
        tuning: Choices that student and controls each try, decided on validation data.
        seeds: One student for each.
        controls: What the student is compared with.
        evaluation: Margin, robustness, prices.
        export: Which files are written.
        gate: Least retention, at the interval's lower end.
        device: Where models are trained.
        plan: How the machine is used; measured by default.
        data_seed: Seeds the division of the data.
        watch: Shows progress; silent by default.

    Returns:
        The finished run: ``run.report`` and ``run.student.predict(raw)``.

    Raises:
        LimbeckError: With the cure in its message.
    """
    source = as_source(train, name="train", classes=classes)
    parts = Parts(
        source,
        None if validation is None else as_source(validation, name="validation", classes=source.classes),
        None if test is None else as_source(test, name="test", classes=source.classes),
    )
    data = ObjectData(name=source.name, digest=source.digest, labelled=labelled, seed=data_seed)
    module = None if isinstance(teacher, Architecture) else _module(teacher, method or KD())
    own = None if isinstance(student, Architecture) else student
    recipe = _recipe(
        name=name,
        data=data,
        preprocessing=preprocessing
        or Preprocessing(kind="features" if source.dtype.is_floating_point else "image"),
        augmentation=augmentation,
        teacher=TeacherRecipe(
            model=described(module) if module is not None else teacher,
            pretrained=module is not None,
            training=teacher_training or Training(),
            augmentation=teacher_augmentation,
            view="clean" if teacher_view == "clean" else Views(views=teacher_view),
            keep=teacher_keep,
            keep_taps=teacher_keep_taps,
        ),
        student=StudentRecipe(model=student if isinstance(student, Architecture) else described(student)),
        assistants=tuple(assistants),
        method=method or KD() + CE(),
        training=training or Training(),
        tuning=tuple(tuning),
        seeds=tuple(seeds),
        controls=tuple(controls),
        evaluation=evaluation or Evaluation(),
        export=export or Exports(),
        gate=Gate(retention=gate),
        device=device,
        plan=plan,
    )
    objects = Objects(module, own, split(parts, data))
    build = None if own is None else factory(own)
    return _watched(events(recipe, Path(out), objects=objects), watch, Path(out), build)


def run(
    recipe: str | Path | Recipe, *, out: str | Path, overrides: Sequence[str] = (), watch: Watch | None = None
) -> Run:
    """Run a recipe: the same as ``limbeck run RECIPE --out FOLDER``.

    Args:
        recipe: A YAML file, or the object.
        out: The run folder.
        overrides: Changes such as ``method.kd.temperature=2``; for a file.
        watch: Shows progress; silent by default.
    """
    whole = recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe), overrides=overrides)
    return _watched(events(whole, Path(out)), watch, Path(out), None)


def load(folder: str | Path, *, build: Factory | None = None) -> Run:
    """A finished run: its report, and its student to predict with.

    Args:
        folder: The run folder.
        build: Makes an untrained student, where it was passed to :func:`distill` as a Python object.
    """
    return opened(Path(folder), build=build)


def _watched(happening: Iterator[Event], watch: Watch | None, out: Path, build: Factory | None) -> Run:
    if watch is not None:
        watch(happening)
    for _ in happening:  # whatever was not watched
        pass
    return opened(out, build=build)


def _recipe(**fields: Any) -> Recipe:
    """A recipe from arguments, its mistakes reported as a recipe file's are."""
    try:
        return Recipe(**fields)
    except ValidationError as error:
        found = [
            Problem(".".join(str(part) for part in mistake["loc"]) or "arguments", mistake["msg"])
            for mistake in error.errors(include_url=False)
        ]
        raise RecipeError(found, source="lb.distill") from error


def _module(teacher: nn.Module | str | Path | Sequence[nn.Module | str | Path], method: Method) -> nn.Module:
    if isinstance(teacher, nn.Module):
        return teacher
    if isinstance(teacher, (list, tuple)):
        return Together(
            [_module(member, method) for member in teacher], temperature=shared_temperature(method) or 1.0
        )
    if isinstance(teacher, (str, Path)):
        return load_student(Path(teacher))
    if isinstance(teacher, Architecture):
        raise UserError(
            f"a list of teachers holds {type(teacher).__name__}, a configuration, and only a single teacher is "
            "trained here; expected trained modules and folders. Train it first, and give the module."
        )
    raise UserError(
        f"teacher must be a torch module, a folder with a saved one, a list of these, or a model configuration, got "
        f"{type(teacher).__name__}. Wrap what you have in a torch.nn.Module that returns logits."
    )
