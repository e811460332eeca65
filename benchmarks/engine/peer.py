"""The task in torchdistill, as its image-classification example does it: a configuration, a box, a loop of one's own.

Its teacher is put in eval mode, which its example leaves out: the peer is measured at its best.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.engine.task import (
    AUGMENTATION,
    BATCH_EXAMPLES,
    FIXED_VIEWS,
    OPTIMIZER,
    PLAIN,
    TEACHER_SHARE,
    TEMPERATURE,
    Arm,
    Task,
    moves,
)
from benchmarks.engine.torchvision_on_cpu import define_missing_operators
from limbeck.data.fashion_mnist import FILES, find
from limbeck.recipe import Execution
from limbeck.training import laid_out

OLDER: Final = Path(sys.prefix) / "older"
"""Where the Makefile puts torchdistill 1.1.4."""

_DATASET: Final = "fashion_mnist/train"


class Listed(torch.utils.data.Sampler[int]):
    """The samples in the order that every arm has; each pass takes the next list."""

    def __init__(self, _dataset: object, passes: Sequence[Sequence[int]]) -> None:
        self._passes, self._next = passes, 0

    def __iter__(self) -> Iterator[int]:
        chosen = self._passes[self._next % len(self._passes)]
        self._next += 1
        return iter(chosen)

    def __len__(self) -> int:
        return len(self._passes[0])


def box(
    arm: Arm, task: Task, passes: Sequence[Sequence[int]], *, teacher: nn.Module, student: nn.Module, steps: int,
    home: Path, cache: Path | None = None,
) -> Any:  # fmt: skip
    """Torchdistill's box for an arm: its ``train_data_loader`` gives the batches.

    Args:
        arm: Which version, view, number format, worker processes.
        task: The data.
        passes: The samples of each pass over the data, in order; in the view ``same``, number x views + view.
        teacher: Frozen.
        student: Trained in place.
        steps: Over which the learning rate falls.
        home: A folder for the data set as torchvision reads it.
        cache: Where 1.1.4 keeps its answers; ``None``: it asks anew each time.
    """
    _import(arm)
    from torchdistill.core.distillation import get_distillation_box

    layout = _layout(arm.execution or PLAIN)
    return get_distillation_box(
        teacher.eval().to(memory_format=layout),
        student.to(memory_format=layout),
        {_DATASET: _dataset(arm, task, home)},
        _configuration(arm, passes, steps, cache),
        torch.device("cpu"), None, False, 1,
    )  # fmt: skip


def train_one_epoch(box: Any, batches: Iterable[Any], execution: Execution) -> list[float]:
    """The body of torchdistill's own example over some batches; the loss of each step."""
    from torchdistill.misc.log import MetricLogger, SmoothedValue

    logger = MetricLogger(delimiter="  ")
    logger.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
    losses = []
    for samples, targets, extra in logger.log_every(batches, 100, "Epoch:"):
        samples = laid_out(samples, execution)
        with torch.autocast("cpu", torch.bfloat16, enabled=execution.precision == "bf16"):
            loss = box.forward_process(samples, targets, extra)
        box.post_forward_process(loss=loss)
        losses.append(loss.item())
        logger.update(loss=losses[-1], lr=box.optimizer.param_groups[0]["lr"])
    return losses


def passes_of(orders: Sequence[Tensor], *, steps_a_pass: int, views: bool) -> list[list[int]]:
    """The lists that :class:`Listed` goes through, from the rows of each batch."""
    found = []
    for start in range(0, len(orders), steps_a_pass):
        rows = torch.cat(list(orders[start : start + steps_a_pass]))
        view = len(found) % FIXED_VIEWS
        found.append((rows * FIXED_VIEWS + view if views else rows).tolist())
    return found


def _import(arm: Arm) -> None:
    define_missing_operators()
    if arm.framework == "torchdistill-1.1.4":
        sys.path.insert(0, str(OLDER))
    import torchdistill

    wanted = "1.1.4" if arm.framework == "torchdistill-1.1.4" else "1.1.5"
    if torchdistill.__version__ != wanted:
        raise RuntimeError(f"torchdistill {torchdistill.__version__} was imported, expected {wanted}.")


