"""What a run tells whoever watches it; the pipeline yields these and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Started:
    """A stage begins."""

    stage: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A stage is complete."""

    stage: str
    seconds: float
    reused: bool = False
    """True where an earlier run had done the same work."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Some of a stage's work is done."""

    stage: str
    job: str
    """Which training, or what else is being done."""
    done: int
    total: int
    examples_per_second: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line of its own."""

    stage: str
    text: str
    warning: bool = False


Event = Started | Ended | Advanced | Noted
