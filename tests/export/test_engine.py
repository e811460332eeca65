"""Answers from onnxruntime without a file are the model's."""

from __future__ import annotations

import torch
from torch import nn

from limbeck.export import onnx_engine


def test_onnxruntime_answers_as_the_model_does_for_any_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 9, 3)
    ).eval()
    answers = onnx_engine(model, torch.zeros(2, 2, 5, 5))
    for examples in (1, 7):
        inputs = torch.randn(examples, 2, 5, 5).to(memory_format=torch.channels_last)
        torch.testing.assert_close(answers(inputs), model(inputs).detach(), rtol=1e-4, atol=1e-5)
