"""The plan: a few seconds of trial steps say how this machine is used best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.recipe.plan import Asking, Execution, Layout, Matmul, Plan, Precision
from limbeck.recipe.training import SGD
from limbeck.threads import refuse_dynamic_threads
from limbeck.training import optimizer as optimizers
from limbeck.training.asking import EngineSource, Question, Questions
from limbeck.training.precision import arithmetic, autocast, laid_out
from limbeck.training.products import ProductErrors, product_errors
from limbeck.training.randomness import drawing

ModelSource = Callable[[], nn.Module]
Work = Literal["teacher", "label", "student"]

_FORMATS: tuple[tuple[Precision, Layout, Matmul], ...] = (
    ("fp32", "contiguous", "highest"),
    ("fp32", "channels_last", "highest"),
    ("fp32", "channels_last", "medium"),
    ("bf16", "channels_last", "highest"),
)
_BUDGET = {"teacher": 0.45, "label": 0.2, "student": 0.35}
_ROUNDS = 7
_HOPELESS = 1.5
"""A trial that takes this many times as long as the best with as many threads is not repeated."""
_WORTH_IT = 0.95
"""A less plain choice must take less than this share of the time."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One trial: the median time of its steps."""

    work: Work
    execution: Execution
    batch_examples: int
    step_seconds: float
    repetitions: int

    @property
    def example_seconds(self) -> float:
        """Time for one example."""
        return self.step_seconds / self.batch_examples


