"""A choice changes what it names and nothing else."""

from __future__ import annotations

import pytest

from limbeck.methods import CE, KD, Method, parts
from limbeck.recipe import AdamW, Choice, Training


def test_an_empty_choice_changes_nothing() -> None:
    training, method = Training(), KD(temperature=3) + CE()
    assert Choice().apply(training, method) == (training, method)


@pytest.mark.parametrize("training", [Training(), Training(optimizer=AdamW())])
def test_the_optimizer_gets_what_is_chosen(training: Training) -> None:
    chosen, method = Choice(learning_rate=0.5, weight_decay=0.0).apply(training, KD())
    assert (chosen.optimizer.learning_rate, chosen.optimizer.weight_decay) == (0.5, 0.0)
    assert method == KD()
    assert Training.model_validate(chosen.model_dump()) == chosen
    same = {"learning_rate", "weight_decay"}
    assert chosen.optimizer.model_dump(exclude=same) == training.optimizer.model_dump(exclude=same)


@pytest.mark.parametrize("method", [CE(weight=2), KD() + 0.1 * CE(), CE() + KD(temperature=3) + CE()])
def test_label_smoothing_reaches_every_cross_entropy_and_no_other_method(method: Method) -> None:
    _, chosen = Choice(label_smoothing=0.2).apply(Training(), method)
    before, after = parts(method), parts(chosen)
    assert [type(part) for part in after] == [type(part) for part in before]
    for old, new in zip(before, after, strict=True):
        assert new == (old.model_copy(update={"label_smoothing": 0.2}) if isinstance(old, CE) else old)
