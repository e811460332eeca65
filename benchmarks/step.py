"""How much of the machine a training step reaches: its FLOPs a second over those of a plain matrix product.

Three students on one thread, each in fp32 and in bf16: a CNN and a transformer on patches in Limbeck's loop (data,
augmentation, a looked-up teacher, loss, backward, fused AdamW), and a small GPT, whose step has the same parts.
FLOPs are those of products and convolutions, forward and backward, as torch counts them; everything else a step does
costs time and counts nothing. The peak is the fastest square product of the same format found on the same thread, of
either of torch's ways for fp32, measured again in every repetition beside the steps.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.form import ratio, write
from limbeck.data import Augmentation, Preprocessing, Stream
from limbeck.data.arrays import Arrays
from limbeck.methods import CE, KD
from limbeck.models import Architecture, Residual, ViT, count_parameters
from limbeck.recipe import AdamW, Execution, Training
from limbeck.recipe.plan import Matmul, Precision
from limbeck.threads import threads
from limbeck.training import Step, start, train
from limbeck.training import optimizer as optimizers
from limbeck.training.precision import arithmetic, autocast, matmul
from limbeck.training.products import product_errors
from limbeck.types import Batch, Offer, Outputs

REPETITIONS = 11
SIZES = (512, 1024, 2048)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCH, CLASSES, SHAPE = 128, 10, (1, 28, 28)
TOKENS, SEQUENCES, VOCABULARY, WIDTH, DEPTH, HEADS = 128, 4, 4096, 256, 4, 4
STUDENTS: dict[str, Architecture] = {
    "cnn": Residual(width=16, depth=1, stages=3),
    "encoder": ViT(width=128, depth=4, patch=4),
}


class LookedUp:
    """A teacher whose answers are in memory, as a stored one's are."""

    digest = "looked up"
    offer = Offer(CLASSES, reads_inputs=False)

    def __init__(self, ids: Tensor) -> None:
        self._ids = ids.sort().values
        self._answers = torch.randn(len(ids), CLASSES)

    def __call__(self, batch: Batch) -> Outputs:
        return Outputs(self._answers.index_select(0, torch.searchsorted(self._ids, batch.ids)))


class Block(nn.Module):
    """Causal attention and a two-layer net, normalised before each."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mixed, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.mixed(self.before(tokens)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*split.unbind(0), is_causal=True)
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        mixed: Tensor = tokens + self.wide(self.between(tokens))
        return mixed


class GPT(nn.Module):
    """A language model of the usual form, small."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Parameter(torch.randn(TOKENS, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY))

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.words(ids) + self.places))
        return logits


@dataclass
class Arm:
    """A step that is timed."""

    step: Callable[[], object]
    flops: int
    rates: list[float] = field(default_factory=list)

    def time(self, least_seconds: float = 0.25) -> None:
        """FLOPs a CPU second over as many steps as fill a quarter of a second."""
        began, done = time.process_time(), 0
        while (spent := time.process_time() - began) < least_seconds or not done:
            self.step()
            done += 1
        self.rates.append(done * self.flops / spent)


