"""Reading a store: checked when it is opened, then one lookup and one gather a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.errors import StoreError
from limbeck.files import sha256
from limbeck.teachers.store.format import IDS, StoreFolder, targets_home
from limbeck.teachers.store.key import StoreKey, differences
from limbeck.types import CLEAN

_MEMORY_BYTES: Final = 256 * 2**20
_NAMED: Final = 5


class Store:
    """A complete store. Up to 256 MB are held in memory, more is memory-mapped.

    Args:
        folder: Whole and unharmed; :meth:`open` checks that.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self.folder, self.key = folder, folder.manifest.key
        self.ids: Tensor = torch.from_numpy(np.fromfile(folder.ids, IDS).astype(np.int64))
        self._table = _table(folder)

    @classmethod
    def open(cls, path: Path, *, key: StoreKey | None = None) -> Store:
        """The store in a folder, after its checksums were compared (once, while its files do not change).

        Args:
            path: The folder.
            key: What is asked for; ``None`` to take whatever it holds.

        Raises:
            StoreError: If it is incomplete, truncated, corrupt, of another format or of another key.
        """
        folder = StoreFolder.read(path)
        differing = [] if key is None else differences(folder.manifest.key, key)
        if differing:
            raise StoreError(
                f"{path} is another store: {'; '.join(differing)}. Run `limbeck label` with your recipe."
            )
        check_whole(folder)
        return cls(folder)

    def __len__(self) -> int:
        return len(self.ids)

    def answers(
        self, ids: Int[Tensor, " batch"], views: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """What the teacher said about some samples.

        Args:
            ids: Which samples.
            views: Which view of each: ``CLEAN`` for a store of the clean view, otherwise 0 to views - 1.

        Returns:
            float32 logits, on the device of the ids.

        Raises:
            StoreError: If a sample or a view is not in the store.
        """
        wanted = ids.cpu()
        index = torch.searchsorted(self.ids, wanted).clamp_max_(len(self.ids) - 1)
        if not torch.equal(self.ids.index_select(0, index), wanted):
            self._refuse_ids(wanted)
        if self.key.view == "clean":
            if not bool((views == CLEAN).all()):
                self._refuse_views(views[views != CLEAN])
        else:
            index = index * self.key.views + self._checked(views.cpu())
        return self._table.index_select(0, index).float().to(ids.device)

    def _checked(self, views: Tensor) -> Tensor:
        outside = (views < 0) | (views >= self.key.views)
        if bool(outside.any()):
            self._refuse_views(views[outside])
        return views

    def _refuse_views(self, views: Tensor) -> None:
        held = (
            "the clean view only" if self.key.view == "clean" else f"the views 0 to {self.key.views - 1} only"
        )
        asked = "the clean view" if int(views[0]) == CLEAN else f"view {int(views[0])}"
        raise StoreError(
            f"The store {self.folder.path.name} holds {held}, and {asked} is asked for. Ask with the "
            "view that it "
            "holds, or set teacher.view in the recipe and run `limbeck label`."
        )

    def _refuse_ids(self, ids: Tensor) -> None:
        unknown = ids[~torch.isin(ids, self.ids)].tolist()
        named = ", ".join(str(sample) for sample in unknown[:_NAMED])
        raise StoreError(
            f"The store {self.folder.path.name} has no answer for sample {named} ({len(unknown)} of "
            f"{len(ids)} asked "
            f"for are unknown; it holds {len(self.ids)} samples of {self.folder.manifest.source_name!r}). "
            "Run `limbeck label` with this data."
        )


def open_store(key: StoreKey, *, cache: Path | None = None) -> Store:
    """The complete store of a key.

    Args:
        key: From :func:`~limbeck.teachers.store.key.store_key`.
        cache: Where stores lie; by default the user's cache.

    Raises:
        StoreError: If there is none (the message says in what the nearest one differs), or it is not whole.
    """
    home = targets_home(cache)
    path = home / key.digest
    if (path / "manifest.json").is_file():
        return Store.open(path, key=key)
    raise StoreError(
        f"No store holds these answers.{_nearest(home, key)} Run `limbeck label` to ask the teacher."
    )


def check_whole(folder: StoreFolder) -> None:
    """Compare a store's files with its manifest and notes.

    Raises:
        StoreError: If it is incomplete, truncated or corrupt.
    """
    cure = "Run `limbeck label` again: it keeps what is whole and asks only for the rest."
    name = f"The store {folder.path}"
    if not folder.answers.is_file():
        held = sum(folder.shard(number).is_file() for number in folder.shards)
        raise StoreError(f"{name} is incomplete: {held} of {len(folder.shards)} shards are there. {cure}")
    expected, found = folder.manifest.records * folder.record_bytes, folder.answers.stat().st_size
    if found != expected:
        word = "truncated" if found < expected else "too long"
        raise StoreError(f"{name} is {word}: answers.bin has {found} bytes, expected {expected}. {cure}")
    if not folder.ids.is_file() or sha256(folder.ids) != folder.manifest.ids_sha256:
        raise StoreError(f"{name} is corrupt: the checksum of ids.bin differs from the manifest's. {cure}")
    damaged = folder.damaged()
    if damaged:
        named = ", ".join(str(number) for number in damaged[:_NAMED])
        raise StoreError(
            f"{name} is corrupt: {len(damaged)} of {len(folder.shards)} shards have another checksum "
            "than when they "
            f"were written (shard {named}). {cure}"
        )


def _table(folder: StoreFolder) -> Tensor:
    """All answers, ``[records x views, classes]``."""
    key = folder.manifest.key
    if folder.manifest.records * folder.record_bytes <= _MEMORY_BYTES:
        flat = torch.from_numpy(np.fromfile(folder.answers, folder.dtype))
    else:
        size = folder.manifest.records * key.views * key.classes
        dtype = torch.float16 if key.dtype == "float16" else torch.float32
        flat = torch.from_file(str(folder.answers), shared=False, size=size, dtype=dtype)
    return flat.view(-1, key.classes)


def _nearest(home: Path, key: StoreKey) -> str:
    found = []
    for file in home.glob("*/manifest.json"):
        try:
            held = StoreFolder.read(file.parent).manifest.key
        except StoreError:
            continue
        found.append((differences(held, key), file.parent.name))
    if not found:
        return " There is no store yet."
    differing, name = min(found, key=lambda pair: (len(pair[0]), pair[1]))
    return f" The nearest one, {name}, differs: {'; '.join(differing)}."
