from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from limbeck.errors import DataError
from limbeck.evaluation import gap, retention, validation_warning, verdict
from limbeck.evaluation.bootstrap import interval, resampled_means, seed_weights


def scores(accuracies: list[float], *, examples: int = 1000, seed: int = 0) -> np.ndarray:
    """Right and wrong, correlated between rows as models on the same examples are."""
    rng = np.random.default_rng(seed)
    hardness = np.clip(rng.random(examples) + 0.02 * rng.normal(size=(len(accuracies), examples)), 0, 1)
    return (hardness < np.array(accuracies)[:, None]).astype(float)


BASELINE = scores([0.80, 0.81, 0.79], seed=1)
STUDENT = scores([0.87, 0.88, 0.87], seed=1)
TEACHER = scores([0.91], seed=1)[0]


def test_words_follow_from_the_interval():
    assert verdict(STUDENT, BASELINE, margin=0.005).word == "beats"
    assert verdict(BASELINE, STUDENT, margin=0.005).word == "hurts"
    assert verdict(STUDENT, STUDENT, margin=0.005).word == "ties"
    noisy = scores([0.79, 0.83, 0.77], seed=2)
    assert verdict(noisy, BASELINE, margin=0.005).word == "open"
    assert verdict(noisy, BASELINE, margin=1.0).word == "ties"


def test_a_tie_without_margin_needs_equality():
    found = verdict(STUDENT, STUDENT, margin=0.0)
    assert (found.word, found.difference, found.low, found.high, found.p) == ("ties", 0, 0, 0, 1)


def test_the_difference_is_that_of_the_means_inside_its_interval():
    found = verdict(STUDENT, BASELINE, margin=0.01)
    assert found.difference == pytest.approx(STUDENT.mean() - BASELINE.mean())
    assert found.low < found.difference < found.high
    assert (found.margin, found.seeds, found.reason) == (0.01, 3, None)


def test_p_equals_a_paired_t_test_over_seeds():
    expected = stats.ttest_rel(STUDENT.mean(1), BASELINE.mean(1)).pvalue
    assert verdict(STUDENT, BASELINE, margin=0.0).p == pytest.approx(expected)


def test_the_same_input_gives_the_same_verdict_and_another_seed_a_close_one():
    first, again = (verdict(STUDENT, BASELINE, margin=0.0) for _ in range(2))
    other = verdict(STUDENT, BASELINE, margin=0.0, seed=5)
    assert first == again
    assert other.low != first.low
    assert other.low == pytest.approx(first.low, abs=0.1 * (first.high - first.low))


def test_swapping_the_sides_mirrors_the_interval():
    there, back = verdict(STUDENT, BASELINE, margin=0.0), verdict(BASELINE, STUDENT, margin=0.0)
    width = there.high - there.low
    assert back.low == pytest.approx(-there.high, abs=0.1 * width)
    assert back.high == pytest.approx(-there.low, abs=0.1 * width)


def test_pairing_seeds_matters_and_their_order_does_not():
    luck = np.random.default_rng(3).normal(size=(5, 1)) / 10  # what a seed does to both
    base = scores([0.8] * 5) + luck
    better = base + 0.02
    paired = verdict(better, base, margin=0.0)
    assert paired.word == "beats"
    assert verdict(better, base[[1, 2, 3, 4, 0]], margin=0.0).word == "open"
    order = [3, 1, 4, 0, 2]
    assert verdict(better[order], base[order], margin=0.0).low == pytest.approx(paired.low, abs=1e-9)


def test_one_seed_resamples_examples_only_and_says_so():
    found = verdict(STUDENT[:1], BASELINE[:1], margin=0.0)
    assert found.p is None
    assert "other examples, not other seeds" in (found.reason or "")
    error = (STUDENT[0] - BASELINE[0]).std() / 1000**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_baseline_without_seeds_stands_as_one_row():
    found = verdict(STUDENT, TEACHER[None], margin=0.005)
    assert found.word == "hurts"
    assert found.p == pytest.approx(stats.ttest_1samp(STUDENT.mean(1), TEACHER.mean()).pvalue)


