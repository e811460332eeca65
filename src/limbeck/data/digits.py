"""Scikit-learn's digits, the data that is always there: 1,797 images of 8 by 8."""

from __future__ import annotations

import numpy as np

from limbeck.data.arrays import Arrays


def digits() -> Arrays:
    """All of them in one pool, uint8 [8, 8, 1] (the sixteen grey levels spread over 0 to 255)."""
    from sklearn.datasets import load_digits  # a second of imports, for this data only

    bunch = load_digits()
    images = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)
    return Arrays(
        images, np.asarray(bunch.target), classes=[str(digit) for digit in range(10)], name="digits"
    )
