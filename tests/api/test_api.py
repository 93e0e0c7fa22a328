"""The Python interface on a real store: one run and one sweep, made by the functions themselves."""

from __future__ import annotations

import doctest
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

import harness
from harness import api
from harness.errors import ConfigError, HarnessError, RequestError
from harness.paths import _umask
from tests.user_code import NETS, user_directory

DATA = Path(__file__).parents[1] / "data"
SMALL = (f"dataset.directory={DATA}", "dataset.train_size=100", "dataset.test_size=50", "regime.epochs=1")

pytestmark = [
    pytest.mark.slow,  # TensorFlow takes seconds to import
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),  # MLflow's own
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty project, as a user's own process would have it."""
    root = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_ROOT", str(root))
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def run(place: Path) -> harness.Run:
    return harness.train(*SMALL, "regime.validation.strategy=first", regime={"validation": {"size": 20}}, seed=3)


@pytest.fixture(scope="module")
def sweep(place: Path) -> harness.Sweep:
    return harness.sweep(
        *SMALL, "hydra/launcher=basic", model=["mlp_128", "mlp_300_100"], seed=range(2), figures="none",
        tracking={"experiment": "grid", "log_model": False},
    )  # fmt: skip


def test_a_run_is_what_the_store_has(run: harness.Run, place: Path) -> None:
    assert run.state == "FINISHED"
    assert run.settings["seed"] == 3
    assert run.settings["dataset.test_size"] == 50
    assert run.metrics["final/gap_val_accuracy"] == pytest.approx(
        run.metrics["final/train_accuracy"] - run.metrics["final/val_accuracy"]
    )
    assert harness.load(run.id).metrics == run.metrics
    assert harness.load("latest", store=place / "mlflow.db").id == run.id


def test_history_has_a_row_for_each_epoch(run: harness.Run) -> None:
    history = run.history
    assert history.index.tolist() == [1]
    assert history.index.name == "epoch"
    assert history.loc[1, "train/accuracy"] == pytest.approx(run.metrics["final/train_accuracy"])
    gap = history.loc[1, "train/accuracy"] - history.loc[1, "val/accuracy"]
    assert history.loc[1, "gap/val_accuracy"] == pytest.approx(gap)
    assert history.loc[1, "gap/val_loss"] == pytest.approx(history.loc[1, "val/loss"] - history.loc[1, "train/loss"])


def test_the_model_predicts_probabilities(run: harness.Run) -> None:
    images = np.zeros((3, 28, 28), np.uint8)
    assert run.predict(images).sum(axis=1) == pytest.approx([1, 1, 1])
    assert run.predict(images[0]) == pytest.approx(run.predict(images)[0])
    assert len(run.class_names) == run.model.output_shape[-1] == 10
    with pytest.raises(RequestError, match=r"\(n, 28, 28\)"):
        run.predict(images[:, :14])


def test_figures_are_drawn_and_the_users_settings_stay(run: harness.Run) -> None:
    with matplotlib.rc_context({"lines.linewidth": 7.0}):
        figure = run.figure("learning_curves", title="mine")
        assert matplotlib.rcParams["lines.linewidth"] == 7.0
    assert "mine" in {text.get_text() for text in figure.texts} | {figure.get_suptitle()}
    with pytest.raises(RequestError, match="learning_curves"):
        run.figure("learning_curve")


def test_a_sweep_has_a_row_for_each_run(sweep: harness.Sweep) -> None:
    runs = sweep.runs
    assert len(runs) == 4
    assert set(zip(runs["model.name"], runs["seed"], strict=True)) == {
        (model, seed) for model in ("mlp_128", "mlp_300_100") for seed in (0, 1)
    }
    assert sweep.run(0).id == runs.index[0]
    assert "4 of 4" in repr(sweep)


def test_the_same_call_trains_nothing_again(sweep: harness.Sweep) -> None:
    again = harness.sweep(
        *SMALL, "hydra/launcher=basic", model=["mlp_128", "mlp_300_100"], seed=range(2), figures="none",
        tracking={"experiment": "grid", "log_model": False},
    )  # fmt: skip
    assert again.id == sweep.id
    assert again.runs.index.tolist() == sweep.runs.index.tolist()


