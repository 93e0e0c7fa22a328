"""Images mirrored at random, and classes that count alike in the loss however many images they have."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from harness.composing import compose_config
from harness.config.schema import RegimeConfig
from harness.config.validation import check_images
from harness.errors import ConfigError
from harness.models import build_model
from harness.records import DatasetSpec, ImageArray, Split
from harness.training import fit, seed_everything
from harness.training.compiling import class_weights
from tests.training.training_runs import Watcher

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import


def _made(shape: tuple[int, ...], classes: int, dtype: type = np.uint8) -> Split:
    """Far more images of class 0 than of the others."""
    random = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(90), np.arange(classes)]).astype(np.uint8 if classes <= 256 else np.uint16)
    images: ImageArray = random.integers(0, 256, (len(labels), *shape)).astype(dtype)
    return Split(images, labels)


def _losses(engine: str, split: Split, *settings: str) -> dict[str, list[float]]:
    config = compose_config(["model.hidden=[8]", "regime.epochs=3", *settings])
    classes = int(split.labels.max()) + 1
    names = tuple(map(str, range(classes)))
    spec = DatasetSpec("made", split.images.shape[1:], names, {}, str(split.images.dtype))
    seed_everything(0)
    model = build_model(config.model, config.dataset.preprocessing, spec, split.images)
    return fit(engine, model, config, split, None, Watcher()).history.series


@pytest.mark.parametrize(
    ("shape", "classes", "dtype", "settings"),
    [
        ((6, 5), 3, np.uint8, ("model.flip=true",)),
        ((6, 5, 3), 3, np.float32, ("model.flip=true", "model.shift=1", "regime.class_weights=balanced")),
        ((7,), 300, np.float32, ("regime.class_weights=balanced", "regime.labels=one_hot")),
        ((7,), 2, np.float32, ("regime.class_weights=balanced",)),
    ],
)
def test_both_engines_train_alike(shape: tuple[int, ...], classes: int, dtype: type, settings: tuple[str, ...]) -> None:
    split = _made(shape, classes, dtype)
    compiled, of_keras = (_losses(engine, split, *settings) for engine in ("compiled", "keras"))
    for name in ("fit/loss", "fit/accuracy", "train/loss", "train/accuracy"):
        np.testing.assert_allclose(compiled[name], of_keras[name], rtol=2e-4, atol=1e-5, err_msg=name)
    assert compiled["fit/loss"] != _losses("compiled", split)["fit/loss"]


def test_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0] * 5 + [1] * 2 + [3], dtype=np.uint16)
    found = class_weights(RegimeConfig(class_weights="balanced"), labels, 4)
    assert found is not None
    present = np.array([0, 1, 3])
    np.testing.assert_allclose(found[present], compute_class_weight("balanced", classes=present, y=labels))
    assert class_weights(RegimeConfig(), labels, 4) is None


def test_vectors_are_not_mirrored() -> None:
    with pytest.raises(ConfigError, match=r"model.flip=True: the data are vectors of 30 features"):
        check_images(compose_config(["model.flip=true"]).model, (30,))
