"""Methods on sequences: tokens without an alignment, in both loops, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.errors import DataError, MethodError, ModelError, TeacherError
from limbeck.losses import best_path
from limbeck.methods import CE, CTC, KD, METHODS, CTCFrames, CTCSequence, Method, SampleWeights, WarmUp
from limbeck.recipe import Execution, Training
from limbeck.recipe.training import AdamW
from limbeck.teachers import Ensemble, LiveTeacher
from limbeck.training import distilling, start, train
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, Pool

TOKENS, FRAMES, FEATURES = 4, 12, 6
every_one = pytest.mark.parametrize("method", [CTC(), CTCFrames(), CTCSequence()], ids=lambda one: one.kind)


@dataclass
class Speech:
    """Utterances of which each token is a noisy pattern for two frames, with silence between; half are labelled."""

    noise: float = 0.3
    examples: int = 16

    def batch(self, number: int) -> Batch:
        generator = torch.Generator().manual_seed(number % 8)
        tokens = torch.randint(1, TOKENS, (self.examples, 3), generator=generator)
        tokens[::4, 2] = ABSENT
        patterns = torch.eye(TOKENS, FEATURES)
        spoken = patterns[tokens.clamp(min=0)][:, :, None].expand(-1, -1, 4, -1).clone()
        spoken[:, :, 2:] = patterns[0]
        inputs = spoken.reshape(self.examples, FRAMES, FEATURES)
        inputs = inputs + self.noise * torch.randn(inputs.shape, generator=generator)
        lengths = torch.where(tokens[:, 2] == ABSENT, 8, FRAMES)
        tokens[1::2] = ABSENT
        ids = torch.arange(self.examples) + number * self.examples
        mask = torch.arange(FRAMES) < lengths[:, None]
        return Batch(ids, inputs, tokens, torch.full_like(ids, CLEAN), mask)

    def clean(self, batch: Batch) -> Batch:
        return batch

    @property
    def pool(self) -> Pool:
        ids = torch.arange(8 * self.examples)
        return Pool(ids, torch.full_like(ids, ABSENT))


def net(width: int = 8, every: int = 1) -> nn.Module:
    return nn.Sequential(Every(every), nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, TOKENS))


class Every(nn.Module):
    """Leaves frames out."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, :: self.every]


def knowing() -> LiveTeacher:
    """A teacher that hears each pattern."""
    layer = nn.Linear(FEATURES, TOKENS)
    with torch.no_grad():
        layer.weight.copy_(8 * torch.eye(TOKENS, FEATURES))
        layer.bias.zero_()
    return LiveTeacher(layer, classes=TOKENS, sequences=True)


def settings(steps: int) -> dict[str, Any]:
    training = Training(
        steps=steps, batch_examples=16, optimizer=AdamW(learning_rate=0.05), evaluate_every_steps=steps
    )
    return {"training": training, "execution": Execution(), "seed": 0}


def trained(method: Method, steps: int = 60, build: Callable[[], nn.Module] = net) -> list[float]:
    stream, teacher = Speech(), knowing()
    state = start(build, method, teacher, stream, **settings(steps))
    return [step.loss for step in train(state, stream, teacher, execution=Execution())]


def errors(student: nn.Module) -> float:
    """The share of utterances, other than those trained on, that it spells wrongly."""
    batch = replace(Speech().batch(7), labels=ABSENT + torch.zeros(16, 3, dtype=torch.long))
    truth = best_path(knowing()(batch).logits, lengths=batch.mask.sum(-1))
    with torch.no_grad():
        said = best_path(student.eval()(batch.inputs), lengths=batch.mask.sum(-1))
    pairs = zip(said.tolist(), truth.tolist(), strict=True)
    return sum([one for one in a if one >= 0] != [one for one in b if one >= 0] for a, b in pairs) / 16


@every_one
def test_its_loss_falls_in_training(method: Method) -> None:
    losses = trained(method)
    assert sum(losses[-5:]) < 0.35 * sum(losses[:5])


def test_a_teacher_helps_where_few_utterances_have_labels() -> None:
    class Few(Speech):
        def batch(self, number: int) -> Batch:
            batch = super().batch(number)
            labels = torch.full_like(batch.labels, ABSENT)
            labels[0] = super().batch(0).labels[0]
            return replace(batch, labels=labels)

    found = []
    for method in (CTC(), CTC(weight=0.1) + CTCFrames(weight=3)):
        state = start(net, method, knowing(), Few(), **settings(60))
        list(train(state, Few(), knowing(), execution=Execution()))
        found.append(errors(state.student))
    alone, taught = found
    assert taught < 0.2 < 0.5 < alone


def test_without_a_teacher_it_is_torchs_loss_of_each_utterance() -> None:
    batch = Speech().batch(0)
    logits = torch.randn(16, FRAMES, TOKENS, dtype=torch.float64, requires_grad=True)
    term = CTC(weight=0.5).loss(Outputs(logits), None, batch, None)["ctc"]
    spoken = batch.labels != ABSENT
    for row in range(0, 16, 2):
        frames = int(batch.mask[row].sum())
        wanted = functional.ctc_loss(
            logits[row, :frames].log_softmax(-1), batch.labels[row][spoken[row]],
            torch.tensor(frames), spoken[row].sum(), reduction="none",
        )  # fmt: skip
        torch.testing.assert_close(term.values[row], wanted)
    assert term.weights.tolist() == [1.0, 0.0] * 8
    assert term.scale == 0.5


