"""Distances between distributions over classes that have an order."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from limbeck.losses.probability import log_probs


def squared_emd(
    student_logits: Float[Tensor, "*batch classes"],
    teacher_logits: Float[Tensor, "*batch classes"],
    *,
    temperature: float | Tensor = 1.0,
) -> Float[Tensor, "*batch"]:
    r"""Squared earth mover's distance of the student's class distribution from the teacher's.

    .. math:: \sum_{k=1}^{C-1} \Big( \sum_{c \le k} p_c - q_c \Big)^2,
              \quad p = softmax(z^t / T), \; q = softmax(z^s / T)

    Grows with the number of classes that probability has to be carried across, as a KL divergence does
    not. The sum over all classes has no part in it: there the two are 1 both.

    Args:
        student_logits: Unnormalised scores, in the order of the classes. ``-inf`` marks a class that is not
            there; its place in the order remains.
        teacher_logits: The same, from the teacher. Gradients flow into both.
        temperature: Divides both sets of logits; above 1 softens them. A tensor broadcasts to ``[*batch, 1]``.

    Returns:
        One number between 0 and C - 1 per example; 0 where the two agree.

    References:
        Hou, Yu & Samaras, `Squared Earth Mover's Distance-based Loss for Training Deep Neural Networks
        <https://arxiv.org/abs/1611.05916>`_, 2016.
    """
    p = log_probs(teacher_logits, temperature=temperature).exp()
    q = log_probs(student_logits, temperature=temperature).exp()
    return (p - q).cumsum(-1)[..., :-1].square().sum(-1)
