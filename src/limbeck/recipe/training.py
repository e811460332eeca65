"""How a model is trained: steps, batches, optimizer, schedule, and which checkpoint is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from limbeck.types import Frozen

Share = Annotated[float, Field(ge=0, le=1)]


class SGD(Frozen):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: PositiveFloat = 0.1
    """The largest learning rate; the schedule scales it."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """How much of the last step is kept; 0 is plain gradient descent."""
    nesterov: bool = True
    """Look ahead along the momentum; without momentum it does nothing."""
    weight_decay: NonNegativeFloat = 5e-4
    """Applied to weights of two or more dimensions, not to biases and normalisation."""


class AdamW(Frozen):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: PositiveFloat = 1e-3
    """The largest learning rate; the schedule scales it."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    weight_decay: NonNegativeFloat = 0.01
    """Applied to weights of two or more dimensions, not to biases and normalisation."""


AnyOptimizer = Annotated[SGD | AdamW, Field(discriminator="kind")]


class Cosine(Frozen):
    """Linear warm-up, then half a cosine down to ``final``."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: NonNegativeInt = 0
    final: Share = 0.0
    """The last factor of the learning rate."""


class OneCycle(Frozen):
    """Half a cosine up to the learning rate, then half a cosine down to almost nothing (Smith, 2018)."""

    kind: Literal["one-cycle"] = "one-cycle"
    warmup_share: Share = 0.25
    """The share of the steps that rise."""
    start: Share = 0.04
    """The first factor of the learning rate."""
    final: Share = 0.0
    """The last factor of the learning rate."""


AnySchedule = Annotated[Cosine | OneCycle, Field(discriminator="kind")]


class Training(Frozen):
    """One training: for a student, each of its controls gets the same."""

    steps: PositiveInt = 1000
    """Optimizer steps; the budget that student and controls share."""

    batch_examples: PositiveInt = 128
    """Examples in one optimizer step, over all its micro-batches."""

    accumulation: PositiveInt = 1
    """Micro-batches that make up one step."""

    coupled: Literal["refuse", "gather"] = "refuse"
    """What is done where a method compares the samples of a batch and ``accumulation`` cuts it: ``gather`` runs each
    micro-batch twice and computes the loss of the whole batch (Gao et al., 2021)."""

    labelled_share: Share | None = None
    """Share of each batch drawn from the labelled samples; null draws from all alike."""

    optimizer: AnyOptimizer = SGD()
    """How weights follow gradients."""

    schedule: AnySchedule = Cosine()
    """How the learning rate moves over the steps."""

    clip: PositiveFloat | None = None
    """Largest norm of the whole gradient; null leaves it as it is."""

    keep: Literal["best", "last"] = "best"
    """Which weights are kept: the best on validation data, or those of the last step."""

    evaluate_every_steps: PositiveInt = 200
    """Steps between two looks at the validation data."""

    checkpoint_seconds: PositiveFloat = 30.0
    """Seconds between two checkpoints: the most that a kill can lose."""