@every_one
def test_frames_after_an_utterance_count_for_nothing(method: Method) -> None:
    batch = Speech().batch(0)
    logits, theirs = torch.randn(16, FRAMES, TOKENS), knowing()(batch)
    outside = ~batch.mask[..., None]
    other = torch.where(outside, 9 * torch.randn(logits.shape), logits)
    silent = replace(theirs, dense=torch.where(outside, -theirs.logits, theirs.logits))

    def number(ours: Tensor, answers: Outputs) -> Tensor:
        [term] = method.loss(Outputs(ours), answers, batch, None).values()
        return (term.values * term.weights).sum()

    torch.testing.assert_close(number(other, silent), number(logits, theirs))
    unmasked = replace(batch, mask=None)
    [term] = method.loss(Outputs(other), theirs, unmasked, None).values()
    assert not torch.isclose((term.values * term.weights).sum(), number(other, theirs))


def test_a_student_that_skips_frames_spells_what_the_teacher_spells() -> None:
    losses = trained(CTCSequence(), build=lambda: net(every=2))
    assert sum(losses[-5:]) < 0.35 * sum(losses[:5])
    with pytest.raises(MethodError, match=r"6 frames where the teacher has 12.*ctc-sequence"):
        trained(CTCFrames(), 1, build=lambda: net(every=2))


@every_one
def test_the_own_loop_has_the_same_loss(method: Method) -> None:
    stream, teacher = Speech(), knowing()
    state = start(net, method, teacher, stream, **settings(1))
    [step] = train(start(net, method, teacher, stream, **settings(1)), stream, teacher, execution=Execution())
    with distilling(state.student.train(), teacher, method, allow_labels=True) as own:
        assert float(own.loss(stream.batch(0)).detach()) == pytest.approx(step.loss, rel=1e-5)
    module = teacher.offer.module
    with distilling(state.student, module, method, allow_labels=True) as own:
        logits = state.student(stream.batch(0).inputs)
        assert float(own.loss(stream.batch(0), logits=logits).detach()) == pytest.approx(step.loss, rel=1e-5)


def test_an_ensemble_answers_in_every_frame_too() -> None:
    stream, teacher = Speech(), Ensemble([knowing(), knowing()])
    assert teacher.offer.sequences
    state = start(net, CTCFrames(), teacher, stream, **settings(2))
    assert len(list(train(state, stream, teacher, execution=Execution()))) == 2
    one_answer = LiveTeacher(
        nn.Sequential(nn.Flatten(), nn.Linear(FRAMES * FEATURES, TOKENS)), classes=TOKENS, copy=False
    )
    with pytest.raises(TeacherError, match="once an example"):
        Ensemble([knowing(), one_answer])


def test_other_methods_refuse_sequences_and_these_refuse_one_answer() -> None:
    stream, teacher = Speech(), knowing()
    for method in (CE(), KD()):
        asked = teacher if not method.reads.teacher else LiveTeacher(net(), classes=TOKENS)
        with pytest.raises((ModelError, TeacherError), match=r"expected \[(batch|16), (classes|4)\]"):
            start(net, method, asked, stream, **settings(1))
    with pytest.raises(ModelError, match=r"reads sequences.*\[batch, frames, classes\]"):
        start(lambda: nn.Sequential(net(), Every(1), nn.Flatten()), CTC(), None, stream, **settings(1))
    with pytest.raises(TeacherError, match=r"in every frame.*sequences=True"):
        start(net, CTCFrames(), LiveTeacher(net(), classes=TOKENS), stream, **settings(1))
    with pytest.raises(TeacherError, match=r"once an example.*sequences=False"):
        start(net, KD(), teacher, stream, **settings(1))
    with pytest.raises(ValueError, match=r"CTC.*beside CE.*leave one of them out"):
        CTC() + CE()


def test_labels_that_cannot_be_spelled_are_refused() -> None:
    batch = Speech().batch(0)

    class Given(Speech):
        def batch(self, number: int) -> Batch:
            return given

    given = replace(batch, labels=torch.ones(16, 9, dtype=torch.long))
    with pytest.raises(MethodError, match=r"sample 0 needs 17 frames for its tokens.*answers with 8"):
        CTC().loss(Outputs(torch.randn(16, FRAMES, TOKENS)), None, given, None)
    with pytest.raises(MethodError, match=r"ctc\.blank is 3, and the labels hold it"):
        CTC(blank=3).loss(Outputs(torch.randn(16, FRAMES, TOKENS)), None, batch, None)
    given = replace(batch, labels=torch.ones(16, dtype=torch.long))
    with pytest.raises(DataError, match=r"shape \[16\], expected \[batch, length\]"):
        start(net, CTC(), None, Given(), **settings(1))


@pytest.mark.filterwarnings("ignore:standardise takes:UserWarning")  # there are four tokens
@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].family == "modifier"])
def test_a_modifier_takes_it_or_says_why_not(name: str) -> None:
    stream, teacher = Speech(), knowing()
    for inner in (CTCFrames(), CTCSequence()):
        try:
            method: Method = METHODS[name](of=inner)
            state = start(net, method, teacher, stream, **settings(2))
        except (ValueError, MethodError):
            assert name not in ("warm-up", "schedule")
            continue
        assert len(list(train(state, stream, teacher, execution=Execution()))) == 2


def test_weights_of_samples_are_refused_by_name() -> None:
    with pytest.raises(MethodError, match=r"SampleWeights.*every frame of a sequence"):
        start(net, SampleWeights(of=CTCSequence()), knowing(), Speech(), **settings(1))
    losses = trained(WarmUp(of=CTC(), steps=2), 3)
    assert losses[0] < losses[-1]
