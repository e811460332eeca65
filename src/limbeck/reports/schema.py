"""The contract of ``report.json``: every field, its unit, and when it is null."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from limbeck.types import Frozen

SCHEMA = "limbeck.report/1"
"""The version of this contract; a change that readers must know of raises it."""

Metrics = dict[str, float]


class Estimate(Frozen):
    """A number with its 95 % interval, or null with the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    """Why a number is missing, or what the interval does not cover."""


class Retention(Estimate):
    """Student over teacher in the main metric, over seeds and examples."""

    shipped: float | None = None
    """The same for the one student that is exported."""


class SeedResult(Frozen):
    """One training of a student or control."""

    seed: int
    metrics: Metrics
    """On the test data."""
    validation: float
    """The main metric on the validation data, by which weights and choices were picked."""
    seconds: float
    """Wall seconds of the training; other trainings may have run beside it."""
    cpu_seconds: float
    choice: dict[str, float | bool]
    """What the small tuning on validation data changed; empty for the recipe's own values."""


class ModelResult(Frozen):
    """A student or its baseline: the mean over seeds, and each seed."""

    name: str
    parameters: int
    bytes: int
    """Size of the weights in fp32."""
    metrics: Metrics
    """On the test data, mean over seeds."""
    seeds: list[SeedResult]
    shipped_seed: int | None = None
    """The seed that is exported: the best on validation data."""
    tried: list[dict[str, Any]] = Field(default_factory=list)
    """Every tuning choice and what it reached on validation data."""


class Asked(Frozen):
    """How the teacher answered for the training samples, checked on some of them against plain fp32 in torch."""

    way: str
    """Engine, number format, folding, layout and threads."""
    batch_examples: int
    folds: int
    """Of how many folds each was answered for by a teacher that was not trained on it; 0: by the teacher itself."""
    samples: int
    """How many the check looked at."""
    agreement: float
    """Share of them with the same largest class."""
    kl_nats: float
    refused: list[str] = Field(default_factory=list)
    """Faster ways whose answers were not close enough."""


class TeacherResult(Frozen):
    """The teacher as this pipeline measured it."""

    name: str
    parameters: int
    bytes: int
    metrics: Metrics
    ms_per_example: float
    """CPU milliseconds of one answer of the teacher in torch, as the plan chose."""
    digest: str
    labels: int
    """Training labels it saw; 0 where it came trained."""
    view: str
    """What it was asked about: ``clean``, ``same``, ``K fixed views``, or ``one view an epoch, E epochs``."""
    asked: Asked | None = None
    """How its answers were computed, and how close they are to plain fp32; null in older reports."""
    warnings: list[str] = Field(default_factory=list)


class AssistantResult(Frozen):
    """A model between teacher and student: it learned from the one before it and answered for the one after it."""

    name: str
    model: str
    """Its kind."""
    learned_from: str
    """``teacher``, or another assistant."""
    parameters: int
    bytes: int
    """Size of the weights in fp32."""
    metrics: Metrics
    """On the test data."""
    validation: float
    """The main metric on the validation data."""
    seconds: float
    """Wall seconds of its training."""
    cpu_seconds: float


class Verdict(Frozen):
    """The student against the baseline: crossed bootstrap over seeds and examples."""

    word: Literal["beats", "ties", "hurts", "open"]
    difference: float
    low: float
    high: float
    margin: float
    p: float | None
    """Paired t-test over seeds; null with one seed."""
    line: str
    """The verdict as a sentence that also names the strongest control."""


class Control(Frozen):
    """What else could have been done, and how the student stands to it."""

    name: str
    labels: str
    """Which labels it was given."""
    teacher: str
    """What it was given of the teacher."""
    parameters: int | None
    bytes: int | None
    """Size of its weights, or of its file where it is one."""
    metrics: Metrics
    seeds: list[SeedResult] = Field(default_factory=list)
    word: Literal["beats", "ties", "hurts", "open"]
    """The student's verdict against this control."""
    difference: float
    """Student minus control in the main metric."""
    low: float
    high: float
    p: float | None = None


