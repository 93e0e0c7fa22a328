"""The published datasets: what each is called, holds and weighs, and the sums that prove it is the published one.

Both are four IDX files of 60,000 training and 10,000 test images, 28 x 28, grey, in ten classes. Fashion-MNIST:
https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul and Vollgraf, 2017). MNIST: LeCun, Cortes and Burges.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import RequestError, suggestion
from harness.records import PUBLISHED

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


@dataclass(frozen=True)
class Publication:
    """A dataset as its authors published it; `sums` are SHA-256 (hex) of the raw IDX bytes by file name."""

    name: str
    title: str
    licence: str
    class_names: tuple[str, ...]
    sums: Mapping[str, str]
    image_shape: tuple[int, int] = (28, 28)
    train_size: int = 60_000
    test_size: int = 10_000

    @property
    def bytes_by_file(self) -> dict[str, int]:
        """The size of each raw file: a header of 16 or 8 bytes, then a byte a pixel or label."""
        sizes = {}
        for images, labels, count in (
            (TRAIN_IMAGES, TRAIN_LABELS, self.train_size),
            (TEST_IMAGES, TEST_LABELS, self.test_size),
        ):
            sizes[images], sizes[labels] = 16 + count * math.prod(self.image_shape), 8 + count
        return sizes


FASHION_MNIST = Publication(
    name="fashion_mnist",
    title="Fashion-MNIST",
    licence="MIT",
    class_names=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    sums={
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)  # fmt: skip

MNIST = Publication(
    name="mnist",
    title="MNIST",
    licence="CC BY-SA 3.0",
    class_names=tuple(str(digit) for digit in range(10)),
    sums={
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

PUBLICATIONS: Mapping[str, Publication] = {each.name: each for each in (FASHION_MNIST, MNIST)}


def publication(name: str) -> Publication:
    """The dataset of this name; `RequestError` naming the choices when there is none."""
    try:
        return PUBLICATIONS[name]
    except KeyError:
        raise RequestError(
            f"'{name}' is not a dataset. The datasets are {', '.join(PUBLICATIONS)}.{suggestion(name, PUBLICATIONS)}"
        ) from None


def digest(sums: Mapping[str, str]) -> str:
    """One SHA-256 (hex) for the four files, the same that `sha256sum *-ubyte | sort | sha256sum` prints."""
    lines = sorted(f"{sums[name]}  {name}\n" for name in FILES)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def variant(name: str, files_digest: str) -> str:
    """What the files of a dataset are, by their `digest`: "published", or "variant " and its first eight digits."""
    published = PUBLICATIONS.get(name)
    if published is not None and files_digest == digest(published.sums):
        return PUBLISHED
    return f"variant {files_digest[:8]}"
