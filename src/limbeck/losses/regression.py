"""Distances between predicted numbers, and between predicted normal distributions."""

from __future__ import annotations

from typing import Final

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.losses.widening import wide

_LARGEST_EXPONENT: Final = 40.0
"""From here on the exponential goes on as its tangent, so that it stays finite and still pulls the right way."""


def squared_error(
    student: Float[Tensor, "batch outputs"], teacher: Float[Tensor, "batch outputs"]
) -> Float[Tensor, " batch"]:
    r"""Mean squared difference over the outputs.

    .. math:: \frac{1}{D} \sum_d (s_d - t_d)^2

    Args:
        student: Predictions, in the units of the scaled targets.
        teacher: The same, from the teacher. Gradients flow into both.

    Returns:
        One number (squared units) per example, not negative; 0 where the two agree.
    """
    return (wide(student) - wide(teacher)).square().mean(-1)


def huber(
    student: Float[Tensor, "batch outputs"],
    teacher: Float[Tensor, "batch outputs"],
    *,
    delta: float = 1.0,
) -> Float[Tensor, " batch"]:
    r"""Mean Huber loss over the outputs: half the square of small differences, linear in large ones.

    .. math:: \frac{1}{D} \sum_d \begin{cases} e_d^2 / 2 & |e_d| \le \delta \\
              \delta (|e_d| - \delta / 2) & |e_d| > \delta \end{cases}, \quad e = s - t

    Args:
        student: Predictions, in the units of the scaled targets.
        teacher: The same, from the teacher. Gradients flow into both.
        delta: The difference from which on the loss is linear, in the same units.

    Returns:
        One number (squared units) per example, not negative; 0 where the two agree.

    References:
        Huber, `Robust Estimation of a Location Parameter <https://doi.org/10.1214/aoms/1177703732>`_, 1964.
    """
    error = (wide(student) - wide(teacher)).abs()
    near = error.clamp(max=delta)
    return (near * (error - near / 2)).mean(-1)


def gaussian_kl(
    student_means: Float[Tensor, "batch outputs"],
    student_log_variances: Float[Tensor, "batch outputs"],
    teacher_means: Float[Tensor, "batch outputs"],
    teacher_log_variances: Float[Tensor, "batch outputs"],
) -> Float[Tensor, " batch"]:
    r"""Mean over the outputs of the KL divergence of the student's normal distribution from the teacher's.

    .. math:: KL(N(\mu_t, \sigma_t^2) \| N(\mu_s, \sigma_s^2)) = \tfrac{1}{2} \left( e^{v_t - v_s}
              - (v_t - v_s) - 1 + (\mu_t - \mu_s)^2 e^{-v_s} \right), \quad v = \log \sigma^2

    With equal variances this is the squared difference of the means over twice the variance. An exponential
    above :math:`e^{40}` is replaced by its tangent there.

    Args:
        student_means: Predicted means, in the units of the scaled targets.
        student_log_variances: The natural logarithms of the predicted variances (squared units).
        teacher_means: Means, from the teacher. Gradients flow into both sides.
        teacher_log_variances: Log-variances, from the teacher.

    Returns:
        One number (nats per output) per example, not negative but for rounding; 0 where the two agree.

    References:
        Kullback & Leibler, `On Information and Sufficiency <https://doi.org/10.1214/aoms/1177729694>`_, 1951.
    """
    shift = (wide(teacher_means) - wide(student_means)).square() * _exponential(-wide(student_log_variances))
    wider = wide(teacher_log_variances) - wide(student_log_variances)
    return (0.5 * (_exponential(wider) - 1 - wider + shift)).mean(-1)


def bounded_squared_error(
    student: Float[Tensor, "batch outputs"],
    teacher: Float[Tensor, "batch outputs"],
    targets: Float[Tensor, "batch outputs"],
    *,
    margin: float = 0.0,
) -> Float[Tensor, " batch"]:
    r"""The student's squared error on the targets, as long as it is not below the teacher's by a margin.

    .. math:: \begin{cases} e_s & e_s + m > e_t \\ 0 & \text{else} \end{cases},
              \quad e_s = \frac{1}{D} \sum_d (s_d - y_d)^2, \; e_t = \frac{1}{D} \sum_d (t_d - y_d)^2

    The teacher is a bound on the error, not a target: a wrong teacher does not mislead. The value jumps at
    the bound.

    Args:
        student: Predictions, in the units of the scaled targets.
        teacher: The same, from the teacher, to whom no gradient flows.
        targets: The true values.
        margin: How far below the teacher's the student's error has to be (squared units).

    Returns:
        One number (squared units) per example, not negative; 0 where the student is as good as asked.

    References:
        Chen, Choi, Yu, Han & Chandraker, `Learning Efficient Object Detection Models with Knowledge Distillation
        <https://papers.nips.cc/paper/6676-learning-efficient-object-detection-models-with-knowledge-distillation>`_,
        2017, section 3.3.
    """
    error = squared_error(student, targets)
    return error.masked_fill(error + margin <= squared_error(teacher, targets), 0.0)


def _exponential(exponent: Tensor) -> Tensor:
    """exp(x), and its tangent above the largest exponent."""
    excess = functional.relu(exponent - _LARGEST_EXPONENT)
    return exponent.clamp(max=_LARGEST_EXPONENT).exp() * (1 + excess)
