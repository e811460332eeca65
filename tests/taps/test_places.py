"""What a recipe calls a layer, and which layers of two models belong together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.models import MLP, Architecture, Residual, Separable, ViT
from limbeck.taps import Layer, layers, paired_stages, penultimate, places, shape_at, stages

SHAPE = (1, 28, 28)


def traced(config: Architecture) -> list[Layer]:
    return layers(config.build(SHAPE, 10), torch.zeros(2, *SHAPE))


CNN = traced(Residual(width=4, depth=2, stages=3))
VIT = traced(ViT(width=32, depth=2))
PLAIN = traced(MLP(width=16, depth=3))


def test_a_path_is_itself() -> None:
    assert places(CNN, "stages.1.0") == ["stages.1.0"]
    assert places(CNN, "head@in") == ["head@in"]


def test_a_pattern_names_the_layers_of_one_depth_in_the_order_they_run() -> None:
    assert places(CNN, "stages.*") == ["stages.0", "stages.1", "stages.2"]
    assert places(VIT, "blocks.*.norm@in") == ["blocks.0.norm@in", "blocks.1.norm@in"]


def test_penultimate_is_what_the_head_reads() -> None:
    assert penultimate(CNN) == penultimate(VIT) == penultimate(PLAIN) == "head@in"
    assert shape_at(CNN, "head@in") == (2, 16)


def test_a_stage_is_a_resolution_a_block_or_a_hidden_layer() -> None:
    assert stages(CNN) == ["stages.0", "stages.1", "stages.2"]
    assert [shape_at(CNN, place)[2] for place in stages(CNN)] == [28, 14, 7]
    assert stages(VIT) == ["blocks.0", "blocks.1"]
    assert stages(PLAIN) == ["layers.0", "layers.1", "layers.2"]


def test_stages_are_numbered_from_one_and_from_the_end() -> None:
    assert places(CNN, "stage:2") == ["stages.1"]
    assert places(CNN, "stage:-1") == ["stages.2"]
    with pytest.raises(ModelError, match="has 3 stages, so there is no stage:4"):
        places(CNN, "stage:4")
    with pytest.raises(ModelError, match="Did you mean 'stage'"):
        places(CNN, "stag:1")


def test_attention_is_named_by_what_it_makes() -> None:
    assert places(VIT, "queries:2") == ["blocks.1.attention.query"]
    assert places(VIT, "values:-1") == ["blocks.1.attention.value"]


def test_an_unknown_layer_lists_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no layer 'stage\.1'\. Did you mean 'stages\.1'"):
        places(CNN, "stage.1")
    with pytest.raises(ModelError, match="There is nothing to read at 'heads'"):
        shape_at(CNN, "heads")


def test_a_model_without_a_linear_layer_has_nothing_penultimate() -> None:
    found = layers(nn.Sequential(nn.Conv2d(1, 3, 28), nn.Flatten()), torch.zeros(2, *SHAPE))
    with pytest.raises(ModelError, match="'penultimate'"):
        penultimate(found)


def test_maps_are_paired_by_resolution() -> None:
    student = traced(Separable(width=8, depth=1))  # stem 14 x 14, stages 7 x 7 and 4 x 4
    pairs = paired_stages(student, traced(Residual(width=4, depth=1, stages=3, stem_stride=2)))
    assert pairs == [("stem", "stages.0"), ("stages.0", "stages.1"), ("stages.1", "stages.2")]


def test_the_last_stage_is_paired_with_the_last() -> None:
    for student in (CNN, VIT, PLAIN):
        for teacher in (CNN, VIT, PLAIN):
            pairs = paired_stages(student, teacher)
            assert [pair[0] for pair in pairs] == stages(student)
            assert pairs[-1][1] == stages(teacher)[-1]
            order = [stages(teacher).index(pair[1]) for pair in pairs]
            assert order == sorted(order)
