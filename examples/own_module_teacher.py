"""Distil a trained torch module of your own: its normalisation, its weights, a small student.

Run it with ``python examples/own_module_teacher.py [FOLDER]``; it takes about half a minute.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import limbeck as lb

MEAN, STD = 0.3, 0.4


class Teacher(nn.Module):
    """Any module that turns normalised images [batch, 1, 8, 8] into logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, 10]."""
        logits: Tensor = self.layers(images)
        return logits


def trained(images: np.ndarray, labels: np.ndarray) -> Teacher:
    """Stands for whatever made your teacher: here, two hundred plain steps."""
    torch.manual_seed(0)
    teacher = Teacher()
    inputs = (torch.from_numpy(images)[:, None] / 255 - MEAN) / STD
    optimizer = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(200):
        rows = torch.randint(len(inputs), (128,))
        loss = nn.functional.cross_entropy(teacher(inputs[rows]), torch.from_numpy(labels)[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return teacher


def main(out: str) -> None:
    """Hold out a test part that the teacher never sees, then distil."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 255 / 16).round().astype("uint8")
    order = np.random.default_rng(0).permutation(len(images))
    known, held_out = order[400:], order[:400]
    run = lb.distill(
        teacher=trained(images[known], labels[known]),
        student=lb.MLP(width=16, depth=1),
        train=(images[known], labels[known]),
        validation=(images[held_out[:150]], labels[held_out[:150]]),
        test=(images[held_out[150:]], labels[held_out[150:]]),
        preprocessing=lb.Preprocessing(mean=(MEAN,), std=(STD,)),
        labelled=100,
        method=lb.KD(temperature=4) + 0.1 * lb.CE(),
        training=lb.Training(steps=150, labelled_share=0.25),
        controls=["no-teacher"],
        export=lb.Exports(formats=["safetensors"]),
        out=out,
    )
    print(run.report.summary)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/own-module-teacher")
