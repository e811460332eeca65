"""Distil without data: images are made from what the teacher's BatchNorm layers remember of its own.

Run it with ``python examples/data_free.py [FOLDER]``; it takes about fifteen seconds.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import limbeck as lb
from limbeck.training.inversion import Inversion, invert
from limbeck.training.made import collected

SHAPE, CLASSES, SAMPLES = (1, 8, 8), 10, 1200
PREPROCESSING = lb.Preprocessing(mean=(0.3,), std=(0.375,))
SETTINGS = Inversion(steps=50, batch_examples=300, learning_rate=0.2, jitter=0)


def trained(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    """Stands for a teacher whose data are gone: here, two hundred plain steps."""
    torch.manual_seed(0)
    teacher = lb.Residual(width=16, depth=1, stages=2).build(SHAPE, CLASSES)
    inputs, answers = PREPROCESSING.apply(torch.from_numpy(images)), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(200):
        rows = torch.randint(len(inputs), (64,))
        loss = nn.functional.cross_entropy(teacher(inputs[rows]), answers[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return teacher


def made(teacher: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Images as bytes, and the classes they were made for; nothing but the teacher goes in."""
    black_and_white = PREPROCESSING.apply(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
    finished = []
    for step in invert(
        teacher, shape=SHAPE, classes=CLASSES, samples=SAMPLES, settings=SETTINGS, bounds=black_and_white
    ):
        if len(step.labels):
            finished.append(step)
            print(f"step {step.number} of {step.steps}: {step.losses}")
    inputs, labels = collected(finished)
    return PREPROCESSING.raw(inputs).numpy(), labels.numpy()


def main(out: str) -> None:
    """Real images train the teacher and test the student; made ones are all that the student learns from."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) * 255 / 16).round().astype("uint8")
    order = np.random.default_rng(0).permutation(len(images))
    known, held_out = order[400:], order[:400]
    teacher = trained(images[known], labels[known])
    run = lb.distill(
        teacher=teacher,
        student=lb.Separable(width=16, depth=1, stem_stride=1),
        train=made(teacher),
        test=(images[held_out], labels[held_out]),
        preprocessing=PREPROCESSING,
        augmentation=lb.Augmentation(shift=1),
        method=lb.KD(temperature=4),
        training=lb.Training(steps=500, batch_examples=64, schedule=lb.OneCycle()),
        controls=[],
        seeds=[0],
        evaluation=lb.Evaluation(robustness=False),
        export=lb.Exports(formats=["safetensors"]),
        plan=lb.Plan(),
        out=out,
    )
    print(run.report.summary)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/data-free")
