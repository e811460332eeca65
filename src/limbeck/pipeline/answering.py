"""Who answers while a student trains: stored answers, or a trained model where they do not hold enough."""

from __future__ import annotations

from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from limbeck.data import Stream
from limbeck.export import onnx_engine
from limbeck.files import read_json
from limbeck.methods import Method
from limbeck.pipeline.arms import TEACHER, Arm, Job, arm_of, assistant_job, fold_jobs
from limbeck.pipeline.context import Context
from limbeck.recipe import Asking, Training
from limbeck.recipe.keeping import kind_of
from limbeck.taps import layers, places
from limbeck.taps.places import shape_at
from limbeck.teachers import LiveTeacher, OutOfFold, StoredTeacher
from limbeck.teachers.store import Features, Keep
from limbeck.training import TrainState, executing, start
from limbeck.training.asking import form_of
from limbeck.types import Teacher

_TRACED_ROWS: Final = 2


def teacher_for(context: Context, arm: Arm, method: Method) -> Teacher | None:
    """The teacher that an arm's method is given: the teacher itself, or the assistant that the arm learns from.

    Stored answers wherever they do. A method that reads inside the teacher needs the model, unless the layers are
    stored (``keep_taps``); so does a teacher that is asked about every new view (``view: same``).
    """
    if not method.reads.teacher:
        return None
    if asked_live(context, method):
        facts = read_json(context.folder.targets(arm.answerer))
        asking = Asking.model_validate(facts["execution"])
        planned = asking.model_copy(update={"threads": context.plan.student.threads})
        return live(context, inside(planned) if method.reads.inside else planned, arm.answerer)
    stored = context.stored_teacher(arm.answerer)
    if not method.reads.inside:
        return stored
    return StoredTeacher(stored.store, module=answering_module(context, arm.answerer))


def asked_live(context: Context, method: Method) -> bool:
    """Whether a method's teacher is the model itself."""
    recipe = context.recipe.teacher
    return recipe.view == "same" or (method.reads.inside and recipe.keep_taps is None)


def kept(context: Context, module: nn.Module, answerer: str = TEACHER) -> Keep:
    """What is stored of somebody's answers, with the layers that the recipe names found in the model.

    Raises:
        ModelError: If it has no such layer.
    """
    recipe = context.recipe.teacher
    if recipe.keep_taps is None or recipe.view == "same":
        return Keep(answers=kind_of(recipe.keep))
    few = context.preprocessing.apply(context.splits.train.raw(torch.arange(_TRACED_ROWS)))
    found = layers(module, few.to(next(module.parameters(), few).device))
    names = [name for place in recipe.keep_taps.places for name in places(found, place, owner=answerer)]
    taps = (
        Features(name=name, shape=shape_at(found, name)[1:], dtype=recipe.keep_taps.dtype)
        for name in dict.fromkeys(names)
    )
    return Keep(answers=kind_of(recipe.keep), taps=tuple(taps))


def inside(asking: Asking) -> Asking:
    """The same for a model that is read inside: as it is, in torch, in fp32 where bf16 alone was not close enough."""
    precision = "fp32" if asking.doubt_margin else asking.precision
    changes = {"folded": False, "engine": "torch", "doubt_margin": 0.0, "precision": precision}
    return asking.model_copy(update=changes)


def live(context: Context, asking: Asking, answerer: str = TEACHER) -> Teacher:
    """The teacher or an assistant itself, computed as the plan says; with folds, the teacher of each fold.

    Raises:
        ExportError: If the plan names an engine for which it cannot be exported.
    """
    jobs = fold_jobs(context.recipe) if answerer == TEACHER else []
    if jobs:
        return OutOfFold(
            [_live(context, asking, student_of(context, job).to(context.device)) for job in jobs]
        )
    return _live(context, asking, answering_module(context, answerer))


def _live(context: Context, asking: Asking, module: nn.Module) -> LiveTeacher:
    layout = torch.channels_last if asking.layout == "channels_last" else torch.contiguous_format
    return LiveTeacher(
        module,
        classes=len(context.classes),
        shape=context.shape,
        layout=layout,
        execution=lambda: executing(asking, device=context.device),
        form=form_of(module, asking, context.shape, engine=onnx_engine),
        compiled=asking.compile,
    )


def answering_module(context: Context, answerer: str) -> nn.Module:
    """The teacher or an assistant as it was trained, in eval mode, where models are asked."""
    if answerer == TEACHER:
        return context.teacher_module
    return student_of(context, assistant_job(context.recipe, answerer)).to(context.device)


def weights_of(context: Context, job: Job) -> dict[str, Tensor]:
    """The kept weights of a finished training."""
    return load_file(context.fit_folder(str(job)) / "weights.safetensors")


def student_of(context: Context, job: Job) -> nn.Module:
    """The trained module as it ships, in eval mode."""
    module = untrained(context, job)
    module.load_state_dict(weights_of(context, job))
    return module.eval()


def started(
    context: Context,
    arm: Arm,
    training: Training,
    method: Method,
    teacher: Teacher | None,
    stream: Stream,
    *,
    seed: int,
) -> TrainState:
    """A training before its first step."""
    return start(
        context.factory(arm),
        method,
        teacher,
        stream,
        training=training,
        execution=context.execution(arm),
        seed=seed,
        device=context.device,
        teacher_view=context.teacher_view,
    )


def untrained(context: Context, job: Job) -> nn.Module:
    """What ships before it is trained: what a method adds to the student is shaped by student and teacher."""
    arm = arm_of(context.recipe, job)
    if not arm.method.grows:
        return context.factory(arm)()
    training, method = arm.choices[job.choice].apply(arm.training, arm.method)
    stream = context.stream(arm, training, seed=job.seed, augmentation=None)
    teacher = teacher_for(context, arm, method)
    state = started(context, arm, training, method, teacher, stream, seed=job.seed)
    return state.method.deploy(state.student, state.connectors)
