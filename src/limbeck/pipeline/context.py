"""What every stage of a run works with: the recipe, the data, the plan, the teacher's answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.data import Augmentation, Preprocessing, Splits, Stream, load
from limbeck.errors import RunError, UserError
from limbeck.files import read_json
from limbeck.models import load_student
from limbeck.models.object import ObjectModel
from limbeck.pipeline.arms import TEACHER, Arm
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.objects import Objects, factory, identity
from limbeck.recipe import Epochs, Execution, Plan, Recipe, Training, Views
from limbeck.recipe import load as load_recipe
from limbeck.taps import refuse_uncompilable
from limbeck.teachers import StoredTeacher, outside_fold
from limbeck.teachers.store import Store
from limbeck.threads import cores, refuse_dynamic_threads
from limbeck.training.terms import TeacherView
from limbeck.types import digest


class Context:
    """A run as its stages see it. Data and answers are read when first asked for."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        objects: Objects | None = None,
        *,
        profile: bool = False,
        processes: int = 1,
    ) -> None:
        self.recipe = recipe
        self.profile = profile
        """Whether to find out where the time of each training goes; changes no result."""
        self.processes = processes
        """How many processes ask the teacher at once."""
        self.folder = folder
        self.objects = objects or Objects()
        self._identities: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._stored: dict[str, StoredTeacher] = {}

    @classmethod
    def reopened(cls, folder: RunFolder, *, profile: bool = False) -> Context:
        """The run in a folder, from its resolved recipe alone."""
        return cls(load_recipe(folder.recipe), folder, profile=profile)

    def refuse_early(self) -> None:
        """Refuse what needs no data to be known wrong."""
        refuse_dynamic_threads()
        if self.processes > cores():
            raise UserError(
                f"processes is {self.processes}, expected at most {cores()}, the cores that there are: each "
                "asks in a thread of its own and holds the teacher in memory. Ask for fewer."
            )
        plan = self.recipe.plan
        if plan is not None and any(each.compile for each in (plan.teacher, plan.label, plan.student)):
            refuse_uncompilable()
        _ = self.device

    def resolve(self) -> None:
        """Fill in what the recipe leaves to measurement, so that it can be written down."""
        fitted = self.recipe.preprocessing.fitted(self.splits.train)
        self.recipe = self.recipe.model_copy(update={"preprocessing": fitted})

    @cached_property
    def splits(self) -> Splits:
        """Training, validation and test data."""
        if self.objects.splits is not None:
            return self.objects.splits
        return load(self.recipe.data, self.recipe.preprocessing)

    @property
    def preprocessing(self) -> Preprocessing:
        """How raw samples become inputs, with everything measured."""
        return self.recipe.preprocessing

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.splits.train.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """One model input, without the batch."""
        return self.preprocessing.shape(self.splits.train.shape)

    @cached_property
    def device(self) -> torch.device:
        """Where models are trained and asked."""
        wanted = self.recipe.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        if wanted == "cuda" and not torch.cuda.is_available():
            raise UserError("device is 'cuda', but torch sees no GPU. Set device: cpu, or auto.")
        return torch.device(wanted)

    @cached_property
    def data_digest(self) -> str:
        """Changes with any sample, label, split, given label, or preprocessing."""
        splits = self.splits
        labelled = splits.train.ids[splits.labelled].sort().values
        return digest(
            [
                *(part.digest for part in (splits.train, splits.validation)),
                digest(labelled.tolist()),
                self.preprocessing.model_dump(mode="json"),
            ]
        )

    @cached_property
    def plan(self) -> Plan:
        """What the plan stage chose, or the recipe pinned."""
        if self.recipe.plan is not None:
            return self.recipe.plan
        if not self.folder.plan.exists():
            raise RunError(f"{self.folder.plan} is missing. Run the plan stage first (`limbeck run`).")
        return Plan.model_validate(read_json(self.folder.plan)["plan"])

    def execution(self, arm: Arm) -> Execution:
        """How an arm is computed."""
        return self.plan.teacher if arm.teaches else self.plan.student

    @property
    def teacher_view(self) -> TeacherView:
        """Whether the teacher is asked about clean samples or about what the student sees."""
        return "clean" if self.recipe.teacher.view == "clean" else "same"

    @property
    def views(self) -> int | None:
        """How many views of each sample the teacher is asked about; none where it sees clean samples, or any view."""
        view = self.recipe.teacher.view
        return None if isinstance(view, str) else view.views

    def factory(self, arm: Arm) -> Callable[[], nn.Module]:
        """Builds what an arm trains."""
        if arm.teaches:
            return self.teacher_factory
        if self.objects.student is not None and isinstance(arm.model, ObjectModel):
            return factory(self.objects.student)
        return lambda: arm.model.build(self.shape, len(self.classes))

    def teacher_factory(self) -> nn.Module:
        """A new module of the teacher's kind: untrained, unless it comes trained."""
        if self.objects.teacher is not None:
            return copy.deepcopy(self.objects.teacher)
        return self.recipe.teacher.model.build(self.shape, len(self.classes))

    def identity(self, arm: Arm) -> str:
        """What an arm's model is before training: a function of the user's may change though its name does not."""
        key = f"{arm.teaches} {arm.model.model_dump_json()}"
        if key not in self._identities:
            self._identities[key] = identity(self.factory(arm), self.shape)
        return self._identities[key]

    def stream(self, arm: Arm, training: Training, *, seed: int, augmentation: Augmentation | None) -> Stream:
        """The batches of one training."""
        source, folds = self.splits.train, self.recipe.teacher.folds
        if arm.fold is not None and folds is not None:
            source = source.subset(outside_fold(source, arm.fold, folds))
        view, asks = self.recipe.teacher.view, arm.method.reads.teacher and augmentation is not None
        stream = Stream(
            source,
            self.preprocessing,
            batch_examples=training.batch_examples,
            seed=seed,
            labelled=self.splits.labelled if arm.labels == "given" else None,
            labelled_share=training.labelled_share,
            augmentation=augmentation,
            view_seed=self.recipe.view_seed,
            views=self.views if arm.method.reads.teacher and isinstance(view, Views) else None,
        )
        needed = stream.epochs(training.steps)
        if asks and isinstance(view, Epochs) and needed > view.epochs:
            who = (
                "samples"
                if training.labelled_share is None
                else "labelled samples, which labelled_share repeats,"
            )
            raise UserError(
                f"teacher.view.epochs is {view.epochs}, and {arm.name} goes through its {who} {needed} times in "
                f"{training.steps} steps of {training.batch_examples}, each time in a view of its own. Set "
                f"teacher.view.epochs to {needed}, fewer steps, or teacher.view to {{views: {view.epochs}}}, which "
                "begins again."
            )
        return stream

    def fit_folder(self, job: str) -> Path:
        """Where a training keeps its checkpoint, and in the end its weights and result."""
        return self.folder.checkpoints / job

    def forget_plan(self) -> None:
        """Read the plan again when it is next asked for."""
        self.__dict__.pop("plan", None)

    def forget_teacher(self) -> None:
        """Read the teacher and its answers again when they are next asked for."""
        self.__dict__.pop("teacher_module", None)
        self.forget_answers()

    def forget_answers(self) -> None:
        """Read the stored answers again when they are next asked for."""
        self._digests.clear()
        self._stored.clear()

    @property
    def label_inputs(self) -> list[Any]:
        """What the teacher's stored answers depend on, beside the teacher."""
        teacher, plan = self.recipe.teacher, self.plan
        view = self.recipe.teacher.model_dump(mode="json")["view"]
        augmentation = self.recipe.augmentation.model_dump(mode="json") if self.recipe.augmentation else None
        seen = [self.recipe.view_seed, augmentation] if view != "clean" else None
        return [
            self.data_digest,
            view,
            seen,
            teacher.model_dump(mode="json", include={"keep", "keep_taps"}),
            [each.model_dump() for each in (plan.label, *plan.label_next)],
            plan.label_batch_examples,
        ]

    @cached_property
    def teacher_module(self) -> nn.Module:
        """The trained or given teacher, in eval mode."""
        if self.objects.teacher is not None:
            return self.objects.teacher.eval()
        return load_student(self.folder.path / "teacher").to(self.device)

    def targets_digest(self, answerer: str) -> str:
        """The key of the store that holds somebody's answers."""
        if answerer not in self._digests:
            self._digests[answerer] = str(read_json(self.folder.targets(answerer))["key"])
        return self._digests[answerer]

    def stored_teacher(self, answerer: str = TEACHER) -> StoredTeacher:
        """Somebody's stored answers."""
        if answerer not in self._stored:
            path = Path(read_json(self.folder.targets(answerer))["path"])
            self._stored[answerer] = StoredTeacher(Store.open(path))
        return self._stored[answerer]
