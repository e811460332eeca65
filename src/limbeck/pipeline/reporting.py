"""The report stage: everything the run found, as data, as a page, and as a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from limbeck.data import contamination
from limbeck.evaluation import Candidate, advice, metrics
from limbeck.files import read_json, write_json
from limbeck.methods import dump
from limbeck.models import EnsembleModel, count_parameters
from limbeck.models.object import ObjectModel
from limbeck.pipeline import assemble
from limbeck.pipeline.assemble import METRIC, Answers
from limbeck.pipeline.assistants import assistant_results
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.pipeline.exporting import TEACHER_LOGITS
from limbeck.pipeline.provenance import provenance
from limbeck.pipeline.students import arm_names, trained
from limbeck.pipeline.wording import summary, verdict_line
from limbeck.recipe import Epochs
from limbeck.recipe.schema import View
from limbeck.reports import (
    Asked,
    Control,
    Estimate,
    ExportResult,
    ModelResult,
    Report,
    TeacherResult,
    Verdict,
    write_card,
    write_page,
    write_report,
)
from limbeck.version import VERSION

BASELINE = "no-teacher"


def report(context: Context) -> Iterator[Event]:
    """Write ``report.json``, ``report.html``, ``MODEL_CARD.md`` and ``provenance.json``."""
    folder = context.folder
    write_json(folder.provenance, provenance(context))
    found = build(context)
    write_report(found, folder.report)
    rows = torch.tensor([lost.row for lost in found.lost], dtype=torch.int64)
    pictures = (
        context.splits.test.raw(rows).numpy() if context.preprocessing.kind == "image" and len(rows) else None
    )
    write_page(found, folder.page, pictures=pictures)
    write_card(found, folder.card)
    yield Noted("report", f"{folder.page} is written")


def build(context: Context) -> Report:
    """The report, from what the stages left behind."""
    answers = Answers(context)
    facts = read_json(context.folder.evaluation / "facts.json")
    files = read_json(context.folder.path / "exports.json")
    student = assemble.model_result(context, answers, "student", shipped=True)
    has_baseline = BASELINE in arm_names(context.recipe)
    baseline = assemble.model_result(context, answers, BASELINE, shipped=False) if has_baseline else None
    shipped = answers.seed("student", student.shipped_seed or 0)
    beside = answers.seed(BASELINE, trained(context, BASELINE).best.seed) if has_baseline else None
    answers.add("quantised-teacher", context.folder.exports / TEACHER_LOGITS)
    controls = assemble.controls(context, answers, facts, files)
    models = {"teacher": answers.of("teacher"), "student": shipped}
    if beside is not None:
        models["baseline"] = beside
    calibration, reliability = assemble.calibrations(answers, models)
    teacher = _teacher(context, answers)
    assistants = assemble.assistants(context, answers)
    retention = assemble.retained(answers, student.shipped_seed or 0, context.recipe.evaluation.bootstrap)
    verdict = _verdict(context, answers, controls) if has_baseline else None
    gap = assemble.recovered(answers, context.recipe.evaluation.bootstrap) if has_baseline else _no_gap()
    exports = [ExportResult.model_validate(file) for file in files]
    seconds = _seconds(context)
    return Report(
        limbeck=VERSION,
        name=context.recipe.name,
        task=context.recipe.task,
        metric=METRIC,
        summary=summary(teacher, assistants, student, baseline, retention, gap, verdict, exports),
        data=_data(context),
        method=dump(context.recipe.method),
        teacher=teacher,
        assistants=assistants,
        student=student,
        baseline=baseline,
        retention=retention,
        verdict=verdict,
        controls=controls,
        gap=gap,
        fidelity=assemble.fidelities(answers, shipped, beside),
        calibration=calibration,
        reliability=reliability,
        per_class=assemble.classes(context, answers, shipped, beside),
        slices=[],
        robustness=facts.get("robustness", {}),
        out_of_distribution={},
        exports=exports,
        ratios=_ratios(teacher, student, exports),
        lost=assemble.lost_samples(context, answers, shipped),
        curves=assemble.curves(context),
        advice=_advice(context, answers, exports, seconds),
        warnings=[*assemble.warnings_of(context), *teacher.warnings, *_weak_beside(answers, has_baseline)],
        gate=_gate(context, retention.low),
        plan=context.plan.model_dump(mode="json"),
        seconds=seconds,
        provenance=read_json(context.folder.provenance),
    )


def _teacher(context: Context, answers: Answers) -> TeacherResult:
    facts, targets = (read_json(context.folder.path / name) for name in ("teacher.json", "targets.json"))
    module = context.teacher_module
    parameters = count_parameters(module)
    view, model = context.recipe.teacher.view, context.recipe.teacher.model
    return TeacherResult(
        name=model.name if isinstance(model, (EnsembleModel, ObjectModel)) else model.kind,
        parameters=parameters,
        bytes=parameters * 4,
        metrics=metrics(answers.of("teacher"), answers.labels),
        ms_per_example=targets["ms_per_example"],
        digest=targets["teacher"],
        labels=facts["labels"],
        view=_asked_about(view),
        asked=_asked(context, targets),
        warnings=facts["warnings"],
    )


def _asked(context: Context, targets: dict[str, Any]) -> Asked:
    check = targets["check"]
    return Asked(
        way=check["asked"],
        batch_examples=context.plan.label_batch_examples,
        folds=context.recipe.teacher.folds or 0,
        refused=[refused["asked"] for refused in targets["refused"]],
        **{name: check[name] for name in ("samples", "agreement", "kl_nats")},
    )


def _asked_about(view: View) -> str:
    if isinstance(view, str):
        return view
    return (
        f"one view an epoch, {view.epochs} epochs"
        if isinstance(view, Epochs)
        else f"{view.views} fixed views"
    )


def _verdict(context: Context, answers: Answers, controls: list[Control]) -> Verdict:
    found = assemble.judged(context, answers, BASELINE)
    return Verdict(
        word=found.word,
        difference=found.difference,
        low=found.low,
        high=found.high,
        margin=found.margin,
        p=found.p,
        line=verdict_line(found, controls, context.recipe.evaluation.margin),
    )


def _no_gap() -> Estimate:
    return Estimate(value=None, reason="the recipe's controls hold no no-teacher student to compare with")


def _data(context: Context) -> dict[str, Any]:
    splits, found = context.splits, contamination(context.splits)
    return {
        "source": context.recipe.data.kind,
        "name": splits.train.name,
        "kind": context.preprocessing.kind,
        "train": len(splits.train),
        "labelled": len(splits.labelled),
        "validation": len(splits.validation),
        "test": len(splits.test),
        "classes": list(splits.train.classes),
        "shape": list(splits.train.shape),
        "digest": context.data_digest,
        "left_out": list(splits.left_out),
        "contamination": {
            "train_validation": found.train_validation,
            "train_test": found.train_test,
            "validation_test": found.validation_test,
            "within_train": found.within_train,
        },
    }


def _ratios(teacher: TeacherResult, student: ModelResult, exports: list[ExportResult]) -> dict[str, float]:
    """How many times smaller and faster the student is, in the same runtime and run."""
    found = {"parameters": teacher.parameters / student.parameters}
    whole = next((file for file in exports if file.model == "teacher" and file.format == "onnx"), None)
    if whole is None:
        return found
    for file in exports:
        if file.model == "student":
            found[f"bytes_{file.format}"] = whole.bytes / file.bytes
        if file.model == "student" and file.efficiency and whole.efficiency:
            found[f"latency_{file.format}"] = whole.efficiency.p50_ms / file.efficiency.p50_ms
            found[f"cpu_{file.format}"] = whole.efficiency.cpu_ms / file.efficiency.cpu_ms
    timed = [value for name, value in found.items() if name.startswith("latency_")]
    if timed:
        found["latency_fastest"] = max(timed)
    return found


def _advice(
    context: Context, answers: Answers, exports: list[ExportResult], seconds: Mapping[str, float]
) -> list[str]:
    candidates = [
        Candidate(
            name=file.path,
            role=file.model,
            quantised=file.precision == "int8",
            bytes=file.bytes,
            p50_ms=file.efficiency.p50_ms,
            cpu_ms=file.efficiency.cpu_ms,
            quality=file.metrics[METRIC],
        )
        for file in exports
        if file.efficiency is not None
    ]
    if BASELINE not in arm_names(context.recipe):
        return []
    assistants = sum(result.cpu_seconds for result in assistant_results(context))
    return advice(
        candidates,
        assemble.judged(context, answers, BASELINE),
        training_cpu_seconds=trained(context, "student").cpu_seconds + assistants + seconds["label"],
        price_per_cpu_hour=context.recipe.evaluation.price_per_cpu_hour,
        metric=METRIC,
    )


def _weak_beside(answers: Answers, has_baseline: bool) -> list[str]:
    """A sentence where the teacher is no better than the student without it."""
    if not has_baseline:
        return []
    teacher, baseline = answers.scores("teacher").mean(), answers.scores(BASELINE).mean()
    if teacher > baseline:
        return []
    return [
        f"The teacher is weak: {teacher:.4f} on test data, where the student trained without it reaches "
        f"{baseline:.4f}. There is nothing to gain from this teacher."
    ]


def _gate(context: Context, low: float | None) -> dict[str, Any] | None:
    wanted = context.recipe.gate.retention
    return None if wanted is None else {"retention": wanted, "passed": low is not None and low >= wanted}


def _seconds(context: Context) -> dict[str, float]:
    """Wall seconds of each stage; baseline and distil share the time in which they trained side by side."""
    stages = {name: float(record.get("seconds", 0.0)) for name, record in context.folder.stages().items()}
    both = stages.pop("baseline", 0.0) + stages.pop("distil", 0.0)
    spent = {name: trained(context, name).cpu_seconds for name in arm_names(context.recipe)}
    share = spent["student"] / max(sum(spent.values()), 1e-9)
    stages |= {"baseline": round(both * (1 - share), 3), "distil": round(both * share, 3)}
    between = ("assistants",) if context.recipe.assistants else ()
    order = ("check", "plan", "teacher", "label", *between, "baseline", "distil", "evaluate", "export")
    found = {name: stages.get(name, 0.0) for name in order}
    return {**found, "total": round(float(np.sum(list(found.values()))), 3)}
