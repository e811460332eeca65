"""Reading a store: checked when it is opened, then one lookup and one gather a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.errors import StoreError
from limbeck.files import sha256
from limbeck.teachers.store.format import IDS, StoreFolder, targets_home
from limbeck.teachers.store.keeping import ANSWER
from limbeck.teachers.store.key import StoreKey, differences
from limbeck.teachers.store.packing import Records
from limbeck.teachers.store.places import Places
from limbeck.types import CLEAN, Outputs

_MEMORY_BYTES: Final = 256 * 2**20
_NAMED: Final = 5
_CURE: Final = "Run `limbeck label` again: it keeps what is whole and asks only for the rest."


class Store:
    """A complete store. Up to 256 MB are held in memory, more is memory-mapped.

    Args:
        folder: Whole and unharmed; :meth:`open` checks that.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self.folder, self.key = folder, folder.manifest.key
        self.ids: Tensor = torch.from_numpy(np.fromfile(folder.ids, IDS).astype(np.int64))
        self._sorted = Places(self.ids.numpy())
        self._parts = _parts(folder)

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
        """The teacher's dense answers about some samples: float32, on the device of the ids.

        Args:
            ids: As in :meth:`outputs`.
            views: As in :meth:`outputs`.

        Raises:
            StoreError: If a sample or a view is not in the store.
            TeacherError: If the store keeps a few classes of each answer.
        """
        return self.outputs(ids, views).logits

    def outputs(
        self, ids: Int[Tensor, " batch"], views: Int[Tensor, " batch"], taps: Sequence[str] = ()
    ) -> Outputs:
        """What the teacher said about some samples, on the device of the ids.

        Args:
            ids: Which samples.
            views: Which view of each: ``CLEAN`` for a store of the clean view, otherwise 0 to views - 1.
            taps: Which of the taps that are held.

        Raises:
            StoreError: If a sample, a view or a tap is not in the store.
        """
        self._refuse_taps(taps)
        index = self._places(ids, views)
        records = {part: self._parts[part].take(index) for part in (ANSWER, *taps)}
        outputs = self.key.keep.decode(records, self.key.classes, taps)
        return outputs if ids.device.type == "cpu" else outputs.to(ids.device)

    def _places(self, ids: Tensor, views: Tensor) -> NDArray[np.int64]:
        """Which records these are."""
        wanted = ids.cpu()
        index = self._sorted.find(wanted.numpy())
        if index is None:
            self._refuse_ids(wanted)
        if self.key.view == "clean":
            if not bool((views == CLEAN).all()):
                self._refuse_views(views[views != CLEAN])
        else:
            index = index * self.key.views + self._checked(views.cpu()).numpy()
        return index

    def _refuse_taps(self, taps: Sequence[str]) -> None:
        missing = [name for name in taps if name not in self.key.keep.names]
        if missing:
            raise StoreError(
                f"The store {self.folder.path.name} holds {', '.join(self.key.keep.names) or 'no layer'} of the "
                f"teacher, and {', '.join(missing)} is asked for. Set teacher.keep_taps in the recipe and run "
                "`limbeck label`, or ask the model itself."
            )

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

    def _refuse_ids(self, ids: Tensor) -> NoReturn:
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
    check_length(folder)
    name = f"The store {folder.path}"
    if not folder.ids.is_file() or sha256(folder.ids) != folder.manifest.ids_sha256:
        raise StoreError(f"{name} is corrupt: the checksum of ids.bin differs from the manifest's. {_CURE}")
    damaged = folder.damaged()
    if damaged:
        named = ", ".join(str(number) for number in damaged[:_NAMED])
        raise StoreError(
            f"{name} is corrupt: {len(damaged)} of {len(folder.shards)} shards have another checksum "
            "than when they "
            f"were written (shard {named}). {_CURE}"
        )


def check_length(folder: StoreFolder) -> None:
    """See whether all answers are there, without reading them.

    Raises:
        StoreError: If the store is incomplete or truncated, or notes are missing.
    """
    name, held = f"The store {folder.path}", len(folder.notes())
    if not folder.answers.is_file():
        raise StoreError(f"{name} is incomplete: {held} of {len(folder.shards)} shards are there. {_CURE}")
    expected, found = folder.size, folder.answers.stat().st_size
    if found != expected:
        word = "truncated" if found < expected else "too long"
        raise StoreError(f"{name} is {word}: answers.bin has {found} bytes, expected {expected}. {_CURE}")
    if held != len(folder.shards):
        raise StoreError(
            f"{name} is damaged: notes.jsonl tells of {held} of {len(folder.shards)} shards. {_CURE}"
        )


class _Part:
    """One part of all records: an answer, or a tap."""

    def __init__(self, table: Records, name: str) -> None:
        field = table[name]
        self._dtype = field.dtype
        self._whole = field.dtype.itemsize == table.dtype.itemsize
        # what only has a width is copied fastest
        self._rows = field.view(np.dtype((np.void, self._dtype.itemsize))) if self._whole else field

    def take(self, index: NDArray[np.int64]) -> Records:
        """Some records' part, in one gather."""
        rows = self._rows.take(index) if self._whole else self._rows[index]
        return rows.view(self._dtype)


def _parts(folder: StoreFolder) -> dict[str, _Part]:
    """Every part of all answers, ``[records x views]``."""
    if folder.size <= _MEMORY_BYTES:
        table: Records = np.fromfile(folder.answers, folder.dtype)
    else:
        table = np.memmap(folder.answers, folder.dtype, mode="r").view(np.ndarray)
    return {name: _Part(table, name) for name in folder.dtype.names or ()}


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
