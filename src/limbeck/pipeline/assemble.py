"""From the answers on the test data to the report: every number computed here, none typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from limbeck.errors import RunError
from limbeck.evaluation import Verdict as Judgement
from limbeck.evaluation import (
    calibration,
    correct,
    fidelity,
    gap,
    lost,
    metrics,
    per_class,
    probabilities,
    retention,
    validation_warning,
    verdict,
)
from limbeck.models import count_parameters
from limbeck.pipeline.answering import answering_module, student_of
from limbeck.pipeline.arms import Arm, assistant_arms, assistant_job, student_arms
from limbeck.pipeline.context import Context
from limbeck.pipeline.evaluate import answers_of
from limbeck.pipeline.fit import result_of
from limbeck.pipeline.students import Trained, trained
from limbeck.reports.schema import (
    AssistantResult,
    Bin,
    ClassResult,
    Control,
    Curve,
    Estimate,
    Lost,
    ModelResult,
    Retention,
    SeedResult,
)

METRIC: Final = "accuracy"
_FP32_BYTES: Final = 4
_LOST_SHOWN: Final = 40

Logits = Float[np.ndarray, "examples classes"]

GIVEN: Mapping[str, tuple[str, str]] = {
    "no-teacher": ("given", "nothing"),
    "pseudo-labels": ("given", "its largest class for every sample"),
    "supervised": ("all", "nothing"),
    "direct": ("given", "its answers themselves, past the assistants"),
    "linear": ("given", "nothing"),
    "quantised-teacher": ("none", "the teacher itself, as int8"),
}
"""What each control is given: which labels, and what of the teacher."""


class Answers:
    """Logits on the test data, by model and seed, and what follows from them."""

    def __init__(self, context: Context) -> None:
        self._table = answers_of(context)
        self._seeds = context.recipe.seeds
        self.labels: NDArray[np.int64] = self._table["labels"]

    def of(self, name: str) -> Logits:
        """One model's logits."""
        return self._table[name]

    def add(self, name: str, path: Path) -> None:
        """Add logits that another stage wrote, if it did."""
        if path.exists():
            self._table[name] = np.load(path)

    def has(self, name: str) -> bool:
        """Whether the model was asked."""
        return name in self._table

    def seed(self, arm: str, seed: int) -> Logits:
        """An arm's logits for one seed."""
        return self._table[f"{arm}/{seed}"]

    def scores(self, arm: str) -> Float[np.ndarray, "seeds examples"]:
        """1 where right, a row per seed; one row for a model without seeds."""
        if arm in self._table:
            return correct(self._table[arm], self.labels)[None]
        return np.stack([correct(self.seed(arm, seed), self.labels) for seed in self._seeds])


def model_result(context: Context, answers: Answers, arm: str, *, shipped: bool) -> ModelResult:
    """A student or baseline over its seeds."""
    found = trained(context, arm)
    module = student_of(context, found.best)
    results = seed_results(answers, found)
    parameters = count_parameters(module)
    return ModelResult(
        name=arm,
        parameters=parameters,
        bytes=parameters * _FP32_BYTES,
        metrics=mean_metrics([result.metrics for result in results]),
        seeds=results,
        shipped_seed=found.best.seed if shipped else None,
        tried=[
            {**_choice(found, job.choice), "validation": result.validation} for job, result in found.tried
        ],
    )


def seed_results(answers: Answers, found: Trained) -> list[SeedResult]:
    """Each seed's training and what it reached on the test data."""
    return [
        SeedResult(
            seed=job.seed,
            metrics=metrics(answers.seed(job.arm, job.seed), answers.labels),
            validation=result.validation,
            seconds=result.seconds,
            cpu_seconds=result.cpu_seconds,
            choice=_choice(found, job.choice),
        )
        for job, result in found.seeds
    ]


