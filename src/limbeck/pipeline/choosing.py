"""How the teacher is asked: the fastest way of the plan whose answers are close enough to plain fp32."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.data import Source, ordered
from limbeck.errors import ExportError, ModelError, UserError
from limbeck.evaluation import agreement, kl_nats
from limbeck.pipeline.answering import answering_module, inside, live
from limbeck.pipeline.context import Context
from limbeck.recipe import Asking
from limbeck.training.asking import doubtful
from limbeck.training.memory import available_bytes, footprint
from limbeck.types import Teacher

SAMPLE_EXAMPLES: Final = 1024
LEAST_AGREEMENT: Final = 0.999
LARGEST_KL_NATS: Final = 1e-4
"""A faster way is used where a sample of its answers is at least this close to those of plain fp32."""

MOST_DOUBTFUL: Final = 0.2
"""Share of the answers that may be asked for twice."""

MOST_WRONG: Final = 1e-4
"""Share of the answers that may have the wrong class after the doubtful ones were asked for again, as estimated."""

_PROBED: Final = 4


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking, tried on a sample."""

    asking: Asking
    samples: int
    """How many training samples it was tried on."""
    agreement: float
    """Share of them on which its largest class is that of plain fp32."""
    kl_nats: float
    """Mean divergence of its distributions from those of plain fp32."""
    ms_per_example: float
    """CPU milliseconds for one answer, the preprocessing included."""
    doubtful: float = 0.0
    """Share of them that were asked about again in plain fp32."""
    failure: str | None = None
    """Why it could not be tried at all."""

    @property
    def close(self) -> bool:
        """Whether it answers as plain fp32 does."""
        near = self.agreement >= LEAST_AGREEMENT and self.kl_nats <= LARGEST_KL_NATS
        return near and self.failure is None

    @property
    def facts(self) -> dict[str, Any]:
        """What is written down about it."""
        return {
            "asked": described(self.asking),
            "samples": self.samples,
            "agreement": round(self.agreement, 6),
            "kl_nats": float(f"{self.kl_nats:.3g}"),
            **({"doubtful": round(self.doubtful, 6)} if self.doubtful else {}),
            **({"failure": self.failure} if self.failure else {}),
        }


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who is asked and how, and what was tried before."""

    teacher: Teacher
    way: Way
    refused: tuple[Way, ...]

    @property
    def asking(self) -> Asking:
        """How the teacher is computed."""
        return self.way.asking


def chosen(context: Context, answerer: str) -> Chosen:
    """Try the plan's ways on a sample of the training data, the fastest first, until one is close enough.

    Args:
        context: The run.
        answerer: Who is asked.

    Raises:
        UserError: If a batch does not fit in memory.
    """
    plan = context.plan
    check_memory(context, answerer)
    exact = Asking(threads=plan.label.threads)
    _, reference, plain = _tried(context, exact, answerer, None)
    refused: list[Way] = []
    ways = (plan.label, *plan.label_next)
    if context.recipe.teacher.keep_taps is not None:
        ways = tuple(map(inside, ways))
    for asking in dict.fromkeys(ways):
        if asking == exact:
            break
        try:
            teacher, answers, way = _tried(context, asking, answerer, reference)
        except (ExportError, ModelError) as error:
            refused.append(Way(asking, 0, 0.0, 0.0, 0.0, failure=str(error)))
            continue
        if way.close:
            return Chosen(teacher, way, tuple(refused))
        refused.append(way)
        careful = (
            _careful(way, answers, reference, plain) if context.recipe.teacher.keep_taps is None else None
        )
        if careful is not None and careful.close:
            return Chosen(live(context, careful.asking, answerer), careful, tuple(refused))
    return Chosen(live(context, exact, answerer), plain, tuple(refused))


def check_memory(context: Context, answerer: str) -> None:
    """Refuse a batch that needs more memory than there is.

    Raises:
        UserError: With the largest batch that is sure to fit.
    """
    batch, module = context.plan.label_batch_examples, answering_module(context, answerer)
    needs = footprint(module, torch.zeros(_PROBED, *context.shape, device=context.device))
    free = available_bytes(context.device)
    if needs.bytes(batch) > free:
        raise UserError(
            f"plan.label_batch_examples is {batch}: asking the teacher about so many examples at once takes about "
            f"{needs.bytes(batch) / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free. Expected at most "
            f"{needs.examples(free)}: pin that in the recipe's plan, or free some memory."
        )


def described(asking: Asking) -> str:
    """A way of asking in a few words."""
    words: list[str] = [asking.engine] if asking.engine != "torch" else []
    words += [asking.precision, *(["folded"] if asking.folded else [])]
    if asking.layout != "contiguous":
        words.append(asking.layout)
    words += ["medium products"] if asking.matmul == "medium" else []
    words += ["compiled"] if asking.compile else []
    if asking.doubt_margin:
        words.append(f"(plain fp32 below a margin of {asking.doubt_margin:g})")
    return f"{' '.join(words)}, {asking.threads} thread{'s' if asking.threads > 1 else ''}"


def _tried(
    context: Context, asking: Asking, answerer: str, reference: NDArray[np.float32] | None
) -> tuple[Teacher, NDArray[np.float32], Way]:
    """Ask about the sample; without a reference the answers are their own."""
    teacher, sample = live(context, asking, answerer), _sample(context)
    began = time.process_time()
    answers = _answers(context, teacher, sample)
    milliseconds = round((time.process_time() - began) * 1e3 / len(answers), 4)
    if not np.isfinite(answers).all():
        return teacher, answers, Way(asking, len(answers), 0.0, 0.0, milliseconds, failure="not finite")
    exact = answers if reference is None else reference
    near = float(agreement(answers, exact)), max(0.0, float(kl_nats(answers, exact)))
    return teacher, answers, Way(asking, len(answers), *near, milliseconds)


def _careful(
    way: Way, answers: NDArray[np.float32], reference: NDArray[np.float32], plain: Way
) -> Way | None:
    """The same way with its doubtful answers asked for again; none where that would not help, or hardly be faster."""
    if way.failure or way.asking.doubt_margin or way.asking.compile or answers.shape[1] < 2:
        return None
    margin = _margin(answers, reference)
    again = doubtful(torch.from_numpy(answers), margin).numpy()
    share, milliseconds = float(again.mean()), way.ms_per_example + float(again.mean()) * plain.ms_per_example
    if margin == 0 or share > MOST_DOUBTFUL or milliseconds >= plain.ms_per_example:
        return None
    mixed = np.where(again[:, None], reference, answers)
    near = float(agreement(mixed, reference)), max(0.0, float(kl_nats(mixed, reference)))
    asking = way.asking.model_copy(update={"doubt_margin": margin})
    return Way(asking, len(answers), *near, round(milliseconds, 4), doubtful=share)


def _margin(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """The least distance of the two largest logits above which rounding hardly ever puts the wrong one first.

    Each distance on the sample is paired with each error of such a distance, so that shares of wrong classes can be
    told that are far below one in the sample.
    """
    largest = np.argsort(answers, axis=1)[:, -2:]
    distances, exact = (np.diff(np.take_along_axis(each, largest, 1))[:, 0] for each in (answers, reference))
    errors, descending = np.sort(np.abs(distances - exact)), np.sort(distances)[::-1]
    turned = 1 - np.searchsorted(errors, descending) / len(errors)
    allowed = np.cumsum(turned) <= MOST_WRONG * len(turned)
    return _rounded_up(float(descending[~allowed][0])) if not allowed.all() else 0.0


def _rounded_up(margin: float) -> float:
    """To the next power of the square root of two, so that the last bits do not make another store."""
    return 0.0 if margin == 0 else float(f"{2 ** (math.ceil(2 * math.log2(margin)) / 2):.4g}")


def _sample(context: Context) -> Source:
    train = context.splits.train
    return train.subset(torch.arange(0, len(train), max(1, len(train) // SAMPLE_EXAMPLES)))


def _answers(context: Context, teacher: Teacher, sample: Source) -> NDArray[np.float32]:
    batches = ordered(sample, context.preprocessing, context.plan.label_batch_examples)
    return torch.cat([teacher(batch).logits.float().cpu() for batch in batches]).numpy()
