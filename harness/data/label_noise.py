"""Training labels that are wrong on purpose: what a model learns of them, it learns by heart.

Which labels are replaced is decided image by image, in the order in which `dataset.train_size` takes the images. So a
label that is wrong at one share is wrong, in the same way, at every larger share and at every size of training set.
"""

from __future__ import annotations

import numpy as np

from harness.records import IntArray, LabelArray, ReplacedLabels

_STREAM = 1
"""Key of the random numbers here, apart from those of `dataset.seed` that draw the images."""

_GOLDEN = (5**0.5 - 1) / 2


def replace_labels(labels: LabelArray, order: IntArray, share: float, classes: int, seed: int) -> ReplacedLabels:
    """Replace `share` (in 0..1) of the labels of the images in `order`, each by one of the other `classes` - 1 classes,
    all equally likely.

    `labels` (N,) are those of the whole published training set, `order` (n,) says which images are trained on, in the
    order in which a growing training set takes them.

    The image at place j is replaced where the fractional part of u + j * golden ratio is below `share`, with u drawn
    from the seed. Such points lie so evenly that their number below `share` is `share` * n up to a multiple of log n
    (Kuipers and Niederreiter, "Uniform Distribution of Sequences", 1974, chapter 2, theorem 3.4): 60,000 labels are
    within 4 of their share, where independent draws would miss it by a hundred.
    """
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    points = (random.random() + _GOLDEN * np.arange(len(order))) % 1.0
    steps = random.integers(1, classes, len(labels))
    images = np.sort(order[points < share])
    published = labels[images]
    given = ((published + steps[images]) % classes).astype(labels.dtype)
    for array in (images, published, given):
        array.flags.writeable = False  # runs share them
    return ReplacedLabels(images, published, given)
