"""The scalars that images are standardized with."""

from __future__ import annotations

import numpy as np
import pytest

from harness.composing import compose_config
from harness.config.schema import PREPROCESSING
from harness.models import build_model, float64_scale, pixel_scale
from harness.models.preprocessing import pixel_moments
from tests.variants import CLOTHES

IMAGES = np.random.default_rng(5).integers(0, 256, (50, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 999, 1_000, 2_345])
def test_moments_are_those_of_numpy_to_the_last_digits(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    assert pixel_moments(images) == pytest.approx((images.mean(), images.var()), rel=1e-14)


def test_the_brightest_images_do_not_overflow() -> None:
    assert pixel_moments(np.full((3, 28, 28), 255, dtype=np.uint8)) == (255.0, 0.0)


def test_scales_in_float64_are_those_of_a_notebook() -> None:
    by_hand = (np.arange(256) - np.mean(IMAGES)) / (np.std(IMAGES) + 1e-10)
    np.testing.assert_allclose(float64_scale("standardize", IMAGES), by_hand, rtol=1e-13)
    assert float64_scale("unit_range", IMAGES).tolist() == [grey / 255 for grey in range(256)]


@pytest.mark.slow
@pytest.mark.parametrize("preprocessing", PREPROCESSING)
def test_the_scale_of_a_model_is_what_its_first_layers_are_given(preprocessing: str) -> None:
    model = build_model(compose_config().model, preprocessing, CLOTHES, IMAGES)
    scale = pixel_scale(model)
    assert scale.shape == (256,)
    given = np.asarray(model.get_layer("preprocessing")(IMAGES[:3]))
    np.testing.assert_array_equal(given, scale[IMAGES[:3]].astype(np.float32))
    np.testing.assert_allclose(scale, float64_scale(preprocessing, IMAGES), atol=1e-6)
