"""The evaluate stage: every trained model meets the test data, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from limbeck.data import Source
from limbeck.evaluation import robustness
from limbeck.files import replacing, write_json
from limbeck.pipeline.answering import answering_module, student_of
from limbeck.pipeline.arms import assistant_arms, student_arms
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event
from limbeck.pipeline.predict import answers_for, logits_of
from limbeck.pipeline.students import trained
from limbeck.recipe import Execution
from limbeck.threads import all_threads

ROBUSTNESS_EXAMPLES = 1000
_LINEAR_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def evaluate(context: Context) -> Iterator[Event]:
    """Write ``evaluation/logits.npz`` (each model's answers to the test data) and ``evaluation/facts.json``.

    All models are computed in fp32 here, whatever the plan trains them in.
    """
    test = context.splits.test
    exact = Execution(threads=context.plan.threads)
    answers: dict[str, NDArray[np.float32]] = {}
    models = list(_models(context))
    total = len(models)
    for done, (name, module) in enumerate(models):
        yield Advanced("evaluate", name, done, total)
        answers[name] = logits_of(module, test, context.preprocessing, exact, context.device).numpy()
    facts: dict[str, Any] = {}
    if "linear" in context.recipe.controls:
        yield Advanced("evaluate", "linear", total, total)
        with all_threads(exact.threads):
            answers["linear"], facts["linear"] = _linear(context)
    answers["labels"] = test.labels.numpy()
    if context.recipe.evaluation.robustness:
        yield Advanced("evaluate", "robustness", total, total)
        facts["robustness"] = _robustness(context, exact)
    goal = context.folder.evaluation / "logits.npz"
    with replacing(goal) as file:
        np.savez(file, allow_pickle=False, **answers)
    write_json(context.folder.evaluation / "facts.json", facts)


def answers_of(context: Context) -> dict[str, NDArray[Any]]:
    """What the stage wrote: logits by model, and ``labels``."""
    with np.load(context.folder.evaluation / "logits.npz") as file:
        return {name: file[name] for name in file.files}


def _models(context: Context) -> Iterator[tuple[str, nn.Module]]:
    yield "teacher", context.teacher_module
    for assistant in assistant_arms(context.recipe):
        yield assistant.name, answering_module(context, assistant.name)
    for arm in student_arms(context.recipe):
        for job, _ in trained(context, arm).seeds:
            yield f"{arm}/{job.seed}", student_of(context, job).to(context.device)


def _linear(context: Context) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Logistic regression on the given labels, its strength chosen on validation data: a trivial model."""
    from sklearn.linear_model import LogisticRegression  # a second of imports that other stages do not need

    splits = context.splits
    train = splits.train.subset(splits.labelled)
    inputs, labels = _flat(context, train), train.labels.numpy()
    validation = _flat(context, splits.validation)
    fitted = []
    for strength in _LINEAR_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300).fit(inputs, labels)
        fitted.append((float(model.score(validation, splits.validation.labels.numpy())), strength, model))
    accuracy, strength, model = max(fitted, key=lambda entry: entry[0])
    scores = np.full((len(splits.test), len(context.classes)), -30.0, dtype=np.float32)
    logs = model.predict_log_proba(_flat(context, splits.test))
    scores[:, model.classes_] = np.maximum(logs, -30.0)
    parameters = int(model.coef_.size + model.intercept_.size)
    return scores, {"validation": accuracy, "strength": strength, "parameters": parameters}


def _flat(context: Context, source: Source) -> NDArray[np.float32]:
    raw = source.raw(torch.arange(len(source)))
    return context.preprocessing.apply(raw).flatten(1).numpy()


def _robustness(context: Context, exact: Execution) -> dict[str, Any]:
    """The main metric of teacher, shipped student and its baseline under seeded corruptions."""
    test = context.splits.test
    rows = torch.arange(min(len(test), ROBUSTNESS_EXAMPLES))
    models = {"teacher": context.teacher_module}
    for name, arm in (("student", "student"), ("baseline", "no-teacher")):
        if arm in student_arms(context.recipe):
            models[name] = student_of(context, trained(context, arm).best).to(context.device)
    image = context.preprocessing.kind == "image"
    found = robustness(
        {name: _predictor(context, module, exact) for name, module in models.items()},
        test.raw(rows).numpy(),
        test.labels[rows].numpy(),
        deviations=None if image else np.asarray(context.preprocessing.std, dtype=np.float32),
    )
    return {"examples": len(rows), **{name: asdict(result) for name, result in found.items()}}


def _predictor(
    context: Context, module: nn.Module, exact: Execution
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    def predict(raw: NDArray[Any]) -> NDArray[np.float32]:
        inputs = context.preprocessing.apply(torch.from_numpy(raw))
        return answers_for(module, torch.split(inputs, 256), exact, context.device).numpy()

    return predict
