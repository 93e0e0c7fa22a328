"""The same sweep as one writes it today, without a harness: Hydra's multirun, Keras's `fit`, MLflow's autologging.

    python benchmarks/today/train.py --multirun model=mlp_128,mlp_300_100 optimizer=adam,sgd seed=range(4)

This is what `grid` is compared with: the tutorials of the three, put together, with their defaults.
"""

import hydra
import keras
import mlflow
from omegaconf import DictConfig, OmegaConf


def build_model(cfg: DictConfig) -> keras.Model:
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
    for units in cfg.model.hidden:
        model.add(keras.layers.Dense(units, activation="relu"))
    model.add(keras.layers.Dense(10))
    model.compile(
        optimizer=hydra.utils.instantiate(cfg.optimizer),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    keras.utils.set_random_seed(cfg.seed)
    (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    x_train, x_test = x_train / 255.0, x_test / 255.0

    mlflow.set_experiment(cfg.experiment)
    mlflow.keras.autolog()
    with mlflow.start_run(run_name=f"{cfg.model.name} {cfg.optimizer._target_} seed={cfg.seed}"):
        mlflow.log_dict(OmegaConf.to_container(cfg, resolve=True), "config.yaml")
        mlflow.log_params({"model": cfg.model.name, "seed": cfg.seed})
        model = build_model(cfg)
        history = model.fit(
            x_train, y_train, batch_size=cfg.batch_size, epochs=cfg.epochs, validation_data=(x_test, y_test)
        )
        gap = history.history["accuracy"][-1] - history.history["val_accuracy"][-1]
        mlflow.log_metric("gap_accuracy", gap)


if __name__ == "__main__":
    main()
