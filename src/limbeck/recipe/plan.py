"""How a run uses the machine: what a short measurement chose, frozen, and part of every later stage's hash."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from limbeck.types import Frozen

Precision = Literal["fp32", "bf16"]
Layout = Literal["contiguous", "channels_last"]


class Execution(Frozen):
    """How one kind of work is computed."""

    precision: Precision = "fp32"
    """``bf16`` computes under autocast and keeps the weights in fp32."""

    layout: Layout = "contiguous"
    """``channels_last`` stores images and convolution weights with the channels innermost."""

    threads: PositiveInt = 1
    """Threads of one process."""


class Plan(Frozen):
    """What was chosen for each kind of work, so that the same plan gives the same bits."""

    teacher: Execution = Execution()
    """Training the teacher."""

    label: Execution = Execution()
    """Asking the teacher."""

    label_batch_examples: PositiveInt = 128
    """Examples the teacher is asked about at once."""

    student: Execution = Execution()
    """Training one student or control."""

    workers: PositiveInt = 1
    """Students and controls that train side by side, each in a process of its own."""