def _dataset(arm: Arm, task: Task, home: Path) -> Any:
    """Torchvision's own data set with the transforms of its examples, one Pillow image at a time."""
    from PIL import Image
    from torchvision import datasets, transforms
    from torchvision.transforms import functional

    preprocessing = task.preprocessing
    tensor = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)]
    )
    _laid_out(home)
    if arm.view == "clean":
        return datasets.FashionMNIST(str(home), train=True, transform=tensor)
    shift = AUGMENTATION.shift
    table = [moves(task.train.ids, view) for view in range(FIXED_VIEWS)]
    offsets = torch.stack([there for there, _ in table], 1).add(shift).tolist()
    mirrored = torch.stack([mirror for _, mirror in table], 1).tolist()

    class FashionMNIST(datasets.FashionMNIST):  # of that name, by which torchvision finds its folder
        """A number names a sample and a view of it, so that the same views are made as in the other arms."""

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            sample, view = divmod(index, FIXED_VIEWS)
            image = Image.fromarray(self.data[sample].numpy(), mode=None)
            padded = functional.pad(image, shift, padding_mode=AUGMENTATION.padding)
            top, left = offsets[sample][view]
            cropped = functional.crop(padded, top, left, *image.size[::-1])
            return tensor(functional.hflip(cropped) if mirrored[sample][view] else cropped), int(
                self.targets[sample]
            )

    return FashionMNIST(str(home), train=True)


def _laid_out(home: Path) -> None:
    """The published files where torchvision looks for them."""
    raw = home / "FashionMNIST" / "raw"
    if raw.is_dir():
        return
    from torchvision.datasets.utils import extract_archive

    raw.mkdir(parents=True)
    packed = find()
    for pinned in FILES.values():
        shutil.copy(packed / f"{pinned.name}.gz", raw)
        extract_archive(str(raw / f"{pinned.name}.gz"), str(raw))


def _configuration(
    arm: Arm, passes: Sequence[Sequence[int]], steps: int, cache: Path | None
) -> dict[str, Any]:
    """What its YAML files say under ``train``, read."""
    logits = {
        "student_module_path": ".", "student_module_io": "output",
        "teacher_module_path": ".", "teacher_module_io": "output",
    }  # fmt: skip
    loss = {"temperature": TEMPERATURE, "alpha": 1 - TEACHER_SHARE, "reduction": "batchmean"}
    forked = (
        {"multiprocessing_context": "fork"} if arm.workers else {}
    )  # a user's default; not in a spawned process
    party = {"forward_proc": "forward_batch_only", "sequential": [], "frozen_modules": []}
    return {
        "log_freq": 100,
        "num_epochs": len(passes),
        "train_data_loader": {
            "dataset_id": _DATASET,
            "sampler": {"class_or_func": Listed, "kwargs": {"passes": passes}},
            "kwargs": {"batch_size": BATCH_EXAMPLES, "num_workers": arm.workers, "drop_last": False, **forked},
            "cache_output": None if cache is None else str(cache),
        },
        "teacher": {**party, "requires_grad": False},
        "student": {**party, "requires_grad": True},
        "optimizer": {
            "key": "SGD",
            "kwargs": {
                "lr": OPTIMIZER.learning_rate,
                "momentum": OPTIMIZER.momentum,
                "nesterov": OPTIMIZER.nesterov,
                "fused": arm.execution is not None,
            },
        },
        "scheduler": {
            "key": "CosineAnnealingLR", "kwargs": {"T_max": steps - 1}, "scheduling_step": 1,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": {**logits, **loss}}, "weight": 1.0}}
            },
        },
    }  # fmt: skip


def _layout(execution: Execution) -> torch.memory_format:
    return torch.channels_last if execution.layout == "channels_last" else torch.contiguous_format
