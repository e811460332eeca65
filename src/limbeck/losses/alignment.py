"""How alike two layers arrange a batch of samples, whatever their axes: centred kernel alignment (CKA).

These are similarities, 1 where the two agree, and couple the batch: each returns one number. A method takes one
minus it. Rows are samples, or the tokens of all samples.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.errors import MethodError
from limbeck.losses.geometry import directions, products, selves
from limbeck.losses.widening import widened

ROUNDINGS: Final = 16
"""A debiased Gram matrix is taken for zero up to this many roundings of each row of the whole."""


def linear_cka(
    student: Float[Tensor, "batch student_width"], teacher: Float[Tensor, "batch teacher_width"]
) -> Float[Tensor, ""]:
    r"""Cosine between the centred Gram matrices of two layers.

    .. math:: \frac{\| \bar X^\top \bar Y \|_F^2}{\| \bar X^\top \bar X \|_F \, \| \bar Y^\top \bar Y \|_F}

    where :math:`\bar X` has columns of mean 0. Blind to the scale, a rotation and a translation of either side.
    Biased upwards where the layers are wider than the batch: independent ones then seem alike, and any two
    layers do over two rows. :func:`debiased_cka` is not.

    Args:
        student: Rows of features. Rows that are all equal are like nothing: 0, without a gradient.
        teacher: The same, from the teacher, of any width. Gradients flow into both.

    Returns:
        A number from 0 to 1; 1 where the two agree up to what it is blind to.

    Raises:
        MethodError: If there are fewer than two rows.

    References:
        Kornblith, Norouzi, Lee & Hinton, `Similarity of Neural Network Representations Revisited
        <https://arxiv.org/abs/1905.00414>`_, 2019, section 3.
    """
    ours, theirs = _clouds(student, teacher, least=2, name="linear_cka")
    if max(ours.shape[1], theirs.shape[1]) > len(ours):
        return _cosine(products(ours, ours), products(theirs, theirs))
    shared = products(ours.mT, theirs.mT).square().sum()
    own: Tensor = products(ours.mT, ours.mT).norm() * products(theirs.mT, theirs.mT).norm()
    return shared / own.masked_fill(own == 0, torch.inf)


def debiased_cka(
    student: Float[Tensor, "batch student_width"], teacher: Float[Tensor, "batch teacher_width"]
) -> Float[Tensor, ""]:
    r"""Centred kernel alignment from unbiased estimates, which is about 0 for independent layers of any width.

    .. math:: \frac{h(K, L)}{\sqrt{h(K, K) \, h(L, L)}}, \quad h(K, L) = \frac{1}{n (n - 3)} \left(
              tr(K L) + \frac{1^\top K 1 \, 1^\top L 1}{(n - 1)(n - 2)} - \frac{2}{n - 2} 1^\top K L 1 \right)

    where :math:`K` and :math:`L` are the Gram matrices with 0 in the diagonal. Blind to the scale, a rotation and
    a translation of either side.

    Args:
        student: Rows of features. Rows that are all equal, or all but one, are like nothing: 0, without a gradient.
        teacher: The same, from the teacher, of any width. Gradients flow into both.

    Returns:
        A number from -1 to 1; 1 where the two agree up to what it is blind to.

    Raises:
        MethodError: If there are fewer than four rows.

    References:
        Song, Smola, Gretton, Bedo & Borgwardt, `Feature Selection via Dependence Maximization
        <https://www.jmlr.org/papers/v13/song12a.html>`_, 2012, section 2 (the estimate).
        Nguyen, Raghu & Kornblith, `Do Wide and Deep Networks Learn the Same Things?
        <https://arxiv.org/abs/2010.15327>`_, 2021, section 3 (its use in CKA).
    """
    ours, theirs = _clouds(student, teacher, least=4, name="debiased_cka")
    return _cosine(_hollow(products(ours, ours)), _hollow(products(theirs, theirs)))


def _clouds(student: Tensor, teacher: Tensor, *, least: int, name: str) -> tuple[Tensor, Tensor]:
    """Both sides around their means, in units of their own spread."""
    if len(student) < least:
        raise MethodError(
            f"{name} compares the samples of a batch with one another and got a batch of {len(student)}, "
            f"expected at least {least}. Raise batch_examples, or leave out the last, smaller batch."
        )
    student, teacher = widened(student, teacher)
    return _cloud(student), _cloud(teacher)


def _cloud(rows: Tensor) -> Tensor:
    rows = rows - rows[:1].detach()  # leaves the answer as it is and rounds nothing of equal rows
    return directions((rows - rows.mean(0)).flatten()).view_as(rows)


def _hollow(gram: Tensor) -> Tensor:
    """A Gram matrix with 0 in the diagonal, centred so that the inner product of two estimates their covariance."""
    count, diagonal = len(gram), selves(gram)
    hollow = gram.masked_fill(diagonal, 0.0)
    means = hollow.sum(-1) / (count - 2)
    centred = hollow - means - means.unsqueeze(-1) + means.sum() / (count - 1)
    centred = centred.masked_fill(diagonal, 0.0)
    return centred.masked_fill(centred.norm() <= ROUNDINGS * count * torch.finfo(gram.dtype).eps, 0.0)


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of the angle between two matrices; 0 where either is zero."""
    return (directions(left.flatten()) * directions(right.flatten())).sum()
