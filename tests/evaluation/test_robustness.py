from __future__ import annotations

import importlib

import numpy as np
import pytest

from limbeck.errors import DataError
from limbeck.evaluation import SEVERITIES, corrupt, corruptions, robustness

RNG = np.random.default_rng(7)
IMAGES = (RNG.random((6, 12, 10, 3)) * 255).astype(np.uint8)
FEATURES = RNG.normal(size=(200, 8)).astype(np.float32)
every_corruption = pytest.mark.parametrize("name", corruptions("image"))


@every_corruption
@pytest.mark.parametrize("severity", SEVERITIES)
def test_shape_and_dtype_are_kept_and_the_input_is_left_alone(name, severity):
    before = IMAGES.copy()
    spoiled = corrupt(IMAGES, name, severity=severity)
    assert (spoiled.shape, spoiled.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert (spoiled != IMAGES).any()
    np.testing.assert_array_equal(IMAGES, before)


@every_corruption
def test_a_sample_is_spoiled_alike_in_any_order_and_company(name):
    order = np.array([4, 0, 5, 2])
    whole = corrupt(IMAGES, name, severity=2, seed=3)
    np.testing.assert_array_equal(corrupt(IMAGES[order], name, severity=2, seed=3, ids=order), whole[order])


@every_corruption
def test_stronger_is_further_from_the_image(name):
    smooth = np.zeros((40, 20, 20, 1), np.uint8)
    smooth[:, 5:15, 5:15] = 200
    away = [np.abs(corrupt(smooth, name, severity=level).astype(int) - smooth).mean() for level in SEVERITIES]
    assert away == sorted(away)
    assert away[0] < away[2]


@pytest.mark.parametrize("name", ["noise", "shift"])
def test_another_seed_spoils_otherwise(name):
    assert (corrupt(IMAGES, name, severity=1, seed=0) != corrupt(IMAGES, name, severity=1, seed=1)).any()


def test_blocks_do_not_show(monkeypatch):
    whole = {name: corrupt(IMAGES, name, severity=2) for name in corruptions("image")}
    module = importlib.import_module("limbeck.evaluation.robustness")
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 2 * IMAGES[0].size)
    for name, expected in whole.items():
        np.testing.assert_array_equal(corrupt(IMAGES, name, severity=2), expected)


def test_shift_moves_the_picture_whole_by_at_most_its_step():
    dot = np.zeros((30, 21, 21, 1), np.uint8)
    dot[:, 10, 10] = 255
    found = np.argwhere(corrupt(dot, "shift", severity=1)[..., 0])
    assert len(found) == 30
    moves = found[:, 1:] - 10
    assert (np.abs(moves).max(axis=1) == 1).all()
    assert len(np.unique(moves, axis=0)) > 4


def test_contrast_keeps_each_channel_mean_and_shrinks_the_spread():
    spoiled = corrupt(IMAGES, "contrast", severity=2).astype(float)
    np.testing.assert_allclose(spoiled.mean(axis=(1, 2)), IMAGES.mean(axis=(1, 2)), atol=0.5)
    np.testing.assert_allclose(spoiled.std(axis=(1, 2)), IMAGES.std(axis=(1, 2)) / 2, atol=0.5)


def test_noise_on_features_is_in_units_of_their_deviation():
    scales = np.array([1, 10, 0.1, 1, 1, 1, 1, 1], np.float32)
    spoiled = corrupt(FEATURES, "noise", severity=3, deviations=scales)
    assert spoiled.dtype == np.float32
    added = (spoiled - FEATURES) / scales
    assert added.mean() == pytest.approx(0, abs=0.05)
    assert added.std() == pytest.approx(0.5, rel=0.1)
    assert np.abs(np.corrcoef(added.T) - np.eye(8)).max() < 0.35  # features are spoiled independently


def test_a_seed_may_be_negative_and_is_its_own():
    assert (
        corrupt(IMAGES, "noise", severity=1, seed=-1) != corrupt(IMAGES, "noise", severity=1, seed=1)
    ).any()


@pytest.mark.parametrize(
    ("raw", "name", "severity", "message"),
    [
        (IMAGES, "nose", 1, "Did you mean 'noise'"),
        (IMAGES, "noise", 4, "severity must be 1, 2 or 3, got 4"),
        (IMAGES.astype(np.float32), "noise", 1, "uint8 images"),
        (FEATURES, "noise", 1, "deviations"),
        (FEATURES, "blur", 1, "no corruption 'blur'"),
    ],
)
def test_what_cannot_be_spoiled_is_refused(raw, name, severity, message):
    with pytest.raises(DataError, match=message):
        corrupt(raw, name, severity=severity)


def test_every_model_is_asked_about_the_same_spoiled_inputs():
    seen: dict[str, list[np.ndarray]] = {"student": [], "teacher": []}
    labels = np.array([0, 1, 0, 1, 0, 1])

    def predictor(name: str):
        def predict(raw: np.ndarray) -> np.ndarray:
            seen[name].append(raw)
            return np.eye(2)[labels if raw is IMAGES or name == "teacher" else 1 - labels]

        return predict

    found = robustness({name: predictor(name) for name in seen}, IMAGES, labels)
    for ours, theirs in zip(seen["student"], seen["teacher"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found["teacher"].clean == found["student"].clean == 1
    assert tuple(found["student"].corrupted) == corruptions("image")
    assert found["teacher"].corrupted["blur"] == (1, 1, 1)
    assert (found["teacher"].mean, found["student"].mean) == (1, 0)


def test_features_meet_noise_only():
    labels = np.zeros(200, int)
    found = robustness({"model": lambda raw: raw[:, :2]}, FEATURES, labels, deviations=np.ones(8, np.float32))
    assert list(found["model"].corrupted) == ["noise"]
