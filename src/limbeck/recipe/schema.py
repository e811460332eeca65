"""The recipe: everything a run depends on, as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from limbeck.data.config import AnyData
from limbeck.data.preprocessing import Preprocessing
from limbeck.data.views import Augmentation
from limbeck.methods import CE, KD, AnyMethod
from limbeck.models.config import AnyModel
from limbeck.models.ensemble import EnsembleModel, TeacherModel
from limbeck.models.python import PythonModel
from limbeck.recipe import consistency
from limbeck.recipe.assistant import Assistant
from limbeck.recipe.exports import Exports
from limbeck.recipe.keeping import Kept, Taps
from limbeck.recipe.plan import Plan
from limbeck.recipe.training import Training
from limbeck.recipe.tuning import Choice
from limbeck.types import Frozen

Control = Literal["no-teacher", "pseudo-labels", "supervised", "direct", "quantised-teacher", "linear"]


class Views(Frozen):
    """The teacher sees what the student sees, in so many fixed views of every sample."""

    views: PositiveInt
    """Views of each sample; the student goes through the same ones, epoch after epoch."""


class Epochs(Frozen):
    """The teacher sees what the student sees, in another view of every sample each epoch."""

    epochs: PositiveInt
    """Views of each sample, one for each time that the student goes through all samples; a training that goes
    through them more often is refused."""

    @property
    def views(self) -> int:
        """Views of each sample."""
        return self.epochs


def _view(value: Any) -> str | None:
    if isinstance(value, Epochs) or (isinstance(value, Mapping) and "epochs" in value):
        return "epochs"
    if isinstance(value, (Views, Mapping)):
        return "views"
    return "word" if value in ("clean", "same") else None


View = Annotated[
    Annotated[Literal["clean", "same"], Tag("word")]
    | Annotated[Views, Tag("views")]
    | Annotated[Epochs, Tag("epochs")],
    Discriminator(
        _view,
        custom_error_type="view",
        custom_error_message="must be 'clean', 'same', {views: K} for K fixed views, or {epochs: E} for one an epoch",
    ),
]


class TeacherRecipe(Frozen):
    """Who answers: a model that is trained here, or one that is given."""

    model: TeacherModel
    """What the teacher is. ``kind: ensemble`` takes several trained models for one."""

    weights: Path | None = None
    """Its weights (safetensors, or a state dict saved by torch), relative to the folder the command is run
    in; null: it is trained, unless it is ``pretrained``."""

    pretrained: bool = False
    """The function that ``model: {python: ...}`` names returns a model that is trained already."""

    training: Training = Training()
    """How it is trained, on every label of the training part; of no effect where it is given."""

    augmentation: Augmentation | None = None
    """How its own training images are varied; null: not at all."""

    view: View = "clean"
    """What it is asked about: ``clean`` samples, once for all seeds and augmentations; ``{views: K}`` fixed views,
    which the student sees too, again and again; ``{epochs: E}`` views, one for each epoch; or ``same``: whatever
    the student sees, asked while it trains and not stored."""

    keep: Kept = "float16"
    """What is stored of its answers: ``float32``, ``float16`` or ``int8`` for all logits, or a kind that keeps a few
    classes, as in ``{kind: top-k, k: 32}``, which does for ``top-k``, ``sampled`` and ``pseudo-label``."""

    store: str | None = None
    """A URL where the answers lie as well, for other machines: ``s3://bucket/folder``, or whatever fsspec opens. What
    is there is not asked for, and what is asked goes there; null: this machine alone."""

    keep_taps: Taps | None = None
    """Layers that are stored beside the answers; null: none, and a method that reads inner layers asks the teacher
    itself while the student trains."""

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, value: Any) -> Any:
        """Read ``dtype``, as ``keep`` was called when it could only be a number format."""
        if not isinstance(value, Mapping) or "dtype" not in value:
            return value
        if "keep" in value:
            raise ValueError("has keep and dtype, which is its earlier name; remove dtype")
        return {"keep" if name == "dtype" else name: held for name, held in value.items()}

    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    """Answers out of fold, for a teacher that is trained on the very samples it is asked about: so many more teachers
    are trained, each without one fold of the samples, and answer for that fold; null: the teacher itself answers."""

    @property
    def given(self) -> bool:
        """Whether it is used as it comes, without training."""
        if isinstance(self.model, EnsembleModel):
            return True
        own = self.model.weights if isinstance(self.model, PythonModel) else None
        return self.pretrained or self.weights is not None or own is not None


class StudentRecipe(Frozen):
    """Who learns: every seed, and every control, builds its own."""

    model: AnyModel
    """What the student is."""


class Evaluation(Frozen):
    """How results are measured and compared."""

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Difference in the main metric below which student and baseline count as equal."""

    robustness: bool = True
    """Measure under seeded noise, blur, contrast and shift as well (images)."""

    bootstrap: Annotated[int, Field(ge=100)] = 2000
    """Resamples behind every interval."""

    price_per_cpu_hour: NonNegativeFloat = 0.05
    """In any currency; what one core costs for an hour."""

    watts_per_core: NonNegativeFloat = 10.0
    """Electrical power of one busy core."""

    latency_repetitions: PositiveInt = 40
    """Interleaved rounds in which the exported files are timed."""