@pytest.mark.parametrize(
    ("student", "baseline", "message"),
    [
        (STUDENT, BASELINE[:2], "same list of seeds"),
        (STUDENT, BASELINE[:, :10], "same examples"),
        (STUDENT * np.nan, BASELINE, "finite"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_scores_that_do_not_pair_are_refused(student, baseline, message):
    with pytest.raises(DataError, match=message):
        verdict(student, baseline, margin=0.0)


def test_a_negative_margin_is_refused():
    with pytest.raises(DataError, match=r"evaluation\.margin"):
        verdict(STUDENT, BASELINE, margin=-0.1)


def test_retention_is_the_ratio_of_means_inside_its_interval():
    found = retention(STUDENT, TEACHER)
    assert found.value == pytest.approx(STUDENT.mean() / TEACHER.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert retention(np.stack([TEACHER] * 3), TEACHER).low == pytest.approx(1)


def test_retention_of_a_loss_is_turned_round():
    found = retention(2 - STUDENT, 2 - TEACHER, higher_is_better=False)
    assert found.value == pytest.approx((2 - TEACHER).mean() / (2 - STUDENT).mean())


def test_retention_is_absent_with_a_reason_where_the_teacher_is_at_zero():
    found = retention(STUDENT, np.zeros_like(TEACHER))
    assert (found.value, found.low, found.high) == (None, None, None)
    assert "the teacher's score is 0.0000" in (found.reason or "")


def test_gap_is_one_for_the_teacher_and_zero_for_the_baseline():
    assert gap(np.stack([TEACHER] * 3), BASELINE, TEACHER).value == pytest.approx(1)
    assert gap(BASELINE, BASELINE, TEACHER).value == pytest.approx(0)
    found = gap(STUDENT, BASELINE, TEACHER)
    expected = (STUDENT.mean() - BASELINE.mean()) / (TEACHER.mean() - BASELINE.mean())
    assert found.value == pytest.approx(expected)
    assert found.low is not None
    assert found.high is not None
    assert found.low < expected < found.high


def test_gap_of_several_seeds_above_one_baseline_row():
    assert gap(STUDENT, BASELINE[:1], TEACHER).value == pytest.approx(
        (STUDENT.mean() - BASELINE[0].mean()) / (TEACHER.mean() - BASELINE[0].mean())
    )


@pytest.mark.parametrize("teacher", [BASELINE[0], BASELINE[0] * 0])
def test_gap_is_absent_with_a_reason_where_the_teacher_is_no_better(teacher):
    found = gap(STUDENT, BASELINE, teacher)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert "lead over the baseline" in (found.reason or "")


def test_seed_weights_sum_to_one_and_are_equal_on_average():
    weights = seed_weights(4, resamples=4000, seed=0)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights.mean(0), 0.25, atol=0.03)


def test_resampled_means_have_the_mean_and_the_error_of_the_mean():
    for rows in (STUDENT[:1], np.random.default_rng(4).random((1, 1000))):  # few distinct columns, and many
        means = resampled_means(rows, resamples=2000, seed=0)
        assert means.mean() == pytest.approx(rows.mean(), abs=4 * rows.std() / (2000 * 1000) ** 0.5)
        assert means.std() == pytest.approx(rows.std() / 1000**0.5, rel=0.1)


def test_rows_are_resampled_by_the_same_draw():
    rows = np.random.default_rng(5).random((2, 50))
    means = resampled_means(np.vstack([rows, rows.sum(0)]), resamples=20, seed=0)
    np.testing.assert_allclose(means[:, 0] + means[:, 1], means[:, 2])


@pytest.mark.parametrize(
    ("seeds", "seed_spread", "example_spread"), [(3, 1.0, 0.1), (3, 0.1, 1.0), (5, 1.0, 0.1), (5, 0.2, 1.0)]
)
def test_intervals_cover_the_truth_as_often_as_they_claim(seeds, seed_spread, example_spread):
    rng, held, trials = np.random.default_rng(6), 0, 300
    for trial in range(trials):
        table = seed_spread * rng.normal(size=(seeds, 1)) + example_spread * rng.normal(size=(1, 60))
        table = table + 0.1 * rng.normal(size=(seeds, 60))
        means = resampled_means(table, resamples=400, seed=trial)
        low, high = interval((means * seed_weights(seeds, resamples=400, seed=trial)).sum(1))
        held += low <= 0 <= high
    assert held / trials > 0.95 - 3 * (0.95 * 0.05 / trials) ** 0.5  # three standard errors


def test_validation_warning_comes_when_the_margin_is_finer_than_the_data():
    assert validation_warning(100_000, margin=0.005) is None
    text = validation_warning(1000, margin=0.005, disagreement=0.1) or ""
    assert "1,000 validation examples" in text
    assert f"{1.96 * (0.1 / 1000) ** 0.5:.4f}" in text
    assert "15,367 would do" in text
    assert validation_warning(15_367, margin=0.005) is None
    assert "none are enough" in (validation_warning(1000, margin=0.0) or "")