class ClassResult(Frozen):
    """One class: recall on the test data."""

    name: str
    support: int
    teacher: float | None
    student: float | None
    """The shipped student; null where the class has no test data."""
    baseline: float | None
    lost: int
    """Samples that the teacher gets right and the shipped student wrong."""


class Bin(Frozen):
    """One bin of the reliability diagram."""

    confidence: float
    accuracy: float
    count: int


class Efficiency(Frozen):
    """One file in the runtime named, threads fixed, all files interleaved in one process."""

    p50_ms: float
    p95_ms: float
    """Wall milliseconds of one request of one example."""
    examples_per_second: float
    """At batch 32, wall."""
    cpu_ms: float
    """CPU milliseconds of one request of one example."""
    peak_rss_mb: float
    """Largest resident memory of a fresh process that answers with this file, in MB."""
    cost_per_million: float
    """In the recipe's currency: CPU seconds of a million requests times the recipe's price."""
    energy_per_million: dict[str, Any]
    """``value`` in kWh and the ``method`` of the estimate."""


class ExportResult(Frozen):
    """A file that was written, run, and compared with the trained model."""

    model: Literal["student", "teacher"]
    format: str
    path: str
    """Relative to the run folder."""
    bytes: int
    precision: str
    max_abs_error: float
    """Largest difference of a logit from the trained model's."""
    agreement: float
    metrics: Metrics
    """On the test data."""
    quantised_operators: int | None = None
    efficiency: Efficiency | None = None


class Curve(Frozen):
    """A learning curve: the training loss, and the main metric on validation data."""

    model: str
    seed: int
    steps: list[int]
    losses: list[float]
    validation_steps: list[int]
    validation: list[float]


class Lost(Frozen):
    """A sample that the teacher gets right and the shipped student wrong."""

    row: int
    """Its row in the test data."""
    name: str | None
    label: str
    student: str
    confidence: float
    """The student's, in its wrong answer."""


class Report(Frozen):
    """Everything a run found."""

    schema_: str = Field(SCHEMA, alias="schema")
    limbeck: str
    """The version that wrote it."""
    name: str
    task: str
    metric: str
    """The main metric; higher is better."""
    summary: str
    """One paragraph in plain words."""
    data: dict[str, Any]
    """Source, sizes of the splits, labels given, classes, digest, contamination."""
    method: list[dict[str, Any]]
    teacher: TeacherResult
    assistants: list[AssistantResult] = Field(default_factory=list)
    """Between teacher and student, in the order in which they were distilled; empty for most runs."""
    student: ModelResult
    baseline: ModelResult | None
    retention: Retention
    verdict: Verdict | None
    controls: list[Control]
    gap: Estimate
    fidelity: dict[str, float | None]
    """agreement, kl_nats, inherited_errors, baseline_inherited_errors, for the shipped student on the test data."""
    calibration: dict[str, dict[str, float]]
    """ece, nll, brier for teacher, student, baseline."""
    reliability: dict[str, list[Bin]]
    per_class: list[ClassResult]
    slices: list[dict[str, Any]]
    robustness: dict[str, Any]
    """``examples``, and for each corruption and severity the main metric of teacher, student, baseline."""
    out_of_distribution: dict[str, Any]
    exports: list[ExportResult]
    ratios: dict[str, float]
    """How many times smaller and faster: parameters, bytes, latency; the names say of what."""
    lost: list[Lost]
    curves: list[Curve]
    advice: list[str]
    warnings: list[str]
    gate: dict[str, Any] | None
    """``retention`` asked for and whether it ``passed``; null without a gate."""
    plan: dict[str, Any]
    seconds: dict[str, float]
    provenance: dict[str, Any]

    model_config = ConfigDict(**Frozen.model_config, populate_by_name=True)
