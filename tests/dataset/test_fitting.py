from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from harness.config.schema import DATASETS, DatasetConfig
from harness.data import load_dataset
from harness.data.fitting import FITS, fit_fashion_mnist, fit_mnist, looks_inverted, stretch
from harness.errors import DataError

UNHURRIED = settings(deadline=None)  # the machine may be busy


def enlarged(image: np.ndarray, times: int = 10) -> np.ndarray:
    side = 28 * times
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)


def extent(image: np.ndarray, above: int = 0) -> tuple[int, int]:
    rows, columns = np.nonzero(image > above)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_there_is_a_fit_for_every_dataset() -> None:
    assert set(DATASETS) < set(FITS)


@pytest.mark.parametrize("name", DATASETS)
def test_what_looks_inverted_is_told_on_every_real_image(name: str, subset: Path) -> None:
    images = load_dataset(DatasetConfig(name=name, directory=str(subset))).test.images
    assert not any(looks_inverted(image) for image in images)
    assert all(looks_inverted(255 - image) for image in images)


def test_a_digit_fills_a_box_of_20_around_its_centre_of_mass() -> None:
    page = np.full((300, 200), 30.0)
    page[40:140, 20:60] = 190.0  # tall, off centre, on a background that is not quite dark
    page[40:60, 60:70] = 190.0
    digit = fit_mnist(page)
    assert extent(digit) == (20, 10)
    assert (digit.min(), digit.max()) == (0, 255)
    rows, columns = np.indices((28, 28))
    assert (digit * rows).sum() / digit.sum() == pytest.approx(14, abs=0.51)
    assert (digit * columns).sum() / digit.sum() == pytest.approx(14, abs=0.51)


def test_a_digit_whose_weight_is_at_one_end_stays_inside() -> None:
    page = np.zeros((220, 220))
    page[10:210, 100:103] = 255.0
    page[190:210, 10:210] = 255.0
    page[170:190, 60:150] = 255.0
    digit = fit_mnist(page)
    assert extent(digit) == (20, 20)


def test_an_article_is_trimmed_to_a_longest_edge_of_28_and_centred() -> None:
    page = np.zeros((400, 300))
    page[100:300, 20:120] = 200.0
    article = fit_fashion_mnist(page)
    np.testing.assert_array_equal(np.flatnonzero(article.any(axis=0)), np.arange(7, 21))
    assert article.any(axis=1).all()
    assert article.max() == 255


def test_what_is_within_five_per_cent_of_the_corner_is_trimmed_and_the_rest_is_not() -> None:
    for halo, inner in ((12.0, 28), (14.0, 14)):  # 4.7 % and 5.5 % of white
        page = np.zeros((100, 100))
        page[10:90, 10:90] = halo
        page[30:70, 30:70] = 255.0
        assert extent(fit_fashion_mnist(page), 127) == (inner, inner)


def test_an_article_is_sharpened_at_its_edges() -> None:
    page = np.zeros((100, 100))
    page[10:90, 10:90] = 255.0
    page[12:88, 12:50], page[12:88, 50:88] = 100.0, 200.0
    row = fit_fashion_mnist(page)[14].astype(int)
    dark, before, after, bright = row[6], row[13], row[14], row[21]
    assert (dark, bright) == (100, 200)
    # A neighbour on the other side of the edge weighs (0.607 + 2 * 0.368) / 5.898 = 0.2276.
    assert (before, after) == (pytest.approx(100 - 22.8, abs=1), pytest.approx(200 + 22.8, abs=1))


@pytest.mark.parametrize(("name", "close"), [("mnist", 12.0), ("fashion_mnist", 30.0)])
def test_enlarged_images_come_back_nearly_as_they_were(name: str, close: float, subset: Path) -> None:
    images = load_dataset(DatasetConfig(name=name, directory=str(subset))).test.images[:50]
    again = [FITS[name](np.pad(enlarged(image), 40)) for image in images]
    differences = [np.abs(one.astype(float) - other).mean() for one, other in zip(images, again, strict=True)]
    assert np.median(differences) < close


def test_contrast_and_background_do_not_matter(subset: Path) -> None:
    for name in DATASETS:
        image = enlarged(load_dataset(DatasetConfig(name=name, directory=str(subset))).test.images[1])
        plain, faint = FITS[name](image), FITS[name](60 + image * 0.4)
        assert np.abs(plain.astype(int) - faint).max() <= 1


def test_stretching_takes_the_whole_picture() -> None:
    page = np.zeros((56, 280))
    page[:, 140:] = 80.0
    picture = stretch(page)
    assert picture[:, :14].max() == 0
    assert (picture[:, 14:] == 80).all()


@pytest.mark.parametrize("fit", [fit_mnist, fit_fashion_mnist])
@pytest.mark.parametrize("level", [0.0, 100.0, 255.0])
def test_a_picture_of_one_colour_has_nothing_on_it(fit: object, level: float) -> None:
    assert callable(fit)
    with pytest.raises(DataError, match="nothing on it"):
        fit(np.full((50, 40), level))


@UNHURRIED
@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.floats(0, 255)),
    st.sampled_from(sorted(FITS)),
)
def test_any_picture_gives_28_by_28_bytes_or_says_why_not(page: np.ndarray, fit: str) -> None:
    try:
        image = FITS[fit](page)
    except DataError:
        return
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