def mean_metrics(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over seeds."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def assistants(context: Context, answers: Answers) -> list[AssistantResult]:
    """The models between teacher and student, in their order."""
    return [_assistant(context, answers, arm) for arm in assistant_arms(context.recipe)]


def _assistant(context: Context, answers: Answers, arm: Arm) -> AssistantResult:
    result = result_of(context, assistant_job(context.recipe, arm.name))
    if result is None:
        raise RunError(f"{arm.name} is not trained. Run the same command again.")
    parameters = count_parameters(answering_module(context, arm.name))
    return AssistantResult(
        name=arm.name,
        model=arm.model.kind,
        learned_from=arm.answerer,
        parameters=parameters,
        bytes=parameters * _FP32_BYTES,
        metrics=metrics(answers.of(arm.name), answers.labels),
        validation=result.validation,
        seconds=result.seconds,
        cpu_seconds=result.cpu_seconds,
    )


def retained(answers: Answers, shipped_seed: int, resamples: int) -> Retention:
    """How much of the teacher's main metric the student keeps."""
    teacher = answers.scores("teacher")[0]
    found = retention(answers.scores("student"), teacher, resamples=resamples)
    shipped = float(correct(answers.seed("student", shipped_seed), answers.labels).mean())
    return Retention(**asdict(found), shipped=shipped / teacher.mean() if teacher.mean() > 0 else None)


def recovered(answers: Answers, resamples: int) -> Estimate:
    """How much of what there was to gain is gained."""
    teacher = answers.scores("teacher")[0]
    found = gap(answers.scores("student"), answers.scores("no-teacher"), teacher, resamples=resamples)
    return Estimate(**asdict(found))


def judged(context: Context, answers: Answers, against: str) -> Judgement:
    """The student's verdict against a control."""
    evaluation = context.recipe.evaluation
    return verdict(
        answers.scores("student"),
        answers.scores(against),
        margin=evaluation.margin,
        resamples=evaluation.bootstrap,
    )


def controls(
    context: Context, answers: Answers, facts: Mapping[str, Any], files: Sequence[Mapping[str, Any]]
) -> list[Control]:
    """Every control that was run, in the recipe's order."""
    return [
        _control(context, answers, name, facts, files)
        for name in context.recipe.controls
        if answers.has(name) or name in student_arms(context.recipe)
    ]


def _control(
    context: Context,
    answers: Answers,
    name: str,
    facts: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
) -> Control:
    judgement = judged(context, answers, name)
    labels, teacher = _given(context, name)
    seeds: list[SeedResult] = []
    parameters, size = facts.get(name, {}).get("parameters"), None
    if name in student_arms(context.recipe):
        result = model_result(context, answers, name, shipped=False)
        seeds, parameters, size = result.seeds, result.parameters, result.bytes
        scores = result.metrics
    else:
        scores = metrics(answers.of(name), answers.labels)
        size = parameters * _FP32_BYTES if parameters else None
    if name == "quantised-teacher":
        size = next(
            file["bytes"] for file in files if file["model"] == "teacher" and file["precision"] == "int8"
        )
    given = len(context.splits.labelled) if labels == "given" else len(context.splits.train)
    return Control(
        name=name,
        labels=f"{given:,}" if labels != "none" else "the teacher's",
        teacher=teacher,
        parameters=parameters,
        bytes=size,
        metrics=scores,
        seeds=seeds,
        word=judgement.word,
        difference=judgement.difference,
        low=judgement.low,
        high=judgement.high,
        p=judgement.p,
    )


def _given(context: Context, name: str) -> tuple[str, str]:
    """Which labels a control was given, and what of the teacher."""
    labels, teacher = GIVEN[name]
    if name == "pseudo-labels" and context.recipe.assistants:
        return labels, "the last assistant's largest class for every sample"
    return labels, teacher


def fidelities(answers: Answers, shipped: Logits, baseline: Logits | None) -> dict[str, float | None]:
    """The shipped student beside the teacher, and the baseline's share of the teacher's mistakes."""
    teacher, labels = answers.of("teacher"), answers.labels
    found: dict[str, float | None] = dict(asdict(fidelity(shipped, teacher, labels)))
    if baseline is not None:
        beside = fidelity(baseline, teacher, labels)
        found |= {
            "baseline_inherited_errors": beside.inherited_errors,
            "baseline_agreement": beside.agreement,
        }
    return found


def calibrations(
    answers: Answers, models: Mapping[str, Logits]
) -> tuple[dict[str, dict[str, float]], dict[str, list[Bin]]]:
    """Calibration numbers and reliability bins by model."""
    numbers, bins = {}, {}
    for name, logits in models.items():
        found = calibration(logits, answers.labels)
        numbers[name] = {"ece": found.ece, "nll": found.nll, "brier": found.brier}
        bins[name] = [
            Bin(confidence=bar.confidence, accuracy=bar.accuracy, count=bar.count)
            for bar in found.bins
            if bar.confidence is not None and bar.accuracy is not None
        ]
    return numbers, bins


def classes(
    context: Context, answers: Answers, shipped: Logits, baseline: Logits | None
) -> list[ClassResult]:
    """Recall of each class, and how many of its samples the student lost."""
    teacher = per_class(answers.of("teacher"), answers.labels, names=context.classes)
    student = per_class(shipped, answers.labels, names=context.classes)
    other = None if baseline is None else per_class(baseline, answers.labels, names=context.classes)
    missing = lost(shipped, answers.of("teacher"), answers.labels)
    return [
        ClassResult(
            name=row.name,
            support=row.support,
            teacher=teacher[index].recall,
            student=row.recall,
            baseline=None if other is None else other[index].recall,
            lost=len(missing.get(index, [])),
        )
        for index, row in enumerate(student)
    ]


def lost_samples(context: Context, answers: Answers, shipped: Logits) -> list[Lost]:
    """Samples that the teacher gets right and the shipped student wrong: the most confident of each class."""
    chances, test = probabilities(shipped), context.splits.test
    missing = lost(shipped, answers.of("teacher"), answers.labels)
    each = max(1, _LOST_SHOWN // max(1, len(missing)))
    return [
        Lost(
            row=row,
            name=test.names[row] if test.names else None,
            label=context.classes[label],
            student=context.classes[int(shipped[row].argmax())],
            confidence=float(chances[row].max()),
        )
        for label, rows in missing.items()
        for row in rows[:each]
    ]


def curves(context: Context) -> list[Curve]:
    """The learning curves of every seed of every arm, and of the one training of each assistant."""
    students = [
        Curve(model=arm, seed=job.seed, **result.curve)
        for arm in student_arms(context.recipe)
        for job, result in trained(context, arm).seeds
    ]
    jobs = [assistant_job(context.recipe, arm.name) for arm in assistant_arms(context.recipe)]
    between = [
        Curve(model=job.arm, seed=job.seed, **result.curve)
        for job in jobs
        if (result := result_of(context, job)) is not None
    ]
    return [*students, *between]


def warnings_of(context: Context) -> list[str]:
    """What a reader must know before believing the numbers."""
    found = []
    if text := validation_warning(len(context.splits.validation), margin=context.recipe.evaluation.margin):
        found.append(text)
    if len(context.recipe.seeds) == 1:
        found.append("One seed was trained: the intervals cover other examples, not other seeds.")
    return found


def _choice(found: Trained, choice: int) -> dict[str, float | bool]:
    changed: dict[str, float | bool] = found.arm.choices[choice].model_dump(exclude_none=True)
    return changed
