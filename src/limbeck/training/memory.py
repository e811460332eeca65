"""How much memory a model needs to answer, and how much there is."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

_TRIED: Final = (2, 4)
_RESERVE: Final = 0.5
"""Share of the free memory that is left: for the engine's own buffers, and for whoever comes next."""
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a forward pass without gradients holds at its worst moment, beside the weights."""

    fixed_bytes: int
    """Whatever the batch."""

    example_bytes: int
    """For each example, its input included."""

    def bytes(self, examples: int) -> int:
        """For a batch."""
        return self.fixed_bytes + examples * self.example_bytes

    def examples(self, available_bytes: int) -> int:
        """The largest batch that needs at most half of what is free; at least 1."""
        room = int(available_bytes * (1 - _RESERVE)) - self.fixed_bytes
        return max(1, room // max(self.example_bytes, 1))


def footprint(model: nn.Module | Callable[[Tensor], object], inputs: Tensor) -> Footprint:
    """Ask a model about two and about four examples, and follow what is alive at once.

    Args:
        model: In eval mode, in fp32 (what every faster form needs less than).
        inputs: At least four model inputs, where the model is.
    """
    few, more = (_peak_bytes(model, inputs[:count].clone()) for count in _TRIED)
    example = max(0, more - few) // (_TRIED[1] - _TRIED[0]) + inputs[0].nbytes
    return Footprint(max(0, few - _TRIED[0] * example), example)


def available_bytes(device: torch.device | str = "cpu") -> int:
    """Memory that can still be used, in bytes: the least that the system, or a container's limit, leaves."""
    place = torch.device(device)
    if place.type == "cuda":
        return int(torch.cuda.mem_get_info(place)[0])
    return min(_system_bytes(), _container_bytes())


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that were made within the block and are still held."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._add(value.untyped_storage())
        return made

    def know(self, tensors: Any) -> None:
        """Leave out what was there before."""
        for tensor in tensors:
            self._known[tensor.untyped_storage()] = None

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = None
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


def _peak_bytes(model: nn.Module | Callable[[Tensor], object], inputs: Tensor) -> int:
    alive = _Alive()
    if isinstance(model, nn.Module):
        alive.know([*model.parameters(), *model.buffers()])
    with torch.no_grad(), alive:
        model(inputs)
    return alive.peak


def _system_bytes() -> int:
    if _MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _container_bytes() -> int:
    """What the limit of this control group leaves, where one is set; file caches can be given back."""
    limit, used, kept = (_CGROUP / name for name in ("memory.max", "memory.current", "memory.stat"))
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return 1 << 62
    caches = dict(line.split() for line in kept.read_text().splitlines()) if kept.is_file() else {}
    held = int(used.read_text()) - int(caches.get("inactive_file", 0))
    return max(0, int(limit.read_text()) - held)