def test_a_comparison_has_the_values_of_the_command(sweep: harness.Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import main

    capsys.readouterr()
    assert main(["compare", "--sweep", sweep.id, "--format", "csv"]) == 0
    found = capsys.readouterr().out
    expected = pd.read_csv(io.StringIO(found))
    pd.testing.assert_frame_equal(harness.compare(sweep).to_frame(), expected)


def test_a_comparison_shows_effects_differences_and_figures(sweep: harness.Sweep) -> None:
    table = harness.compare(sweep)
    assert "mlp_300_100" in repr(table)
    assert len(table.effect("model").to_frame()) == 3
    by_baseline = harness.compare(sweep, baseline="model=mlp_128").to_frame()
    pd.testing.assert_frame_equal(by_baseline, table.differences("model=mlp_128").to_frame())
    assert "gap_bars" in table.figures
    assert table.figure("gap_bars").axes
    assert "<table" in table._repr_html_()
    with pytest.raises(RequestError, match="nothing"):
        table.differences("model=nothing")


def test_runs_of_a_csv_file_are_compared_alone_and_beside_those_of_the_store(sweep: harness.Sweep, place: Path) -> None:
    (place / "others.csv").write_text("lr,accuracy,val_accuracy\n0.1,0.9,0.8\n0.01,0.84,0.79\n")
    alone = harness.compare(csv=place / "others.csv", store=place / "there is none.db")
    assert list(alone.to_frame()["lr"]) == [0.01, 0.1]
    assert len(harness.compare(sweep, csv=["others.csv"], group_by=["model.name", "lr"]).to_frame()) == 4
    assert alone.differences("lr=0.1").to_frame()["baseline"].unique().tolist() == [0.1]
    with pytest.raises(RequestError, match="cannot be used with --csv"):
        harness.compare(csv=place / "others.csv", interval="seeds+images")


def test_what_names_no_run_is_refused(sweep: harness.Sweep) -> None:
    with pytest.raises(RequestError, match="type DataFrame names no run"):
        harness.compare(sweep.runs)  # type: ignore[arg-type]


def test_what_a_run_is_called_is_text_in_html(place: Path) -> None:
    named = harness.train(*SMALL, figures="none", tracking={"run_name": "<script>x</script>"})
    assert "<script>" not in named._repr_html_()
    assert named.name == "<script>x</script>"


def test_a_report_is_stored_and_written(sweep: harness.Sweep, place: Path) -> None:
    report = harness.report(sweep, output=place / "report.html")
    assert report.files == (place / "report.html",)
    assert report.answer in (place / "report.html").read_text()
    assert "srcdoc" in report._repr_html_()
    against = harness.report(sweep, baseline="model=mlp_128")
    assert f"harness report {sweep.id} --baseline model=mlp_128" in against.html


def test_the_process_is_left_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "svg")
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    before = dict(os.environ), list(sys.argv), _umask(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        harness.train(*SMALL, figures="none")
        after = dict(os.environ), list(sys.argv), _umask(), logging.getLogger().handlers[:], logging.getLogger().level
    finally:
        logging.getLogger().removeHandler(handler)
    assert after == before


def test_a_call_is_recorded_as_the_command_that_does_the_same(run: harness.Run) -> None:
    command = run._record.tags["harness.command"]
    assert command.startswith("harness train ")
    assert "regime.validation.size=20" in command


def test_an_expected_error_has_the_message_of_the_command(place: Path, run: harness.Run) -> None:
    runs = len(harness.runs())
    with pytest.raises(ConfigError, match="model=nope: must be one of"):
        harness.train("model=nope")
    with pytest.raises(ConfigError, match="seed"):
        harness.train(*SMALL, "seed=0,1")
    with pytest.raises(RequestError, match="No run"):
        harness.load("no such run")
    assert len(harness.runs()) == runs


def test_callbacks_take_part(place: Path) -> None:
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.model.stop_training = True

    assert len(harness.train(*SMALL, "regime.epochs=3", callbacks=[Stop()], figures="none").history) == 1


def test_the_examples_of_the_docstrings_are_true(place: Path, run: harness.Run, sweep: harness.Sweep) -> None:
    """On the small data of the tests, with runs of the examples' own in another store."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'examples.db'}")
        namespace = {"harness": harness}
        for name in ("train", "sweep", "compare", "runs", "load", "report"):
            text = (getattr(api, name).__doc__ or "").replace('"debug=tiny"', '*small, "hydra/launcher=basic"')
            if name == "train":
                text = text.replace(', "hydra/launcher=basic"', "")
            runner.run(parser.get_doctest(text, {**namespace, "small": SMALL}, name, None, None))
    assert runner.summarize().failed == 0


def test_importing_the_harness_is_quick_and_imports_no_library() -> None:
    heavy = {"tensorflow", "keras", "mlflow", "hydra", "pandas", "matplotlib", "scipy", "numpy"}
    program = f"import sys, harness; print(sorted({heavy} & {{*sys.modules}}), dir(harness)[-1])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["[]", "train"]


@pytest.mark.slow
def test_a_script_needs_no_guard_for_its_workers(place: Path) -> None:
    script = place / "script.py"
    script.write_text(
        "import harness\n"
        "print('once')\n"
        f"found = harness.sweep(*{SMALL!r}, seed=range(2), figures='none')\n"
        "print(found.runs['state'].tolist())\n"
    )
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert said.stdout.split("\n")[:2] == ["once", "['FINISHED', 'FINISHED']"], said.stderr


def test_random_states_and_settings_of_keras_stay(run: harness.Run) -> None:
    import random

    import keras
    import tensorflow as tf
    from tensorflow.python.framework.config import disable_op_determinism, is_op_determinism_enabled

    disable_op_determinism()
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("mixed_bfloat16")
    tf.config.run_functions_eagerly(True)
    try:
        again = harness.train(
            *SMALL, "regime.validation.strategy=first", regime={"validation": {"size": 20}}, seed=3, figures="none"
        )
        assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float64", "mixed_bfloat16")
        assert tf.config.functions_run_eagerly()
        assert not is_op_determinism_enabled()  # else Keras compiles nothing with XLA
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        tf.config.run_functions_eagerly(False)
    assert (random.random(), np.random.rand()) == expected
    assert again.metrics["final/test_loss"] == run.metrics["final/test_loss"]


def test_variables_that_reached_tensorflow_are_said_and_recorded(
    run: harness.Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    late = harness.train(*SMALL, figures="none")
    assert late._record.tags["harness.environment_in_effect"] == "TF_ENABLE_ONEDNN_OPTS"
    assert "restart the kernel" in caplog.text
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    assert "harness.environment_in_effect" not in harness.train(*SMALL, figures="none")._record.tags


def test_arrays_are_a_dataset(place: Path) -> None:
    images = np.random.default_rng(1).integers(0, 255, (60, 6, 5), np.uint8)
    labels = np.array(["cat", "dog", "owl"])[np.arange(60) % 3]
    data = (images[:40], labels[:40]), (images[40:], pd.Series(labels[40:]))
    small = {"regime": {"epochs": 1}, "figures": "none"}
    run = harness.train(data=data, dataset={"name": "pets"}, **small)
    assert run.settings["dataset.name"] == "pets"
    assert run.class_names == ("cat", "dog", "owl")
    assert run.predict(images[0]).shape == (3,)
    [file] = (place / "arrays").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert harness.train(data=data, **small).settings["dataset.file"] == str(file)


def test_arrays_that_are_refused_leave_nothing(place: Path) -> None:
    images, labels = np.zeros((40, 6, 6), np.uint8), np.arange(40) % 4
    before = sorted(place.glob("arrays/*")), len(harness.runs())
    for data, said in (
        (((images, labels[:30]), (images, labels)), "40 images and y_train 30 labels"),
        (((images, labels), (np.full((4, 6, 6), np.nan), labels[:4])), "x_test.* nan"),
        (((images, labels.astype(object)), (images, labels)), "y_train has Python objects"),
        ((images, labels), "give .*x_train, y_train"),
    ):
        with pytest.raises(HarnessError, match=said):
            harness.train(data=data, regime={"epochs": 1})  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="dataset=mnist"):
        harness.train(data=((images, labels), (images, labels)), dataset="mnist")
    assert (sorted(place.glob("arrays/*")), len(harness.runs())) == before


def test_a_function_of_a_module_builds_the_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(place)
    with user_directory(place, my_nets=NETS):
        import my_nets  # type: ignore[import-not-found]

        run = harness.train(*SMALL, model={"builder": my_nets.sequence, "options": {"units": 5}}, figures="none")
        assert run.settings["model.builder"] == "my_nets:sequence"
        assert run.settings["model.options.units"] == 5
    with pytest.raises(ConfigError, match="%%writefile"):
        harness.train(*SMALL, model=type("Built", (), {"__module__": "__main__"}))
