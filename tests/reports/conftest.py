"""A report as a real run would leave it, with numbers of a plausible size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from limbeck.reports import (
    Bin,
    ClassResult,
    Control,
    Curve,
    Efficiency,
    Estimate,
    ExportResult,
    Lost,
    ModelResult,
    Report,
    Retention,
    SeedResult,
    TeacherResult,
    Verdict,
)

CLASSES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
LOSSES = (0.031, 0.004, 0.022, 0.016, 0.028, 0.009, 0.061, 0.012, 0.003, -0.004)
Sample = Callable[..., Report]


def scores(accuracy: float) -> dict[str, float]:
    return {
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.0008,
        "nll": 2.6 * (1 - accuracy),
        "brier": 1.45 * (1 - accuracy),
        "ece": 0.2 * (1 - accuracy),
    }


def seeds(*accuracies: float) -> list[SeedResult]:
    return [
        SeedResult(
            seed=number,
            metrics=scores(accuracy),
            validation=accuracy + 0.003,
            seconds=71.4 + number,
            cpu_seconds=69.8 + number,
            choice={"learning_rate": 0.1} if number else {},
        )
        for number, accuracy in enumerate(accuracies)
    ]


def model(name: str, accuracies: tuple[float, ...], shipped: int | None) -> ModelResult:
    return ModelResult(
        name=name,
        parameters=21_418,
        bytes=85_672,
        metrics=scores(float(np.mean(accuracies))),
        seeds=seeds(*accuracies),
        shipped_seed=shipped,
        tried=[{"validation": 0.8931}, {"learning_rate": 0.1, "validation": 0.8907}],
    )


def control(name: str, accuracy: float, word: str, size: int | None = 85_672, **rest: Any) -> Control:
    difference = 0.8957 - accuracy
    return Control(
        name=name,
        labels=rest.get("labels", "1,000"),
        teacher=rest.get("teacher", "nothing"),
        parameters=21_418,
        bytes=size,
        metrics=scores(accuracy),
        seeds=seeds(accuracy),
        word=word,
        difference=difference,
        low=difference - 0.0049,
        high=difference + 0.0052,
        p=0.0021,
    )


def curve(name: str, seed: int, top: float, bottom: float) -> Curve:
    noise = np.random.default_rng(seed + len(name)).normal(0, 0.03, 600)
    steps = list(range(2, 1202, 2))
    return Curve(
        model=name,
        seed=seed,
        steps=steps,
        losses=[
            (bottom + 2 * math.exp(-step / 160)) * (1 + noise[place]) for place, step in enumerate(steps)
        ],
        validation_steps=list(range(200, 1201, 200)),
        validation=[
            top - 0.2 * math.exp(-step / 260) + 0.05 * noise[step // 3] for step in range(200, 1201, 200)
        ],
    )


def export(owner: str, form: str, size: int, accuracy: float, p50: float | None) -> ExportResult:
    names = {"onnx": "model.onnx", "onnx-int8": "model-int8.onnx", "pt2": "model.pt2"}
    folder = "exports" if owner == "student" else "exports/teacher"
    int8 = form == "onnx-int8"
    return ExportResult(
        model=owner,
        format=form,
        path=f"{folder}/{names.get(form, 'model.safetensors')}",
        bytes=size,
        precision="int8" if int8 else "fp32",
        max_abs_error=0.3127 if int8 else 4.3e-6,
        agreement=0.9934 if int8 else 1.0,
        metrics=scores(accuracy),
        quantised_operators=18 if int8 else None,
        efficiency=None if p50 is None else efficiency(p50),
    )


def efficiency(p50: float) -> Efficiency:
    return Efficiency(
        p50_ms=p50,
        p95_ms=p50 * 1.23,
        examples_per_second=1480 / p50,
        cpu_ms=p50 * 1.04,
        peak_rss_mb=61.2 + 8 * p50,
        cost_per_million=p50 * 1.04 * 1e3 / 3600 * 0.05,
        energy_per_million={
            "value": p50 * 1.04 * 1e3 * 10 / 3.6e6,
            "unit": "kWh",
            "method": "CPU time at 10 W a core",
        },
    )


def robust(clean: float, falls: tuple[float, float, float, float]) -> dict[str, Any]:
    kinds = ("noise", "blur", "contrast", "shift")
    table = {
        kind: [clean - fall * place for place in (0.25, 0.55, 1)]
        for kind, fall in zip(kinds, falls, strict=True)
    }
    return {"clean": clean, "corrupted": table, "mean": float(np.mean(list(table.values())))}


def bins(tilt: float) -> list[Bin]:
    places = np.linspace(0.24, 0.995, 12)
    return [
        Bin(
            confidence=float(at),
            accuracy=float(np.clip(at - tilt * (1 - at), 0, 1)),
            count=int(40 + 6000 * at**9),
        )
        for at in places
    ]


def full() -> dict[str, Any]:
    line = (
        "The student beats the same student without a teacher: +0.0598 (+0.0540 to +0.0655; margin 0.005). "
        "The strongest control is the merely quantised teacher with 0.9194: the student is worse than it "
        "(-0.0237, -0.0286 to -0.0188)."
    )
    arms = (
        ("student", 0.897, 0.35),
        ("no-teacher", 0.838, 0.012),
        ("pseudo-labels", 0.889, 0.11),
        ("supervised", 0.9, 0.2),
    )
    return {
        "limbeck": "0.1.0",
        "name": "demo",
        "task": "classification",
        "metric": "accuracy",
        "summary": "The student has 21,418 parameters, 32.5 times fewer than the teacher. " + line,
        "data": {
            "source": "fashion-mnist",
            "name": "Fashion-MNIST",
            "train": 55_000,
            "labelled": 1000,
            "validation": 5000,
            "test": 10_000,
            "classes": list(CLASSES),
            "kind": "image",
            "shape": [28, 28, 1],
            "digest": "5f0c1b9a77e2d413",
            "contamination": {
                "train_validation": 2,
                "train_test": 0,
                "validation_test": 0,
                "within_train": 43,
            },
        },
        "method": [
            {"kd": {"weight": 1.0, "temperature": 4.0}},
            {"ce": {"weight": 0.1, "label_smoothing": 0.0}},
        ],
        "teacher": TeacherResult(
            name="residual",
            parameters=696_618,
            bytes=2_786_472,
            metrics=scores(0.9201),
            ms_per_example=0.312,
            digest="c0ffee1234567890",
            labels=55_000,
            view="clean",
        ),
        "student": model("student", (0.8949, 0.8963, 0.8959), 1),
        "baseline": model("no-teacher", (0.8349, 0.8371, 0.8358), None),
        "retention": Retention(value=0.9735, low=0.9689, high=0.9779, shipped=0.9741),
        "verdict": Verdict(
            word="beats", difference=0.0598, low=0.054, high=0.0655, margin=0.005, p=0.00021, line=line
        ),
        "controls": [
            control("no-teacher", 0.8359, "beats"),
            control("pseudo-labels", 0.8889, "beats", teacher="its largest class for every sample"),
            control("supervised", 0.8969, "ties", labels="55,000"),
            control(
                "quantised-teacher",
                0.9194,
                "hurts",
                724_310,
                labels="the teacher's",
                teacher="the teacher itself, as int8",
            ),
            control("linear", 0.7861, "beats", 31_400),
        ],
        "gap": Estimate(value=0.7102, low=0.6587, high=0.7604),
        "fidelity": {
            "agreement": 0.9171,
            "kl_nats": 0.1283,
            "inherited_errors": 0.6412,
            "lost": 431,
            "gained": 193,
            "baseline_inherited_errors": 0.5104,
            "baseline_agreement": 0.8561,
        },
        "calibration": {
            name: {"ece": value, "nll": 5 * value, "brier": 3 * value}
            for name, value in (("teacher", 0.0214), ("student", 0.0312), ("baseline", 0.0893))
        },
        "reliability": {"teacher": bins(0.1), "student": bins(0.2), "baseline": bins(0.5)},
        "per_class": [
            ClassResult(
                name=name,
                support=1000,
                teacher=0.96 - 2 * max(loss, 0),
                student=0.96 - 2 * max(loss, 0) - loss,
                baseline=0.93 - 5 * abs(loss),
                lost=int(1100 * abs(loss)),
            )
            for name, loss in zip(CLASSES, LOSSES, strict=True)
        ],
        "slices": [],
        "robustness": {
            "examples": 1000,
            "teacher": robust(0.919, (0.31, 0.22, 0.18, 0.09)),
            "student": robust(0.897, (0.38, 0.25, 0.21, 0.13)),
            "baseline": robust(0.836, (0.46, 0.27, 0.34, 0.17)),
        },
        "out_of_distribution": {},
        "exports": [
            export("student", "onnx", 94_718, 0.8963, 0.0243),
            export("student", "onnx-int8", 43_902, 0.8957, 0.0312),
            export("student", "pt2", 161_334, 0.8963, None),
            export("student", "safetensors", 91_020, 0.8963, None),
            export("teacher", "onnx", 2_790_112, 0.9201, 0.7118),
            export("teacher", "onnx-int8", 724_310, 0.9194, 0.4402),
        ],
        "ratios": {
            "parameters": 32.5,
            "bytes_onnx": 29.5,
            "bytes_onnx-int8": 63.6,
            "latency_onnx": 29.3,
            "latency_onnx-int8": 22.8,
            "latency_fastest": 29.3,
        },
        "lost": [
            Lost(
                row=211 * place,
                name=None,
                label=CLASSES[place % 10],
                student=CLASSES[(place * 3 + 1) % 10],
                confidence=0.995 - 0.01 * place,
            )
            for place in range(36)
        ],
        "curves": [curve(name, seed, top, bottom) for name, top, bottom in arms for seed in (0, 1, 2)],
        "advice": [
            "For size ship exports/model-int8.onnx: 43.9 KB, 63.6 times smaller than the teacher's.",
            "For speed ship exports/model.onnx: 0.0243 ms a request, 29.3 times faster than the teacher.",
            "Distil: the student gains from its teacher (+0.0598 accuracy, +0.0540 to +0.0655).",
        ],
        "warnings": ["2 samples are in training and in validation data."],
        "gate": {"retention": 0.95, "passed": True},
        "plan": {"teacher": {"precision": "bf16", "layout": "channels_last", "threads": 2}, "workers": 2},
        "seconds": {
            "check": 2.1,
            "plan": 11.8,
            "teacher": 213.4,
            "label": 17.2,
            "baseline": 141.0,
            "distil": 74.6,
            "evaluate": 21.9,
            "export": 33.4,
            "total": 515.4,
        },
        "provenance": {
            "limbeck": "0.1.0",
            "code": "0123456789abcdef",
            "commit": None,
            "packages": {"torch": "2.13.0", "onnxruntime": "1.24.0"},
            "hardware": {"cpu": "A processor", "cores": 2, "memory_gb": 8.2, "python": "3.11.2"},
            "seeds": [0, 1, 2],
            "rebuildable": True,
        },
    }


@pytest.fixture
def sample() -> Sample:
    """Builds a report; what is given replaces what a full run would hold."""
    return lambda **changes: Report(**{**full(), **changes})


@pytest.fixture
def pictures() -> NDArray[np.uint8]:
    """One grey picture for each lost sample of the full report."""
    rows, columns = np.mgrid[0:28, 0:28]
    frames = [
        127 + 120 * np.sin(rows / (2 + place % 5)) * np.cos(columns / (3 + place % 7)) for place in range(36)
    ]
    return np.stack(frames)[..., None].astype(np.uint8)


@pytest.fixture
def bare(sample: Sample) -> Report:
    """A report without any part that may be missing."""
    return sample(
        data={},
        method=[],
        baseline=None,
        retention=Retention(value=None, reason="the teacher is too close to zero"),
        verdict=None,
        controls=[],
        gap=Estimate(value=None, reason="there is no baseline"),
        fidelity={},
        calibration={},
        reliability={},
        per_class=[],
        robustness={},
        exports=[],
        ratios={},
        lost=[],
        curves=[],
        advice=[],
        warnings=[],
        gate=None,
        plan={},
        seconds={},
        provenance={},
    )
