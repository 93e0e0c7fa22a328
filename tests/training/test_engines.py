"""Training on real images, the same promises for every engine: what is measured, when, and that it can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from harness.errors import TrainingError
from harness.models import build_model
from harness.training import seed_everything
from harness.training.engines import ENGINES
from tests.training.training_runs import VALIDATED, Trained
from tests.training.training_runs import train as train_with
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

Train = Callable[..., Trained]


@pytest.fixture(params=sorted(ENGINES))
def train(request: pytest.FixtureRequest) -> Train:
    return partial(train_with, request.param)


def test_every_series_has_one_value_an_epoch(train: Train) -> None:
    trained = train("regime.epochs=3", *VALIDATED)
    history, watcher = trained.history, trained.watcher
    assert set(history.series) == {
        "fit/loss", "fit/accuracy", "train/loss", "train/accuracy", "val/loss", "val/accuracy",
        "gap/loss", "gap/accuracy", "optimizer/learning_rate", "time/epoch_seconds",
    }  # fmt: skip
    assert {len(values) for values in history.series.values()} == {3}
    assert [epoch for epoch, _ in watcher.epochs] == [1, 2, 3]
    assert watcher.started == range(1, 4)
    assert watcher.reason == "all epochs trained"


def test_gaps_are_positive_when_the_training_split_is_known_better(train: Train) -> None:
    history = train("regime.epochs=15", "optimizer.learning_rate=0.01", *VALIDATED).history
    assert history.last("gap/accuracy") == pytest.approx(history.last("train/accuracy") - history.last("val/accuracy"))
    assert history.last("gap/loss") == pytest.approx(history.last("val/loss") - history.last("train/loss"))
    assert history.last("gap/accuracy") > 0.05
    assert history.last("gap/loss") > 0.1


def test_the_clean_pass_is_what_keras_evaluates_at_the_end(train: Train) -> None:
    trained = train("regime.epochs=2", "model.dropout=0.5")
    history, split = trained.history, trained.splits.train
    loss, accuracy = trained.model.evaluate(split.images, split.labels, verbose=0)
    assert history.last("train/loss") == pytest.approx(loss, rel=1e-4)
    assert history.last("train/accuracy") == pytest.approx(accuracy)
    assert history.last("fit/loss") > history.last("train/loss")  # dropout is on, and the weights still move


def test_the_same_seed_gives_the_same_weights_bit_for_bit(train: Train) -> None:
    overrides = ("regime.epochs=2", "model.dropout=0.3", "model.batch_norm=true")
    first, second, other = (train(*overrides, seed).model for seed in ("seed=1", "seed=1", "seed=2"))
    for ours, again in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, again)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize("head", ["logits", "softmax"])
def test_one_hot_labels_train_as_integers_do(train: Train, head: str) -> None:
    integers, one_hot = (
        train("regime.epochs=2", f"model.head={head}", f"regime.labels={form}").history
        for form in ("integers", "one_hot")
    )
    assert one_hot.series["fit/loss"] == pytest.approx(integers.series["fit/loss"], rel=1e-4)
    assert one_hot.series["train/accuracy"] == pytest.approx(integers.series["train/accuracy"], abs=0.01)


@pytest.mark.parametrize("head", ["logits", "softmax"])
@pytest.mark.parametrize("labels", ["integers", "one_hot"])
def test_the_loss_that_smoothed_labels_are_trained_on_is_that_of_keras(train: Train, head: str, labels: str) -> None:
    """All images in one batch: the running average is the loss of the initial weights."""
    import keras

    batch = ("regime.epochs=1", "regime.batch_size=608", "regime.label_smoothing=0.3")
    trained = train(*batch, f"model.head={head}", f"regime.labels={labels}")
    split, config = trained.splits.train, trained.config
    seed_everything(config.seed)
    fresh = build_model(config.model, config.dataset.preprocessing, CLOTHES, split.images)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=head == "logits", label_smoothing=0.3)
    expected = theirs(keras.utils.to_categorical(split.labels, 10), fresh(split.images))
    assert trained.history.last("fit/loss") == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "override",
    ["model.l2=0.05", "model.dropout=0.5", "model.shift=4", "regime.label_smoothing=0.5", "dataset.label_noise=0.4"],
)
def test_scores_are_plain_cross_entropies_whatever_training_adds(train: Train, override: str) -> None:
    from harness import metrics
    from harness.models import log_probabilities

    trained = train("regime.epochs=2", "model=mlp_300_100", override, *VALIDATED)
    predict, validation = log_probabilities(trained.model), trained.splits.validation
    assert validation is not None
    for name, split in (("train", trained.splits.train), ("val", validation)):
        plain = metrics.cross_entropies(predict(split.images), split.labels).mean()
        assert trained.history.last(f"{name}/loss") == pytest.approx(plain, rel=1e-4)


def test_images_move_anew_in_each_epoch_and_the_same_way_for_the_same_seed(train: Train) -> None:
    """At a learning rate that changes nothing, the running loss says which images there were."""
    still = ("optimizer=sgd", "optimizer.learning_rate=1e-12", "regime.epochs=2", "regime.shuffle=false")
    fixed = train(*still).history.series["fit/loss"]
    moving, again = (train(*still, "model.shift=3").history.series["fit/loss"] for _ in range(2))
    assert fixed[0] == pytest.approx(fixed[1], rel=1e-6)
    assert abs(moving[0] - moving[1]) > 1e-4
    assert moving == again


def test_a_convolutional_network_trains(train: Train) -> None:
    history = train("regime.epochs=2", "model=cnn", "model.filters=[4,8]").history
    assert history.last("train/accuracy") > 0.5


def test_early_stopping_stops_and_restores_the_best_weights(train: Train) -> None:
    trained = train(
        "regime.epochs=60", "optimizer.learning_rate=0.01", *VALIDATED,
        "regime.early_stopping.enabled=true", "regime.early_stopping.patience=2",
    )  # fmt: skip
    history = trained.history
    assert history.epochs < 60
    assert trained.watcher.reason == f"stopped early after epoch {history.epochs} of 60"
    best = int(np.argmin(history.series["val/loss"]))
    assert history.epochs == best + 1 + 2
    validation = trained.splits.validation
    assert validation is not None
    loss = trained.model.evaluate(validation.images, validation.labels, verbose=0)[0]
    assert loss == pytest.approx(history.series["val/loss"][best], rel=1e-4)


AVERAGED = ("optimizer.use_ema=true", "optimizer.ema_momentum=0.9", "regime.early_stopping.restore_best_weights=false")
EARLY_STOPPING = ("regime.early_stopping.enabled=true", "regime.early_stopping.patience=4", "regime.epochs=60")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.batch_norm=true",),
        AVERAGED,
    ],
    ids=" ".join,
)
def test_the_weights_of_the_best_and_the_last_epoch_are_kept_as_they_were_evaluated(
    train: Train, overrides: tuple[str, ...]
) -> None:
    trained = train("optimizer.learning_rate=0.01", *VALIDATED, *EARLY_STOPPING, *overrides)
    fitted, losses, model = trained.fitted, trained.history.series["val/loss"], trained.model
    assert fitted.best is not None
    assert min(losses) < losses[-1], "training went beyond its best epoch"
    kept = fitted.best if trained.config.regime.early_stopping.restore_best_weights else fitted.last
    for ours, theirs in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    validation = trained.splits.validation
    assert validation is not None
    for weights, loss in ((fitted.last, losses[-1]), (fitted.best, min(losses))):
        model.set_weights(weights)
        assert model.evaluate(validation.images, validation.labels, verbose=0)[0] == pytest.approx(loss, rel=1e-4)


def test_without_a_validation_split_no_epoch_is_the_best(train: Train) -> None:
    trained = train("regime.epochs=2")
    assert trained.fitted.best is None
    for ours, theirs in zip(trained.fitted.last, trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_schedule_sets_the_rate_of_each_epoch(train: Train) -> None:
    history = train(
        "regime.epochs=4", "optimizer.learning_rate=0.008",
        "regime.schedule.name=step", "regime.schedule.factor=0.5", "regime.schedule.every_epochs=1",
    ).history  # fmt: skip
    assert history.series["optimizer/learning_rate"] == pytest.approx([0.008, 0.004, 0.002, 0.001])


def test_a_plateau_lowers_the_rate(train: Train) -> None:
    history = train(
        "regime.epochs=12", "optimizer.learning_rate=0.03", *VALIDATED,
        "regime.schedule.name=plateau", "regime.schedule.factor=0.1", "regime.schedule.patience=1",
    ).history  # fmt: skip
    rates = history.series["optimizer/learning_rate"]
    assert rates[0] == pytest.approx(0.03)
    assert rates[-1] < 0.01


def test_a_diverging_loss_is_an_error_that_says_what_to_do(train: Train) -> None:
    with pytest.raises(TrainingError, match=r"became (nan|inf) in epoch \d+.*learning_rate"):
        train("regime.epochs=20", "optimizer=sgd", "optimizer.learning_rate=1e20")


def test_a_ragged_last_batch_is_trained_on(train: Train) -> None:
    """601 images in batches of 300: without the last batch its image would leave no trace."""
    trained = train("regime.epochs=1", "dataset.train_size=601", "regime.batch_size=300")
    assert int(trained.model.optimizer.iterations) == 3
    assert trained.history.epochs == 1


def test_batches_come_in_the_order_of_seed_and_epoch(train: Train) -> None:
    """Plain SGD steps in that order, written out, ragged last batches included, end with the same weights."""
    import keras
    import tensorflow as tf

    from harness.training.seeding import epoch_order

    overrides = ("dataset.train_size=24", "regime.batch_size=5", "optimizer=sgd", "regime.epochs=2")
    trained = train(*overrides)
    config, splits = trained.config, trained.splits
    seed_everything(config.seed)
    model = build_model(config.model, config.dataset.preprocessing, splits.spec, splits.train.images)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for epoch in (1, 2):
        order = epoch_order(config.seed, epoch, 24)
        for start in range(0, 24, 5):
            chosen = order[start : start + 5]
            with tf.GradientTape() as tape:
                value = loss(splits.train.labels[chosen], model(splits.train.images[chosen], training=True))
            gradients = tape.gradient(value, model.trainable_variables)
            for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
                variable.assign_sub(0.01 * gradient)
    for ours, by_hand in zip(trained.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, by_hand, atol=1e-6)


def test_averaged_weights_are_evaluated_each_epoch_as_at_the_end(train: Train) -> None:
    trained = train("regime.epochs=2", "optimizer.use_ema=true", "optimizer.ema_momentum=0.99")
    split = trained.splits.train
    loss = trained.model.evaluate(split.images, split.labels, verbose=0)[0]
    assert trained.history.last("train/loss") == pytest.approx(loss, rel=1e-4)


def test_evaluating_averaged_weights_leaves_the_moving_ones_as_they_are() -> None:
    """To the last bit: a run must not depend on how often it was looked at."""
    from harness.training.callbacks import evaluated_weights

    model = train_with("keras", "regime.epochs=1", "optimizer.use_ema=true").model
    generator = np.random.default_rng(0)
    moving = [generator.normal(size=array.shape).astype(np.float32) for array in model.get_weights()]
    model.set_weights(moving)
    with evaluated_weights(model):
        assert not np.array_equal(model.get_weights()[0], moving[0])
    for ours, theirs in zip(model.get_weights(), moving, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_leaves_no_graph_behind(train: Train) -> None:
    """TensorFlow's registry of custom gradients would keep each run's whole training graph: some MB a run."""
    import gc

    def graphs() -> int:
        gc.collect()
        return sum(type(item).__name__ == "FuncGraph" for item in gc.get_objects())

    counts = []
    for seed in range(4):
        train("regime.epochs=1", f"seed={seed}")
        counts.append(graphs())
    assert counts[3] <= counts[1]