def in_loop(model: Architecture, execution: Execution) -> Callable[[], object]:
    """A step of Limbeck's own loop."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (4096, SHAPE[1], SHAPE[2], 1), dtype=torch.uint8, generator=generator)
    source = Arrays(raw, torch.arange(4096) % CLASSES, classes=tuple("abcdefghij"), name="random")
    preprocessing = Preprocessing(kind="image").fitted(source)
    stream = Stream(
        source, preprocessing, batch_examples=BATCH, seed=0, augmentation=Augmentation(shift=2, flip=True)
    )
    teacher = LookedUp(source.ids)
    training = Training(steps=10**6, batch_examples=BATCH, optimizer=AdamW(learning_rate=1e-3))
    state = start(
        lambda: model.build(SHAPE, CLASSES), KD(temperature=4) + 0.1 * CE(), teacher, stream,
        training=training, execution=execution, seed=0,
    )  # fmt: skip
    steps: Iterator[Step] = train(state, stream, teacher, execution=execution)
    return lambda: next(steps)


def of_gpt(execution: Execution) -> Callable[[], object]:
    """The same parts around a language model: autocast, the loss of soft targets, backward, fused AdamW."""
    torch.manual_seed(0)
    model = GPT().train()
    ids = torch.randint(VOCABULARY, (SEQUENCES, TOKENS))
    targets = torch.log_softmax(torch.randn(SEQUENCES, TOKENS, VOCABULARY), -1)
    optimizer = optimizers.build(AdamW(learning_rate=1e-4), [model])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with arithmetic(execution):
            with autocast(execution):
                logits = model(ids)
            log_probs = torch.log_softmax(logits.float(), -1).flatten(0, 1)
            loss = functional.kl_div(log_probs, targets.flatten(0, 1), log_target=True, reduction="batchmean")
            torch.autograd.backward(loss)
            optimizer.step()

    return step


def of_product(size: int, precision: Precision, way: Matmul) -> Arm:
    """A product of two square matrices."""
    left, right = (torch.randn(size, size).to(DTYPES[precision]) for _ in range(2))

    def step() -> None:
        with matmul(way), torch.no_grad():
            functional.linear(left, right)

    return Arm(step, 2 * size**3)


def counted(step: Callable[[], object]) -> int:
    """The FLOPs of one step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def best_product(precision: Precision) -> tuple[str, Arm]:
    """The product that runs fastest, and what it is."""
    ways: tuple[Matmul, ...] = ("highest", "medium") if precision == "fp32" else ("highest",)
    found = {f"{size} {way}": of_product(size, precision, way) for size in SIZES for way in ways}
    for arm in found.values():
        arm.step()
        for _ in range(3):
            arm.time(0.1)
    name = max(found, key=lambda name: median(found[name].rates))
    best = found[name]
    best.rates.clear()
    return name, best


def main() -> None:
    """Measure and write ``results/step.json``."""
    medium: Matmul = "medium" if product_errors().fp32 else "highest"
    figures, facts = {}, {}
    with threads(1):
        for precision in PRECISIONS:
            way: Matmul = medium if precision == "fp32" else "highest"
            execution = Execution(precision=precision, layout="channels_last", matmul=way)
            steps = {name: in_loop(model, execution) for name, model in STUDENTS.items()}
            steps["gpt"] = of_gpt(execution)
            arms = {name: Arm(step, counted(step)) for name, step in steps.items()}
            product, arms["peak"] = best_product(precision)
            interleave(arms)
            for name in steps:
                measured = ratio(arms[name].rates, arms["peak"].rates, better="higher")
                figures[f"fraction_of_peak_{name}_{precision}"] = {**measured, "unit": "fraction"}
            facts[precision] = {
                "execution": execution.model_dump(),
                "peak_product": product,
                "gflops_per_cpu_second": {
                    name: round(median(arm.rates) / 1e9, 1) for name, arm in arms.items()
                },
                "gflop_per_step": {name: round(arms[name].flops / 1e9, 3) for name in steps},
            }
    built = {name: model.build(SHAPE, CLASSES) for name, model in STUDENTS.items()} | {"gpt": GPT()}
    path = write(
        "step",
        figures,
        medians=facts,
        setting={
            "parameters": {name: count_parameters(model) for name, model in built.items()},
            "batch_examples": BATCH,
            "gpt_tokens": SEQUENCES * TOKENS,
            "repetitions": REPETITIONS,
            "threads": 1,
        },
    )
    print(path.read_text())


def interleave(arms: dict[str, Arm]) -> None:
    """Every arm once in each repetition, in a random order; the first round warms up."""
    order = random.Random(0)  # noqa: S311
    for repetition in range(REPETITIONS + 1):
        for name in order.sample(sorted(arms), len(arms)):
            arms[name].time()
        if not repetition:
            for arm in arms.values():
                arm.rates.clear()


if __name__ == "__main__":
    main()
