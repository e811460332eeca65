"""What is kept: the sixteen likeliest classes of each answer, and what a loss takes of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS: Final = 100_000
BATCH: Final = 256
K: Final = 16
CLASSES: Final = 1000

ROW: Final = np.dtype([("classes", "<u2", (K,)), ("log_probs", "<f2", (K,)), ("tail", "<f2")])
"""One row: 2 bytes a class, 2 bytes a log-probability, 2 bytes for the mass of all others."""

BYTES_BY_HAND: Final = K * 2 + K * 2 + 2

Taken = tuple[Tensor, Tensor, Tensor]
"""Classes (int64), log-probabilities and tail (float32), as a loss takes them; every reader gives these."""


def answers(rows: int, *, seed: int = 0) -> Tensor:
    """Logits of a teacher with a thousand classes, some likelier than others."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, CLASSES, generator=generator)


def rows_of(logits: Tensor) -> NDArray[Any]:
    """The rows of some answers."""
    log_probs = logits.log_softmax(1)
    kept, classes = log_probs.topk(K)
    found = np.zeros(len(logits), ROW)
    found["classes"], found["log_probs"] = classes.numpy(), kept.half().numpy()
    rest = log_probs.scatter(1, classes, -torch.inf).logsumexp(1)
    found["tail"] = rest.half().numpy()
    return found


def many_rows(count: int = ROWS) -> NDArray[Any]:
    """``count`` rows, a block at a time: all their logits would take gigabytes."""
    block = 10_000
    parts = [rows_of(answers(min(block, count - start), seed=start)) for start in range(0, count, block)]
    return np.concatenate(parts)


def taken(classes: NDArray[Any], log_probs: NDArray[Any], tail: NDArray[Any]) -> Taken:
    """Columns of some rows as a loss takes them."""
    return (
        torch.from_numpy(classes.astype(np.int64)),
        torch.from_numpy(log_probs.astype(np.float32)),
        torch.from_numpy(tail.astype(np.float32)),
    )


def taken_rows(rows: NDArray[Any]) -> Taken:
    """Whole rows as a loss takes them."""
    return taken(rows["classes"], rows["log_probs"], rows["tail"])
