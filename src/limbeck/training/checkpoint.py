"""A training on disk: the newest checkpoint and the one before it, each whole or refused."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import NonFiniteLossError, RunError
from limbeck.files import disk_errors, replacing
from limbeck.training.state import TrainState

_DIGEST_BYTES = 32


def save(state: TrainState, path: Path) -> None:
    """Write the whole state to ``path``; what stood there becomes the previous checkpoint.

    A kill or a full disk at any moment leaves at least one whole checkpoint, if there was one.

    Args:
        state: Between two steps.
        path: The newest checkpoint; :func:`previous` says where the one before it is kept.

    Raises:
        DiskError: If the disk is full or cannot be written; both earlier files are then as they were.
        NonFiniteLossError: If a weight is infinite or not a number; the earlier checkpoints are worth more.
    """
    _check_finite(state)
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    payload = buffer.getbuffer()
    fresh = path.with_name(path.name + ".fresh")
    with replacing(fresh) as file:
        file.write(hashlib.sha256(payload).digest())
        file.write(payload)
    with disk_errors(path):
        if path.exists():
            path.replace(previous(path))
        fresh.replace(path)
    state.last_checkpoint = path


def load(state: TrainState, path: Path) -> bool:
    """Go on from the newest whole checkpoint, if there is one.

    A damaged one is passed over with a warning.

    Args:
        state: Freshly started with the same settings, method and seed; changed in place.
        path: As given to :func:`save`.

    Returns:
        Whether there was a checkpoint.

    Raises:
        RunError: If there are checkpoints and all are damaged, or if they are of another training.
    """
    fresh = path.with_name(path.name + ".fresh")  # left there by a kill between two renames
    found = [candidate for candidate in (path, fresh, previous(path)) if candidate.exists()]
    for candidate in found:
        saved = _read(candidate, state.device)
        if saved is None:
            warnings.warn(
                f"The checkpoint {candidate} is damaged and is passed over.", UserWarning, stacklevel=2
            )
            continue
        state.load_state_dict(saved)
        state.last_checkpoint = candidate
        return True
    if found:
        raise RunError(
            f"No checkpoint in {path.parent} is whole: {', '.join(each.name for each in found)} are damaged. "
            "Remove them and run the same command again; this training then starts from its first step."
        )
    return False


def remove(path: Path) -> None:
    """Remove the checkpoints of a training that is complete."""
    for each in (path, path.with_name(path.name + ".fresh"), previous(path)):
        each.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest one is kept."""
    return path.with_name(path.name + ".previous")


def _read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What a checkpoint holds; nothing if it is not what was written."""
    content = path.read_bytes()
    digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    try:
        saved: dict[str, Any] = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError):  # another version of torch wrote it
        return None
    return saved


def _check_finite(state: TrainState) -> None:
    for name, parameter in state.student.named_parameters():
        if not torch.isfinite(parameter).all():
            raise NonFiniteLossError(
                f"The student's {name} is infinite or not a number after step {state.step}, so it is not "
                f"saved; the last finite checkpoint is {state.last_checkpoint or 'none'}. Lower "
                "training.optimizer.learning_rate, or set training.clip (1.0 is common)."
            )
