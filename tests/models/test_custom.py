"""Models of the user's own: joined to the preprocessing, checked before training, loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.composing import compose_config
from harness.config.schema import ModelConfig
from harness.errors import ConfigError, RequestError
from harness.models import build_model, check_classifier, custom_objects, load_model, log_probabilities
from harness.models import probability_model as saved_form
from harness.records import DatasetSpec, UInt8Array
from harness.user_code import allow
from tests.user_code import NETS, user_directory
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

WRONG = """
import keras
from keras import layers

def flat(input_shape, classes): return keras.Sequential([layers.Dense(classes)])
def three(input_shape, classes):
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(classes)])
def two(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, [layers.Dense(classes)(layers.Flatten()(inputs))] * 2)
def nothing(input_shape, classes): pass
def broken(input_shape, classes): return keras.Sequential([layers.Flatten(), layers.Dense(classes // 0)])
def lambdas(input_shape, classes):
    return keras.Sequential([layers.Flatten(), layers.Lambda(lambda x: x), layers.Dense(classes)])
def softmax(input_shape, classes): return keras.Sequential([layers.Flatten(), layers.Dense(classes, "softmax")])
def logits(input_shape, classes): return keras.Sequential([layers.Flatten(), layers.Dense(classes)])
def taken(input_shape, classes): return keras.Sequential([layers.Flatten(name="pixels"), layers.Dense(classes)])

class Own(keras.Model):
    def __init__(self, units): super().__init__(); self.last = layers.Dense(units)
    def call(self, values): return self.last(keras.ops.reshape(values, (-1, 784)))
class Stepping(Own):
    def train_step(self, data): return {}
def forgetful(input_shape, classes): return Own(classes)
class Changing(layers.Layer):
    made = 0
    def __init__(self, **more):
        super().__init__(**more)
        Changing.made += 1
        self.factor = float(Changing.made)
    def call(self, values): return values * self.factor
def changing(input_shape, classes): return keras.Sequential([layers.Flatten(), Changing(), layers.Dense(classes)])
def stepping(input_shape, classes): return Stepping(classes)
"""


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with user_directory(tmp_path_factory.mktemp("user"), nets_m=NETS, wrong_m=WRONG) as folder:
        yield folder


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (32, 28, 28), dtype=np.uint8)


def configured(reference: str, *overrides: str) -> ModelConfig:
    allow([reference])
    return compose_config([f"model.builder={reference}", *overrides]).model


@pytest.mark.parametrize(
    ("name", "overrides", "layers"),
    [
        ("residual", ["model.options.depth=2"], ["batch_normalization_1", "counting_1", "dropout"]),
        ("sequence", ["model.options.head=softmax", "model.head=softmax"], ["dense", "dropout"]),
        ("subclassed", ["model.options.units=4", "model.shift=2"], ["shift", "subclassed"]),
    ],
)
def test_a_model_is_trained_saved_and_loaded_as_part_of_one_that_takes_raw_pixels(
    name: str, overrides: list[str], layers: list[str], images: UInt8Array, tmp_path: Path
) -> None:
    import keras

    keras.backend.clear_session()
    config = configured(f"nets_m:{name}", *overrides)
    model = build_model(config, "unit_range", CLOTHES, images)
    assert {"preprocessing", *layers} <= {layer.name for layer in model.layers}
    saved_form(model, config.head).save(tmp_path / "model.keras")
    with pytest.MonkeyPatch.context() as patch:  # as in another process
        patch.setattr("keras.src.saving.object_registration.GLOBAL_CUSTOM_OBJECTS", {})
        if name != "sequence":
            with pytest.raises(RequestError, match="Could not locate class"):
                load_model(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras", custom_objects(config))
    check_classifier(again, (28, 28), 10, custom=True)
    expected = np.asarray(again(images, training=False))
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    for each in (model, again):
        np.testing.assert_allclose(np.exp(log_probabilities(each)(images)), expected, atol=1e-6)


@pytest.mark.parametrize("head", ["logits", "softmax"])
def test_a_confident_mistake_keeps_its_full_loss(head: str, images: UInt8Array) -> None:
    config = configured("nets_m:sequence", f"model.options.head={head}", f"model.head={head}")
    model = build_model(config, "unit_range", CLOTHES, images)
    kernel, bias = model.layers[-2].weights
    kernel.assign(kernel * 0)
    bias.assign([0.0] * 9 + [500.0])
    assert log_probabilities(model)(images)[0, 0] == pytest.approx(-500)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flat", r"answers \(None, 28, 28, 10\); one output of \(None, 10\)"),
        ("three", r"takes \(32, 32, 3\); one input of \(28, 28, 1\)"),
        ("two", r"answers \(None, 10\), \(None, 10\); one output"),
        ("nothing", "returns NoneType; a keras.Model is wanted"),
        ("broken", r"failed for images of \(28, 28, 1\): ZeroDivisionError.*\(wrong_m.py, line 12\)"),
        ("lambdas", "is a Lambda layer"),
        ("softmax", r"answers probabilities .* Set model.head=softmax, or take the softmax out"),
        ("logits", r"answers no probabilities, and model.head is softmax. Set model.head=logits"),
        ("taken", "a layer is called pixels, as one of the harness"),
        ("forgetful", r"could not be loaded after training. .*Keras says: .*Own"),
        ("changing", "answers otherwise after it was saved and loaded"),
        ("stepping", "has a train_step of its own, which the harness does not call"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(name: str, said: str, images: UInt8Array) -> None:
    head = "softmax" if name == "logits" else "logits"
    with pytest.raises(ConfigError, match=said) as caught:
        build_model(configured(f"wrong_m:{name}", f"model.head={head}"), "unit_range", CLOTHES, images)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hidden_layers_compute_in_half_the_digits_and_the_answer_in_all(images: UInt8Array) -> None:
    model = build_model(configured("nets_m:residual"), "unit_range", CLOTHES, images, "bfloat16")
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


PARTS = """
import keras

class Half(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None): return keras.ops.full(shape, 0.5, dtype)

class AtMostOne(keras.constraints.Constraint):
    def __call__(self, weights): return keras.ops.clip(weights, -1, 1)

class Negative(keras.layers.Layer):
    def call(self, pixels, training=False): return 255 - keras.ops.cast(pixels, "float32") if training else pixels

def flat(): return keras.layers.Flatten()
"""


def test_parts_of_a_built_in_model_are_the_users_own_or_keras_s_by_name(
    directory: Path, images: UInt8Array, tmp_path: Path
) -> None:
    import keras

    (directory / "parts_m.py").write_text(PARTS)
    allow(f"parts_m:{name}" for name in ("Half", "AtMostOne", "Negative", "flat"))
    config = compose_config(
        ["model.initializer=parts_m:Half", "model.constraint=parts_m:AtMostOne", "model.augmentation=parts_m:Negative"]
    ).model
    model = build_model(config, "unit_range", CLOTHES, images)
    hidden = model.get_layer("hidden_1")
    assert (hidden.kernel.numpy() == 0.5).all()
    assert type(hidden.kernel_constraint).__name__ == "AtMostOne"
    inner = keras.Model(model.input, model.get_layer("preprocessing").output)
    assert np.asarray(inner(images, training=True)).ravel()[0] == pytest.approx(1 - images.ravel()[0] / 255)
    assert np.asarray(inner(images, training=False)).ravel()[0] == pytest.approx(images.ravel()[0] / 255)
    saved_form(model, config.head).save(tmp_path / "model.keras")
    check_classifier(load_model(tmp_path / "model.keras", custom_objects(config)), (28, 28), 10)
    log_probabilities(model)(images)
    named = compose_config(["model=cnn", "model.initializer=he_normal", "model.max_norm=2"]).model
    layer = build_model(named, "unit_range", CLOTHES, images).get_layer("convolution_1")
    assert (type(layer.kernel_initializer).__name__, layer.kernel_constraint.max_value) == ("HeNormal", 2)
    with pytest.raises(ConfigError, match=r"makes \(784,\) of images of \(28, 28, 1\); they must keep"):
        build_model(compose_config(["model.augmentation=parts_m:flat"]).model, "unit_range", CLOTHES, images)
    with pytest.raises(ConfigError, match=r"model.constraint=parts_m:Half returns Half; a keras Constraint is wanted"):
        build_model(compose_config(["model.constraint=parts_m:Half"]).model, "unit_range", CLOTHES, images)
    with pytest.raises(ConfigError, match="a kernel has one constraint"):
        compose_config(["model.max_norm=2", "model.constraint=non_neg"])


@pytest.mark.parametrize(("shape", "given"), [((30,), (30,)), ((8, 8), (8, 8, 1)), ((6, 5, 3), (6, 5, 3))])
def test_the_function_is_given_the_shape_of_the_data_with_channels(shape: tuple[int, ...], given: object) -> None:
    import keras

    values = np.random.default_rng(0).normal(size=(16, *shape)).astype(np.float32)
    data = DatasetSpec("own", shape, ("a", "b", "c"), {}, "float32")
    model = build_model(configured("nets_m:sequence"), "unit_range", data, values)
    flatten = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    assert tuple(flatten.input.shape[1:]) == given
    probabilities = np.exp(log_probabilities(model)(values))
    assert probabilities.shape == (16, 3)
    np.testing.assert_allclose(probabilities, keras.ops.softmax(model(values)), atol=1e-5)
