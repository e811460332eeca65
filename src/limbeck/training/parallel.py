"""What a method trains beside a student that is trained in several processes."""

from __future__ import annotations

from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def share(connectors: nn.Module, student: nn.Module) -> None:
    """Let connectors start equal in all processes of a student in DistributedDataParallel, their gradients averaged.

    DistributedDataParallel does so for the student's own weights alone; connectors that were left apart would drift.
    They have a group of processes of their own, so that their messages and the student's cannot be confused.

    Args:
        connectors: Changed in place.
        student: If it is in no such wrapper, nothing happens.
    """
    if not isinstance(student, DistributedDataParallel):
        return
    ranks = distributed.get_process_group_ranks(student.process_group)
    group = distributed.new_group(ranks, use_local_synchronization=True)

    def averaged(gradient: Tensor) -> Tensor:
        gradient = gradient / len(ranks)
        distributed.all_reduce(gradient, group=group)
        return gradient

    for value in (*connectors.parameters(), *connectors.buffers()):
        distributed.broadcast(value.data, src=ranks[0], group=group)
    for parameter in connectors.parameters():
        if parameter.requires_grad:
            parameter.register_hook(averaged)  # type: ignore[no-untyped-call]