class Gate(Frozen):
    """What the result must reach, or ``limbeck run`` ends with exit code 1."""

    retention: PositiveFloat | None = None
    """Least share of the teacher's metric that is kept, at the lower end of its interval."""


def _listed(value: Any) -> Any:
    """Refuse one thing where several are expected, before pydantic takes a text apart into letters."""
    if isinstance(value, (str, Mapping)):
        raise PydanticCustomError("list_type", "Input should be a list")
    return value


class Recipe(Frozen):
    """A whole run: data, teacher, student, how they are compared, and what is made of the result."""

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, examples=["my-run.1"])
    ] = "run"
    """What the run is called: letters, digits, points, hyphens, underscores."""

    task: Literal["classification"] = "classification"
    """What the models do."""

    data: AnyData
    """Which examples: where they come from and how they are split."""

    preprocessing: Preprocessing = Preprocessing()
    """How raw samples become model inputs; it travels with the student."""

    augmentation: Augmentation | None = None
    """How the student's training images are varied; null: not at all."""

    view_seed: NonNegativeInt = 0
    """Seeds the augmentation; it is not the run's seed, so that all seeds can share the teacher's answers."""

    teacher: TeacherRecipe
    """Who answers: trained here, or given."""

    student: StudentRecipe
    """Who learns."""

    assistants: Annotated[tuple[Assistant, ...], BeforeValidator(_listed)] = ()
    """Models between the two, distilled one after another: the first from the teacher, the student from the last."""

    method: Annotated[AnyMethod, Field(json_schema_extra={"default": {"kd": {}, "ce": {}}})] = KD() + CE()
    """How the student's answers are compared: ``{kd: {temperature: 2}, ce: {weight: 0.1}}``."""

    training: Training = Training()
    """How the student is trained; each of its controls gets the same."""

    tuning: Annotated[tuple[Choice, ...], Field(min_length=1), BeforeValidator(_listed)] = (Choice(),)
    """The choices that student and controls each try with the first seed; the best on validation wins."""

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), BeforeValidator(_listed)] = (0, 1, 2)
    """One student is trained for each."""

    controls: Annotated[tuple[Control, ...], BeforeValidator(_listed)] = (
        "no-teacher",
        "pseudo-labels",
        "supervised",
        "quantised-teacher",
        "linear",
    )
    """What the student is compared with. ``no-teacher``: the same student on the given labels alone.
    ``pseudo-labels``: the same with the teacher's largest class for its answers. ``supervised``: the same on every
    label there is. ``direct``: the same distilled from the teacher itself, past the assistants.
    ``quantised-teacher``: the teacher itself as int8. ``linear``: logistic regression."""

    evaluation: Evaluation = Evaluation()
    """Margin, robustness, prices."""

    export: Exports = Exports()
    """Which files are written, and how close each must be to the student."""

    gate: Gate = Gate()
    """What the result must reach."""

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where models are trained and asked; files are always timed on the processor."""

    plan: Plan | None = None
    """How the machine is used; null: a short measurement chooses, once."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        conflicts = consistency.conflicts(self)
        if conflicts:
            text = "; ".join(f"{'.'.join(map(str, path))} {message}" for path, message in conflicts)
            raise PydanticCustomError("conflicts", "{text}", {"text": text, "conflicts": conflicts})
        return self
