"""Sample ids from content: the same sample has the same id wherever it stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.counter import hashed

_POSITIVE: Final = np.uint64((1 << 63) - 1)
_OCCURRENCE_SEED: Final = 0x0CC


def contents(rows: NDArray[Any]) -> Int[Tensor, " n"]:
    """A 63-bit hash (BLAKE2b) of the bytes of each row.

    Args:
        rows: ``[n, ...]`` of any fixed-width type.
    """
    plain = np.ascontiguousarray(rows)
    count = len(plain)
    width = plain.nbytes // max(count, 1)
    view = plain.reshape(-1).view(np.uint8).data
    hashes = [
        hashlib.blake2b(view[start : start + width], digest_size=8).digest()
        for start in range(0, count * width, width or 1)
    ]
    words = np.frombuffer(b"".join(hashes), dtype="<u8") & _POSITIVE
    return torch.from_numpy(words.astype(np.int64))


def numbered(content: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Ids: the content's hash, and for exact duplicates a hash of it and of which occurrence this is.

    Duplicates are counted in the order of their labels, so that the ids, as pairs with content and label,
    do not depend on the order of the rows.
    """
    order = np.lexsort((labels.numpy(), content.numpy()))
    ordered = content.numpy()[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, int)
    runs = np.diff(np.r_[starts, len(ordered)])
    occurrence = np.empty(len(ordered), dtype=np.int64)
    occurrence[order] = np.arange(len(ordered)) - np.repeat(starts, runs)
    which = torch.from_numpy(occurrence)
    return torch.where(which == 0, content, hashed(_OCCURRENCE_SEED, which, content)[:, 0])


def pool_digest(
    ids: Int[Tensor, " n"], labels: Int[Tensor, " n"], classes: Sequence[str], *, form: Sequence[Any]
) -> str:
    """Sixteen hex digits for a whole pool; the order of its rows does not matter.

    Args:
        ids: One for each sample.
        labels: Class indices.
        classes: Their names.
        form: What else tells one pool from another (the shape and type of a sample).
    """
    order = torch.argsort(ids)
    result = hashlib.sha256(json.dumps([list(classes), list(form)]).encode())
    result.update(ids[order].numpy().tobytes())
    result.update(labels[order].numpy().tobytes())
    return result.hexdigest()[:16]
