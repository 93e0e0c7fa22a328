"""The scalars that images are standardized with."""

from __future__ import annotations

import numpy as np
import pytest

from harness.models.preprocessing import pixel_moments


@pytest.mark.parametrize("count", [1, 999, 1_000, 2_345])
def test_moments_are_those_of_numpy_to_the_last_digits(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    assert pixel_moments(images) == pytest.approx((images.mean(), images.var()), rel=1e-14)


def test_the_brightest_images_do_not_overflow() -> None:
    assert pixel_moments(np.full((3, 28, 28), 255, dtype=np.uint8)) == (255.0, 0.0)
