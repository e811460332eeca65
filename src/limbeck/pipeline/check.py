"""The check stage: everything that can be found out before time is spent."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch

from limbeck.data import Stream, contamination
from limbeck.data.contamination import Contamination
from limbeck.errors import MethodError
from limbeck.evaluation import validation_warning
from limbeck.export import exportable
from limbeck.files import write_json
from limbeck.methods import CE, Method
from limbeck.methods.pairs import PairedMethod
from limbeck.methods.wrapping import leaves, shared_temperature
from limbeck.models import EnsembleModel, check_answers, count_parameters
from limbeck.pipeline.answering import asked_live, kept
from limbeck.pipeline.arms import TEACHER, Arm, assistant_arms, fold_jobs, student_arms, teacher_arm
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.pipeline.predict import logits_of
from limbeck.pipeline.teacher import given_teacher, labels_of, weak
from limbeck.pipeline.weighing import Level, sample_texts, term_texts
from limbeck.recipe import Execution
from limbeck.teachers import LiveTeacher
from limbeck.threads import cores
from limbeck.training import TrainState, estimate, start
from limbeck.types import Teacher

_ID_BYTES = 8
_MEGABYTE = 1e6
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    text: str
    level: Level = "ok"


def check(context: Context) -> Iterator[Event]:
    """Look at data, teacher, student, method and cost; leave the findings in ``check.json``.

    Raises:
        LimbeckError: At the first thing that cannot work, with its cure.
    """
    found: list[Finding] = []
    for finding in findings(context):
        found.append(finding)
        yield Noted("check", f"{finding.subject}: {finding.text}", warning=finding.level == "warning")
    write_json(context.folder.path / "check.json", [asdict(finding) for finding in found])


def findings(context: Context) -> Iterator[Finding]:
    """Everything the check has to say, in order."""
    yield from _data(context)
    teacher = yield from _teacher(context)
    answering = yield from _assistants(context, teacher)
    yield from _student(context, answering)
    yield from _cost(context, answering)


def _data(context: Context) -> Iterator[Finding]:
    splits = context.splits
    train, validation, test = splits.train, splits.validation, splits.test
    yield Finding(
        "data",
        f"{train.name}: {len(train):,} to train on ({len(splits.labelled):,} with a label the student may see), "
        f"{len(validation):,} to choose by, {len(test):,} to measure on, {len(train.classes)} classes, "
        "all inputs finite",
    )
    if left_out := splits.left_out:
        named = ", ".join(left_out[:_NAMED]) + (", …" if len(left_out) > _NAMED else "")
        said = f"no readable images, and left out: {named} ({len(left_out):,} in all)"
        yield Finding("data", said, "warning")
    found = contamination(splits)
    yield Finding("contamination", contamination_text(found), "ok" if found.clean else "warning")
    if text := validation_warning(len(validation), margin=context.recipe.evaluation.margin):
        yield Finding("validation", text, "warning")


def contamination_text(found: Contamination) -> str:
    """Exact duplicates across the splits, in one sentence."""
    if found.clean:
        return f"no sample stands in two splits ({found.within_train} repeated within training)"
    return (
        f"exact duplicates: {found.train_validation} of validation and {found.train_test} of test stand in training, "
        f"{found.validation_test} of test in validation; for example {found.examples[0]}. Remove them from training"
    )


def _teacher(context: Context) -> Generator[Finding, None, LiveTeacher]:
    """Say what the teacher is; return one that answers (untrained, where the recipe trains it)."""
    given = given_teacher(context)
    module = given if given is not None else context.teacher_factory()
    check_answers(module, context.shape, len(context.classes), owner="the teacher")
    kept(context, module)  # a layer that it does not have is said before anything takes time
    text = f"{count_parameters(module):,} parameters, asked in eval mode, {len(context.classes)} classes"
    if given is None:
        yield Finding("teacher", f"{text}, to be trained on {labels_of(context):,} labels")
    else:
        logits = logits_of(given.eval(), context.splits.validation, context.preprocessing, _exact())
        accuracy = float((logits.argmax(1) == context.splits.validation.labels).double().mean())
        yield Finding("teacher", f"{text}, {accuracy:.4f} accuracy on validation data in this very pipeline")
        if sentence := weak(context, accuracy):
            yield Finding("teacher", sentence, "warning")
        if bool((logits >= 0).all()) and torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3):
            yield Finding(
                "teacher",
                "its answers are not negative and sum to 1, as probabilities do; expected logits. Take the softmax "
                "away from its end",
                "warning",
            )
    yield from _several(context)
    return LiveTeacher(module, classes=len(context.classes), shape=context.shape)


def _several(context: Context) -> Iterator[Finding]:
    """Say how several teachers answer as one, and where that is at another temperature than the method's."""
    model = context.recipe.teacher.model
    if not isinstance(model, EnsembleModel):
        return
    text = f"{len(model.members)} models answer as one, by {model.combine}"
    compared = shared_temperature(context.recipe.method)
    if model.combine == "mean-probability" and compared not in (None, model.temperature):
        yield Finding(
            "teacher",
            f"{text} at temperature {model.temperature:g}, and the method compares at {compared:g}; the student "
            f"learns from the mean of what they say with teacher.model.temperature: {compared:g}",
            "warning",
        )
    else:
        yield Finding("teacher", text)


