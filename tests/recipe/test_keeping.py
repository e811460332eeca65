"""What is kept of the answers is said in a word or by its kind, and must do for whoever reads it."""

from __future__ import annotations

import pytest

from limbeck.errors import RecipeError
from limbeck.recipe import dump, load
from limbeck.recipe.keeping import kind_of
from limbeck.teachers.store import DenseAnswers, TopKAnswers

RECIPE = """\
data: {kind: digits}
teacher: {model: {kind: mlp}}
student: {model: {kind: linear}}
method: {top-k: {k: 4}}
controls: [no-teacher]
"""


def refused(*overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(RECIPE, overrides=overrides)
    return str(caught.value)


def test_a_word_is_a_format_of_all_logits() -> None:
    assert kind_of(load(RECIPE).teacher.keep) == DenseAnswers()
    assert kind_of(load(RECIPE, overrides=["teacher.keep=int8"]).teacher.keep) == DenseAnswers(dtype="int8")


def test_a_kind_is_read_and_written_back() -> None:
    recipe = load(RECIPE, overrides=["teacher.keep={kind: top-k, k: 8}", "teacher.keep_taps.places=[stages]"])
    assert recipe.teacher.keep == TopKAnswers(k=8)
    assert load(dump(recipe)) == recipe


def test_a_recipe_from_before_there_were_kinds_still_loads() -> None:
    older = RECIPE.replace("{model: {kind: mlp}}", "{model: {kind: mlp}, dtype: float32}", 1)
    assert load(older).teacher.keep == "float32"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("teacher.keep=float64", "teacher.keep: must be 'float32', 'float16' or 'int8' for all logits"),
        ("teacher.keep={kind: values}", "teacher.keep.kind: must be 'dense', 'sampled', 'top-k' or"),
        ("teacher.keep={kind: top-k, q: 3}", "teacher.keep: has no field 'q'"),
        ("teacher.keep={kind: top-k, k: 0}", "teacher.keep.k: must be greater than 0"),
        ("teacher.keep_taps={places: penultimate}", "teacher.keep_taps.places: must be a list"),
        ("teacher.keep_taps={places: []}", "teacher.keep_taps.places: must hold at least 1"),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(override: str, said: str) -> None:
    assert said in refused(override)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("teacher.keep={kind: top-k, k: 3}",), "top-k reads the 4 likeliest classes; keep float16, or that"),
        (("teacher.keep={kind: sampled}",), "top-k reads the 4 likeliest classes"),
        (
            ("teacher.keep={kind: top-k}", "method={kd: {}, top-k: {}}"),
            "kd reads whole logits; keep float16, or compare",
        ),
        (
            ("teacher.keep={kind: top-k, k: 3}", "method={top-k: {k: 5}}"),
            "the 3 likeliest classes of each answer, but top-k reads the 5 likeliest classes; keep float16, or that",
        ),
        (
            ("teacher.keep={kind: top-k-sampled, draws: 49}", "method={sampled: {}}"),
            "sampled reads 50 drawn classes; keep float16, or that many",
        ),
        (
            ("teacher.keep={kind: sampled}", "method={sampled: {draw_temperature: 2}}"),
            "sampled reads 50 drawn classes at a temperature of 2",
        ),
        (
            ("teacher.keep={kind: top-k}", "method={kd: {}, hint: {}}", "teacher.keep_taps.places=[stages]"),
            "kd reads whole logits",
        ),
    ],
)
def test_few_classes_that_do_not_do_for_the_method_are_refused(
    overrides: tuple[str, ...], words: str
) -> None:
    text = refused(*overrides)
    assert "teacher.keep: is " in text
    assert words in text


@pytest.mark.parametrize(
    "overrides",
    [
        ("teacher.keep={kind: top-k, k: 4}", "controls=[pseudo-labels]"),
        ("teacher.keep={kind: top-k-sampled}", "method={top-k: {}, sampled: {}, ce: {}}"),
        ("teacher.keep={kind: sampled}", "method={sampled: {}}"),
        ("teacher.keep={kind: top-k}", "method={hint: {}}", "teacher.keep_taps.places=[stages]"),
        ("teacher.keep={kind: top-k}", "method={kd: {}, hint: {}}"),  # the teacher itself is asked
        ("teacher.keep={kind: dense, of: probabilities}", "method={kd: {}}"),
    ],
)
def test_few_classes_that_do_are_taken(overrides: tuple[str, ...]) -> None:
    load(RECIPE, overrides=overrides)


def test_the_likeliest_class_must_be_known_for_pseudo_labels() -> None:
    said = refused("teacher.keep={kind: sampled}", "method={sampled: {}}", "controls=[pseudo-labels]")
    assert "controls: must not hold 'pseudo-labels'" in said


def test_nothing_is_kept_where_the_teacher_is_asked_about_every_view() -> None:
    image = ("augmentation.shift=1", "teacher.view=same")
    assert "teacher.keep: has no effect" in refused(*image, "teacher.keep={kind: top-k}")
    assert "teacher.keep_taps: has no effect" in refused(*image, "teacher.keep_taps.places=[stages]")
