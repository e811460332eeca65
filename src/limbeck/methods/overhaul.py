"""Before the ReLU: what matters of the teacher's features, and no more (Heo et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.activation import partial_error, relu_margin
from limbeck.methods.base import Traced
from limbeck.methods.connectors import connector, width
from limbeck.methods.pairs import Averaged, Pair, made
from limbeck.taps import Layer
from limbeck.types import Outputs


class _Margin(nn.Module):
    """A connector, and below which number of each channel the teacher's ReLU hides everything."""

    margin: Tensor

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...], norm: nn.Module) -> None:
        super().__init__()
        self.connect = nn.Sequential(connector(student, teacher), nn.BatchNorm2d(width(teacher)))
        self.register_buffer("margin", relu_margin(norm.get_parameter("bias"), norm.get_parameter("weight")))


class Overhaul(Averaged):
    """Match the teacher before its ReLU, where a negative number need only be low enough.

    The student's stages, after trained maps, are compared with the last batch normalisation of each of the
    teacher's stages that stands before a ReLU: its shift and scale say how low. Later stages count more: each
    stage half as much as the next. The published weight of 0.001 belongs to a sum over the elements; this is the
    mean.

    Helps:
        Between convolutional nets with batch normalisation before their ReLUs.

    Costs:
        A trained map for each stage, dropped at the end. It needs the teacher's module.

    References:
        Heo, Kim, Yun, Park, Kwak & Choi, `A Comprehensive Overhaul of Feature Distillation
        <https://arxiv.org/abs/1904.01866>`_, 2019.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1904.01866"

    kind: Literal["overhaul"] = "overhaul"

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Overhaul:
        bound = super().bind(student, teacher)
        known = {layer.name: layer for layer in teacher or ()}
        pairs = tuple(
            Pair(student=pair.student, teacher=_before_relu(known, pair.teacher)) for pair in bound.named
        )
        return self.model_copy(update={"pairs": pairs})

    def init(self, traced: Traced) -> nn.Module | None:
        model = traced.teacher_model
        if model is None:
            raise MethodError("overhaul reads the teacher's batch normalisation. Give the teacher's module.")
        sides = self.features(traced.student, traced.teacher)
        return nn.ModuleList(
            _Margin(tuple(ours.shape), tuple(theirs.shape), model.get_submodule(pair.teacher))
            for pair, (ours, theirs) in zip(self.named, sides, strict=True)
        )

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        last = len(self.named) - 1
        for number, (margin, (ours, theirs)) in enumerate(
            zip(made(self, state, _Margin), self.features(student, teacher), strict=True)
        ):
            yield 0.5 ** (last - number) * partial_error(margin.connect(ours), theirs, margin.margin)


def _before_relu(layers: dict[str, Layer], place: str) -> str:
    """The last batch normalisation with the size of a place whose answer goes into a ReLU.

    Raises:
        MethodError: If there is none.
    """
    goal = layers[place]
    if goal.kind == "BatchNorm2d":
        return place
    ended = {layer.ended: layer for layer in layers.values()}
    size = (goal.shape or ())[2:]
    fitting = [
        layer
        for layer in layers.values()
        if layer.kind == "BatchNorm2d"
        and (layer.shape or ())[2:] == size
        and layer.ended <= goal.ended
        and (after := ended.get(layer.ended + 1)) is not None
        and after.kind == "ReLU"
    ]
    if not fitting:
        raise MethodError(
            f"overhaul compares what a batch normalisation hands to a ReLU, and the teacher has none up to {place!r} "
            "with feature maps of that size. Name the normalisation layers as pairs, or take hint."
        )
    return max(fitting, key=lambda layer: layer.ended).name
