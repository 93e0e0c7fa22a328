"""The same grid with Ray Tune: `grid_search`, a processor for each trial, Keras's `fit`, Ray's MLflow callback.

python benchmarks/today/ray_grid.py MODELS SEEDS EPOCHS
"""

import os
import sys
from pathlib import Path

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

HIDDEN = {"mlp_128": [128], "mlp_128_128": [128, 128], "mlp_300_100": [300, 100]}

models, seeds, epochs = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3])


def train(settings: dict) -> None:
    import keras

    class Report(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict) -> None:
            tune.report({name: float(value) for name, value in logs.items()})

    keras.utils.set_random_seed(settings["seed"])
    (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    x_train, x_test = x_train / 255.0, x_test / 255.0
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
    for units in settings["hidden"]:
        model.add(keras.layers.Dense(units, activation="relu"))
    model.add(keras.layers.Dense(10))
    model.compile(
        optimizer={"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[settings["optimizer"]](),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        x_train, y_train, epochs=settings["epochs"], validation_data=(x_test, y_test), callbacks=[Report()], verbose=0
    )


tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space={
        "hidden": tune.grid_search([HIDDEN[model] for model in models]),
        "optimizer": tune.grid_search(["adam", "sgd"]),
        "seed": tune.grid_search(list(range(seeds))),
        "epochs": epochs,
    },
    run_config=tune.RunConfig(
        storage_path=str(Path("ray").resolve()),
        callbacks=[MLflowLoggerCallback(os.environ["MLFLOW_TRACKING_URI"], experiment_name="fashion_mnist")],
    ),
)
sys.exit(any(result.error for result in tuner.fit()))