@dataclass(frozen=True, slots=True)
class Measured:
    """The plan that was chosen, and what it was chosen by."""

    plan: Plan
    products: ProductErrors
    """The error of fp32 matrix products, by which ``medium`` was tried or not."""
    timings: tuple[Timing, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Problem:
    shape: tuple[int, ...]
    classes: int
    device: torch.device

    def inputs(self, examples: int) -> Tensor:
        return torch.rand(examples, *self.shape, device=self.device)


@dataclass(slots=True)
class _Trial:
    execution: Execution
    batch_examples: int
    step: Callable[[], object]
    seconds: list[float]

    @property
    def example_seconds(self) -> float:
        return median(self.seconds) / self.batch_examples


def measure_plan(
    student_factory: ModelSource,
    teacher_factory: ModelSource | None,
    shape: tuple[int, ...],
    classes: int,
    *,
    batch_examples: int,
    cores: int,
    teacher_batch_examples: int | None = None,
    device: torch.device | str = "cpu",
    budget_seconds: float = 8.0,
    asked_examples: int = 0,
    engine: EngineSource | None = None,
) -> Measured:
    """Try formats, layouts, matrix products, threads and batch sizes on random data, in turn, and take the fastest.

    The plainer choice wins where another is less than 5 % faster. Students train side by side, one thread
    each, where that gets more steps done than one after the other on all cores.

    Args:
        student_factory: Builds a student.
        teacher_factory: Builds a teacher; ``None`` where there is none to train or ask.
        shape: A model's input without the batch, e.g. (1, 28, 28) or (64,).
        classes: Logits of both.
        batch_examples: The student's batch.
        cores: Cores to use.
        teacher_batch_examples: The batch that the teacher trains on; the student's by default.
        device: Where the models run.
        budget_seconds: Seconds to spend, roughly; every choice is tried at least once.
        asked_examples: About how many examples the teacher will be asked in all; where that takes minutes, exporting
            it to another engine is tried too.
        engine: Makes a model's answers from onnxruntime; none: torch alone is tried.

    Returns:
        The plan and the measured times, for the record.
    """
    refuse_dynamic_threads()
    began = time.perf_counter()
    problem = _Problem(shape, classes, torch.device(device))
    counts = sorted({1, cores}) if problem.device.type == "cpu" else [1]
    products = product_errors()
    choices = executions(shape, counts, medium=problem.device.type == "cpu" and products.fp32)
    timings: list[Timing] = []
    with drawing(0, device=problem.device):
        student = _trained(problem, student_factory, batch_examples, choices)
        timings += _timed("student", student, budget_seconds * _BUDGET["student"], problem.device)
        if teacher_factory is not None:
            teacher = _trained(problem, teacher_factory, teacher_batch_examples or batch_examples, choices)
            timings += _timed("teacher", teacher, budget_seconds * _BUDGET["teacher"], problem.device)
            most = [choice for choice in choices if choice.threads == max(counts)]
            questions = Questions(teacher_factory().to(problem.device).eval(), problem.shape, engine=engine)
            budget = budget_seconds * _BUDGET["label"]
            timings += _asked(problem, questions, most, budget, asked_examples)
    plan = _chosen(timings, max(counts))
    return Measured(plan, products, tuple(timings), time.perf_counter() - began)


def executions(shape: tuple[int, ...], counts: Sequence[int], *, medium: bool) -> list[Execution]:
    """What can be chosen from, plainest first; only images have channels to put last.

    Args:
        shape: One input.
        counts: Numbers of threads.
        medium: Whether ``matmul: medium`` may be tried.
    """
    images = len(shape) == 3
    formats = [each for each in _FORMATS if images or each[:2] != ("fp32", "contiguous")]
    return [
        Execution(precision=precision, layout=layout if images else "contiguous", threads=count, matmul=way)
        for precision, layout, way in formats
        if medium or way == "highest"
        for count in counts
    ]


def _trained(
    problem: _Problem, build: ModelSource, examples: int, choices: Sequence[Execution]
) -> list[_Trial]:
    inputs = problem.inputs(examples)
    labels = torch.randint(problem.classes, (examples,), device=problem.device)
    trials = []
    for execution in choices:
        model = laid_out(build().to(problem.device).train(), execution)
        step = _training_step(model, laid_out(inputs, execution), labels, execution, problem.device)
        trials.append(_Trial(execution, examples, step, []))
    return trials


def _training_step(
    model: nn.Module, inputs: Tensor, labels: Tensor, execution: Execution, device: torch.device
) -> Callable[[], object]:
    optimizer = optimizers.build(SGD(learning_rate=1e-4), [model])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(execution, device=device):
            logits = model(inputs)
        torch.autograd.backward(nn.functional.cross_entropy(logits.float(), labels))
        optimizer.step()

    return step


def _asked(
    problem: _Problem,
    questions: Questions,
    choices: Sequence[Execution],
    budget_seconds: float,
    asked_examples: int,
) -> list[Timing]:
    """The ways of asking side by side, and then the fastest of them with other batches."""
    ways = [_asking(each) for each in questions.ways(choices)]
    _seconds(ways[0], problem.device)
    plainest = _seconds(ways[0], problem.device) / ways[0].batch_examples
    other = questions.other_engine(choices[0].threads, all_seconds=plainest * asked_examples)
    ways += [_asking(each) for each in other]
    timings = _timed("label", ways, budget_seconds / 2, problem.device)
    best = _fastest(timings)
    sizes = questions.sizes(
        Asking.model_validate(best.execution),
        example_seconds=best.example_seconds,
        most_seconds=budget_seconds / 4,
    )
    return timings + _timed("label", [_asking(each) for each in sizes], budget_seconds / 2, problem.device)


def _asking(question: Question) -> _Trial:
    return _Trial(question.asking, question.examples, question.step, [])


def _timed(work: Work, trials: list[_Trial], budget_seconds: float, device: torch.device) -> list[Timing]:
    """Repeat the trials in turn until the time is spent; the first round warms up.

    There are at least two rounds, the second without the hopeless trials where the first took too long.
    """
    began = time.perf_counter()
    running = trials
    for number in range(_ROUNDS):
        for trial in running:
            trial.seconds.append(_seconds(trial, device))
        if number == 1:
            for trial in running:
                del trial.seconds[:-1]
        a_round_more = (time.perf_counter() - began) * (number + 2) / (number + 1)
        if number and a_round_more > budget_seconds:
            break
        if number or a_round_more > budget_seconds:
            running = [trial for trial in running if _hopeful(trial, running)]
    return [
        Timing(work, trial.execution, trial.batch_examples, median(trial.seconds), len(trial.seconds))
        for trial in trials
    ]


def _seconds(trial: _Trial, device: torch.device) -> float:
    with arithmetic(trial.execution):
        began = time.perf_counter()
        trial.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began


def _hopeful(trial: _Trial, others: list[_Trial]) -> bool:
    rivals = [other for other in others if other.execution.threads == trial.execution.threads]
    return trial.example_seconds <= _HOPELESS * min(rival.example_seconds for rival in rivals)


def _chosen(timings: list[Timing], cores: int) -> Plan:
    of = {
        work: [timing for timing in timings if timing.work == work]
        for work in ("student", "teacher", "label")
    }
    alone = _fastest([timing for timing in of["student"] if timing.execution.threads == 1])
    together = _fastest([timing for timing in of["student"] if timing.execution.threads == cores])
    side_by_side = cores > 1 and alone.step_seconds < cores * together.step_seconds
    student = alone if side_by_side else _fastest(of["student"])
    plan = Plan(student=student.execution, workers=cores if side_by_side else 1)
    if not of["teacher"]:
        return plan
    label = _fastest(of["label"])
    return plan.model_copy(
        update={
            "teacher": _fastest(of["teacher"]).execution,
            "label": label.execution,
            "label_next": _next(of["label"], label.execution),
            "label_batch_examples": label.batch_examples,
        }
    )


def _next(timings: list[Timing], chosen: Execution) -> tuple[Asking, ...]:
    """The other ways of asking that are clearly faster than the plainest, the fastest first."""
    plainest, *others = timings
    worth = [each for each in others if each.example_seconds <= _WORTH_IT * plainest.example_seconds]
    ranked = sorted(worth, key=lambda timing: timing.example_seconds)
    known = dict.fromkeys(Asking.model_validate(each.execution) for each in ranked)
    return tuple(each for each in known if each not in (chosen, plainest.execution))


def _fastest(timings: list[Timing]) -> Timing:
    """The plainest of those that are as good as the fastest."""
    best = min(timing.example_seconds for timing in timings)
    return next(timing for timing in timings if timing.example_seconds * _WORTH_IT <= best)
