"""One of the processes that train a student together: leaves its gradients, or what it was refused for, in a file.

``python parallel_student.py RANK PROCESSES FOLDER METHOD``; with one process the student is not wrapped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from limbeck.errors import ModelError
from limbeck.methods import AttentionTransfer, Hint, Method
from limbeck.teachers import LiveTeacher
from limbeck.training import distilling


class Net(nn.Module):
    """It may have a layer that it leaves out while it trains."""

    def __init__(self, width: int, *, shy: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.bonus = nn.Conv2d(width, width, 1) if shy else nn.Identity()
        self.last = nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images).relu()
        maps = maps if self.training else self.bonus(maps)  # the tap that does not fire
        return self.last(maps.mean((2, 3)))


def method(name: str) -> Method:
    layer = "bonus" if name == "bonus" else "first"
    pairs = [{"student": layer, "teacher": "first"}]
    return Hint(pairs=pairs) if name == "hint" else AttentionTransfer(pairs=pairs)


def gradients(rank: int, processes: int, name: str) -> dict[str, Tensor]:
    """Of the second of two steps, so that a tap that fires once only is found out."""
    torch.manual_seed(0)
    teacher, net, images = (
        LiveTeacher(Net(6), classes=3),
        Net(4, shy=name == "bonus"),
        torch.randn(8, 2, 5, 5),
    )
    student: nn.Module = DistributedDataParallel(net) if processes > 1 else net
    mine = images.chunk(processes)[rank]
    torch.manual_seed(rank)  # each process would draw connectors of its own; those of the first count
    with distilling(student, teacher, method(name)) as d:
        trained = d.begin(images)
        for _ in range(2):
            net.zero_grad()
            for parameter in trained:
                parameter.grad = None
            (d.loss(mine) + student(mine).square().mean()).backward()
    held = [*net.named_parameters(), *((f"connector{number}", each) for number, each in enumerate(trained))]
    return {key: value.grad for key, value in held if value.grad is not None}


def main(rank: int, processes: int, folder: Path, name: str) -> None:
    torch.set_num_threads(1)
    if processes > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes
        )
    try:
        found: object = gradients(rank, processes, name)
    except ModelError as error:
        found = str(error)
    torch.save(found, folder / f"{name}.{processes}.{rank}.pt")
    if processes > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
