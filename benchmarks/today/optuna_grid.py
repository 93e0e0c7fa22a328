"""The same grid with Optuna: `GridSampler`, Keras's `fit`, a run in MLflow for each trial with its metrics by epoch.

    python benchmarks/today/optuna_grid.py MODELS SEEDS EPOCHS JOBS

Optuna's own MLflow callback is deprecated and lets one trial train at a time; this is how MLflow's documentation does
it. With more than one of JOBS, Optuna trains trials in threads of this process.
"""

import sys

import keras
import mlflow
import optuna

HIDDEN = {"mlp_128": [128], "mlp_128_128": [128, 128], "mlp_300_100": [300, 100]}
OPTIMIZERS = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}

models, seeds, epochs, jobs = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
grid = {"model": models, "optimizer": list(OPTIMIZERS), "seed": list(range(seeds))}
(x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0


def objective(trial: optuna.Trial) -> float:
    settings = {name: trial.suggest_categorical(name, values) for name, values in grid.items()}
    keras.utils.set_random_seed(settings["seed"])
    with mlflow.start_run(run_name=f"trial {trial.number}"):
        mlflow.log_params(settings)
        model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
        for units in HIDDEN[settings["model"]]:
            model.add(keras.layers.Dense(units, activation="relu"))
        model.add(keras.layers.Dense(10))
        model.compile(
            optimizer=OPTIMIZERS[settings["optimizer"]](),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        history = model.fit(
            x_train,
            y_train,
            epochs=epochs,
            validation_data=(x_test, y_test),
            callbacks=[mlflow.keras.MlflowCallback()],
            verbose=0,
        )
    return history.history["val_accuracy"][-1]


mlflow.set_experiment("fashion_mnist")
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GridSampler(grid))
study.optimize(objective, n_trials=len(models) * len(OPTIMIZERS) * seeds, n_jobs=jobs)
