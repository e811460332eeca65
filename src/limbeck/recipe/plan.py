"""How a run uses the machine: what a short measurement chose, frozen, and part of every later stage's hash."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from limbeck.types import Frozen

Precision = Literal["fp32", "bf16"]
Layout = Literal["contiguous", "channels_last"]
Matmul = Literal["highest", "medium"]
Engine = Literal["torch", "onnxruntime"]


class Execution(Frozen):
    """How one kind of work is computed."""

    precision: Precision = "fp32"
    """``bf16`` computes under autocast and keeps the weights in fp32."""

    layout: Layout = "contiguous"
    """``channels_last`` stores images and convolution weights with the channels innermost."""

    threads: PositiveInt = 1
    """Threads of one process."""

    matmul: Matmul = "highest"
    """How products of fp32 matrices are computed, in torch's words. ``medium`` is chosen only where it is faster and
    the error that this processor makes in it was measured to be that of fp32."""

    compile: bool = False
    """Compile the model with ``torch.compile``, which takes seconds to minutes before the first step and needs a C++
    compiler. Never chosen by the measurement."""


class Asking(Execution):
    """How a model that only answers is computed: without gradients more can be done than in training."""

    folded: bool = False
    """Batch normalisation is multiplied into the layer before it, where no inner layer is read."""

    engine: Engine = "torch"
    """``onnxruntime`` computes the exported graph on the processor, where no inner layer is read."""

    doubt_margin: NonNegativeFloat = 0.0
    """Where the two largest logits are closer than this, the model is asked again in plain fp32: rounding could have
    put the wrong class first."""

    @model_validator(mode="after")
    def _computable(self) -> Asking:
        if self.engine == "onnxruntime" and (self.precision != "fp32" or self.folded):
            raise ValueError(
                "engine 'onnxruntime' computes in fp32 and folds by itself; set precision: fp32 and folded: false, "
                "or engine: torch"
            )
        if self.compile and (self.engine != "torch" or self.folded or self.doubt_margin):
            raise ValueError(
                "compile: true compiles the model as it is; set folded: false, doubt_margin: 0 and engine: torch"
            )
        return self


class Plan(Frozen):
    """What was chosen for each kind of work, so that the same plan gives the same bits."""

    teacher: Execution = Execution()
    """Training the teacher."""

    label: Asking = Asking()
    """Asking the teacher."""

    label_next: tuple[Asking, ...] = ()
    """What is tried in turn where the answers of ``label`` are not close enough to those of unfolded fp32 in torch,
    which comes last of all."""

    label_batch_examples: PositiveInt = 128
    """Examples the teacher is asked about at once."""

    student: Execution = Execution()
    """Training one student or control."""

    workers: PositiveInt = 1
    """Students and controls that train side by side, each in a process of its own."""

    @property
    def threads(self) -> int:
        """The most that any of its work uses: for stages that compute alone and have no execution of their own."""
        return max(self.teacher.threads, self.label.threads, self.student.threads)
