"""Gaussian regression: means and log-variances of the teacher."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.errors import MethodError
from limbeck.losses.regression import gaussian_kl
from limbeck.methods.response import Response
from limbeck.types import Batch


class Gaussian(Response):
    """Match the teacher's predicted normal distributions: means and log-variances.

    For models with an even number of outputs: the first half are means, the second half log-variances. The
    student learns how sure the teacher is, not only what it says.

    Helps:
        For regression where the teacher knows how uncertain it is.

    Costs:
        Nothing but a pass over the logits.

    References:
        Kullback & Leibler, `On Information and Sufficiency <https://doi.org/10.1214/aoms/1177729694>`_, 1951.
    """

    paper: ClassVar[str] = "https://doi.org/10.1214/aoms/1177729694"

    kind: Literal["gaussian"] = "gaussian"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return gaussian_kl(*_halves(student), *_halves(teacher))


def _halves(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log-variances.

    Raises:
        MethodError: If they cannot be as many.
    """
    if outputs.shape[1] % 2:
        raise MethodError(
            f"gaussian reads as many means as log-variances, and there are {outputs.shape[1]} outputs, expected "
            "an even number. Give both models one log-variance for each mean, or use regression."
        )
    means, log_variances = outputs.chunk(2, 1)
    return means, log_variances
