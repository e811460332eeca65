"""Keep your own training loop, and add one loss: ``lb.distilling``.

Run it with ``python examples/own_loop.py``; it takes a few seconds.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import limbeck as lb

STEPS, BATCH_EXAMPLES, LABELLED = 200, 64, 100


def fit(model: nn.Module, inputs: Tensor, labels: Tensor) -> nn.Module:
    """A plain loop."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (BATCH_EXAMPLES,))
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def distil(student: nn.Module, teacher: nn.Module, inputs: Tensor, labels: Tensor) -> nn.Module:
    """The same loop with one more loss, on samples without labels too."""
    optimizer = torch.optim.Adam(student.train().parameters(), lr=3e-3)
    with lb.distilling(student, teacher, lb.KD(temperature=4)) as d:
        for _ in range(STEPS):
            rows = torch.randint(len(labels), (BATCH_EXAMPLES,))
            task_loss = nn.functional.cross_entropy(student(inputs[rows]), labels[rows])
            loss = 0.1 * task_loss + d.loss(inputs[torch.randint(len(inputs), (BATCH_EXAMPLES,))])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student.eval()


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    with torch.no_grad():
        return float((model(inputs).argmax(1) == labels).float().mean())


def main() -> None:
    """A teacher with all labels, and a student with a hundred, with and without the teacher."""
    torch.manual_seed(0)
    plain, answers = load_digits(return_X_y=True)
    order = torch.randperm(len(plain))
    inputs, labels = torch.from_numpy(plain).float()[order] / 16, torch.from_numpy(answers)[order]
    test, test_labels, pool, pool_labels = inputs[:400], labels[:400], inputs[400:], labels[400:]

    large, small = lb.MLP(width=256, depth=2), lb.MLP(width=16, depth=1)
    teacher = fit(large.build((64,), 10), pool, pool_labels)
    alone = fit(small.build((64,), 10), pool[:LABELLED], pool_labels[:LABELLED])
    student = distil(small.build((64,), 10), teacher, pool, pool_labels[:LABELLED])
    for name, model in (("teacher", teacher), ("student alone", alone), ("student with teacher", student)):
        print(f"{name}: {accuracy(model, test, test_labels):.4f}")


if __name__ == "__main__":
    main()