def _assistants(context: Context, teacher: LiveTeacher) -> Generator[Finding, None, dict[str, LiveTeacher]]:
    """Say what the assistants are; return by name everyone who will be asked, the assistants untrained."""
    answering = {TEACHER: teacher}
    for arm in assistant_arms(context.recipe):
        state, _ = _started(context, arm, arm.method, answering[arm.answerer])
        module = state.method.deploy(state.student, state.connectors)
        check_answers(module, context.shape, len(context.classes), owner=arm.name)
        yield Finding(
            "assistants", f"{arm.name}: {count_parameters(module):,} parameters, learns from {arm.answerer}"
        )
        answering[arm.name] = LiveTeacher(module, classes=len(context.classes), shape=context.shape)
    if context.recipe.assistants and "direct" not in context.recipe.controls:
        yield Finding("assistants", "whether they help is not measured; add direct to controls", "warning")
    return answering


def _student(context: Context, answering: Mapping[str, Teacher]) -> Iterator[Finding]:
    arm = student_arms(context.recipe)["student"]
    teacher = answering[arm.answerer]
    module = context.factory(arm)()
    check_answers(module, context.shape, len(context.classes), owner="the student")
    teacher_size = count_parameters(context.teacher_factory())
    size = count_parameters(module)
    yield Finding("student", f"{size:,} parameters, {teacher_size / size:.1f} times fewer than the teacher")
    if set(context.recipe.export.formats) & {"onnx", "onnx-int8", "pt2"}:
        raw = context.splits.train.raw(torch.arange(min(8, len(context.splits.train))))
        exportable(module.eval(), context.preprocessing, raw.numpy(), exports=context.recipe.export)
        yield Finding(
            "export", f"every operator can be written to {', '.join(context.recipe.export.formats)}"
        )
    state, stream = _started(context, arm, arm.method, teacher)
    batch = stream.batch(0)
    yield Finding(
        "shapes",
        f"inputs {list(batch.inputs.shape)}, logits {[len(batch), len(context.classes)]} on both sides, "
        f"{int(batch.labelled.sum())} of {len(batch)} labelled in a batch",
    )
    yield from _layers(context, arm, state.method)
    _check_held(context, arm, state.method, teacher)
    ready = arm.answerer == TEACHER and given_teacher(context) is not None
    note = "" if ready else " (with a teacher that is not trained yet)"
    view = context.teacher_view
    for text, level in term_texts(state, stream, teacher, execution=_exact(), view=view):
        yield Finding("gradient", f"{text}{note}", level)
    for text in sample_texts(state, stream, teacher, view=view):
        yield Finding("samples", f"{text}{note}")


def _layers(context: Context, arm: Arm, method: Method) -> Iterator[Finding]:
    """Which layers are compared, as the two models have them."""
    named = [pair for leaf in leaves(method) if isinstance(leaf, PairedMethod) for pair in leaf.named]
    if not named:
        return
    pairs = ", ".join(dict.fromkeys(f"{pair.student} with {pair.teacher}" for pair in named))
    yield Finding("layers", f"compared (student with teacher): {pairs}")
    if arm.augmentation is not None and context.recipe.teacher.view == "clean":
        yield Finding(
            "layers",
            "inner layers are compared, and the teacher is asked about clean samples where the student's are "
            "moved; set teacher.view: same",
            "warning",
        )


def _check_held(context: Context, arm: Arm, method: Method, teacher: Teacher) -> None:
    """Refuse a method that reads layers which are not among those that will be stored."""
    module = teacher.offer.module
    if asked_live(context, method) or not method.reads.inside or module is None:
        return
    held = kept(context, module, arm.answerer).names
    missing = [name for name in method.reads.teacher_taps if name not in held]
    if missing:
        raise MethodError(
            f"The method reads {', '.join(missing)} of the teacher, and teacher.keep_taps stores "
            f"{', '.join(held)}. Add it there, or remove keep_taps: the teacher itself is then asked while the "
            "student trains."
        )


def _cost(context: Context, answering: Mapping[str, Teacher]) -> Iterator[Finding]:
    arms, between = student_arms(context.recipe), assistant_arms(context.recipe)
    runs = sum(len(arm.choices) + len(context.recipe.seeds) - 1 for arm in arms.values())
    step = _step_seconds(context, arms["student"], answering[arms["student"].answerer])
    minutes = runs * step * context.recipe.training.steps / max(1, cores()) / 60
    for arm in between:  # one after another, each with the threads of a student
        minutes += _step_seconds(context, arm, answering[arm.answerer]) * arm.training.steps / 60
    trained = 0 if given_teacher(context) is not None else 1 + len(fold_jobs(context.recipe))
    if trained:
        arm = teacher_arm(context.recipe)
        minutes += trained * _step_seconds(context, arm, None) * arm.training.steps / max(1, cores()) / 60
    train = context.splits.train
    keep = kept(context, context.teacher_factory())
    record = keep.layout(len(train.classes)).itemsize * (context.views or 1) + _ID_BYTES
    yield Finding(
        "cost",
        f"{runs + len(between) + trained} trainings, about {minutes:.0f} minutes in fp32 on {cores()} cores (less "
        f"where the plan finds a faster format); the teacher's answers take {len(train) * record / _MEGABYTE:.1f} MB",
    )


def _step_seconds(context: Context, arm: Arm, teacher: Teacher | None) -> float:
    state, stream = _started(context, arm, arm.method if teacher else CE(), teacher)
    found = estimate(state, stream, teacher, execution=_exact(), teacher_view=context.teacher_view)
    return found.step_seconds


def _started(
    context: Context, arm: Arm, method: Method, teacher: Teacher | None
) -> tuple[TrainState, Stream]:
    """A training before its first step, and its batches."""
    stream = context.stream(arm, arm.training, seed=0, augmentation=arm.augmentation)
    state = start(
        context.factory(arm), method, teacher, stream,
        training=arm.training, execution=_exact(), seed=0, device=context.device,
        teacher_view=context.teacher_view,
    )  # fmt: skip
    return state, stream


def _exact() -> Execution:
    return Execution(threads=1)
