"""One configuration: every option composes, and every wrong request is explained."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import paths
from harness.composing import compose_config, recorded_config
from harness.composing.setup import config_loader
from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import flatten
from harness.errors import ConfigError

NEEDED = {
    "npz": ["dataset.file=a.npz"],
    "image_folder": ["dataset.directory=a"],
    "idx": ["dataset.directory=a"],
    "python": ["dataset.loader=tests.dataset.loaders:tiny"],
}
"""What an option demands besides itself."""
GROUPS = ("dataset", "model", "optimizer", "regime", "tracking", "debug")


def options(group: str) -> list[str]:
    return config_loader(None).get_group_options(group)


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in options(group)])
def test_every_option_of_every_group_composes(group: str, option: str) -> None:
    needed = NEEDED.get(option, [])
    config = compose_config([f"{group}={option}", *needed])
    if group in ("dataset", "model", "optimizer") and not needed:
        assert getattr(config, group).name == option


@pytest.mark.parametrize("name", [file.stem for file in paths.experiments_directory().glob("*.yaml")])
def test_every_experiment_opens_with_question_command_duration_and_expectation(name: str) -> None:
    text = (paths.experiments_directory() / f"{name}.yaml").read_text()
    for word in ("# Question:", "# Command:", "# Duration:", "# Expected:"):
        assert word in text


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [(100, 10, 4), (101, 10, 4), (160, 10, 2), (1000, 10, 1), (10, 100, 40)],
    ids=["exactly", "a last batch that is not full", "2.5 epochs", "less than an epoch", "one batch"],
)
def test_epochs_are_computed_from_a_number_of_steps(images: int, batch: int, epochs: int) -> None:
    asked = f"regime.epochs=${{harness_epochs:40,{images},{batch}}}"
    assert compose_config([asked]).regime.epochs == epochs


def test_epochs_of_a_training_set_of_unknown_size_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"dataset.train_size=null: .* 4,000 steps.* dataset.train_size as a number\.$"
    ):
        compose_config(["experiments=train_size", "dataset.train_size=null"])


@pytest.mark.parametrize("wrong", ["dataset.train_size=0", "regime.batch_size=0"])
def test_a_wrong_size_is_refused_by_its_own_rule_when_epochs_are_computed(wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"^{wrong}: must be at least 1"):
        compose_config(["experiments=train_size", wrong])


def test_there_is_an_option_for_every_optimizer() -> None:
    assert set(options("optimizer")) == set(OPTIMIZERS)


def test_a_line_in_the_table_of_optimizers_makes_a_new_one() -> None:
    code = (
        "from harness.config import optimizers as table;"
        "table.OPTIMIZERS['nesterov'] = table.KerasOptimizer('SGD', {'momentum': 0.9, 'nesterov': True}, 0.02);"
        "from harness.composing import compose_config;"
        "from harness.config.fingerprint import fingerprint;"
        "given = compose_config(['optimizer=nesterov']);"
        "same = compose_config(['optimizer=nesterov', 'optimizer.momentum=null']);"
        "other = compose_config(['optimizer=nesterov', 'optimizer.momentum=0.8']);"
        "print(given.optimizer.options(), *(fingerprint(one, '') == fingerprint(given, '') for one in (same, other)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'learning_rate': 0.02, 'momentum': 0.9, 'nesterov': True} True False"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_options_of_an_optimizer_state_the_defaults_of_keras(name: str) -> None:
    import keras

    from harness.training.compiling import build_optimizer

    configured = build_optimizer(compose_config([f"optimizer={name}"]).optimizer)
    defaults = getattr(keras.optimizers, OPTIMIZERS[name].class_name)()
    ours, theirs = configured.get_config(), defaults.get_config()
    assert {key for key in theirs if ours[key] != theirs[key]} - {"name"} == OPTIMIZERS[name].instead.keys()


def test_every_choice_has_parameters_with_the_same_keys() -> None:
    keys = [list(flatten(compose_config(choice))) for choice in ([], ["model=cnn", "optimizer=sgd", "dataset=mnist"])]
    assert keys[0] == keys[1]


def test_named_models_have_the_layers_in_their_name() -> None:
    assert compose_config(["model=mlp_128"]).model.hidden == [128]
    assert compose_config(["model=mlp_128_128"]).model.hidden == [128, 128]
    assert compose_config(["model=mlp_300_100"]).model.hidden == [300, 100]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=cnnn"], ["model=cnnn", "cnn, custom, mlp, mlp_128, mlp_128_128, mlp_300_100", "Did you mean 'cnn'?"]),
        (["optimizer.learning_rat=0.1"], ["optimizer.learning_rat=0.1", "Did you mean 'optimizer.learning_rate'?"]),
        (["+model.layers=3"], ["model.layers=3", "no such setting", "model.filters"]),
        (["modell=cnn"], ["modell=cnn", "Did you mean 'model'?"]),
        (["epochs=3"], ["epochs=3", "no such setting", "regime"]),
        (["regime.epochs=many"], ["regime.epochs=many", "a whole number"]),
        (["regime.epochs=1.5"], ["regime.epochs=1.5", "a whole number"]),
        (["regime.epochs=0"], ["regime.epochs=0", "at least 1"]),
        (["model.hidden=3"], ["model.hidden=3", "a list of whole numbers"]),
        (["model.hidden=[a]"], ["model.hidden=[a]", "a list of whole numbers"]),
        (["seed=null"], ["seed=null", "a whole number"]),
        (["seed=1,2"], ["seed=1,2", "harness sweep"]),
        (["optimizer=[1"], ["optimizer=[1", "cannot be read"]),
        (["tracking=5"], ["tracking=5", "a group"]),
        (["experiments=dem"], ["experiments=dem", "Did you mean 'demo'?"]),
        (["~optimizer=adam"], ["~optimizer=adam: every run needs an option of the group optimizer"]),
        (["~model"], ["~model: every run needs an option of the group model, so it cannot be removed"]),
        (["optimizer=SGD"], ["Did you mean 'sgd'?"]),
        (["optimizer.lr=0.1"], ["Did you mean 'optimizer.learning_rate'?"]),
        (["seed"], ["seed: this is not a setting with a value. Write seed=VALUE, without spaces"]),
        (["=3"], ["=3: this does not name a setting"]),
        (["model=cnn,"], ["it ends in a comma", "without a space after a comma"]),
        (["seed=[0, 1]"], ["a whole number", "harness sweep seed=0,1"]),
        (["seed=0..3"], ["a whole number", "harness sweep 'seed=range(0,4)'"]),
        (["seed=${nope}"], ["seed=${nope}: there is no setting nope to refer to"]),
        (["~model.l2"], ["~model.l2: a setting cannot be removed. Give it another value"]),
    ],
)
def test_a_wrong_request_is_explained(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config(overrides)
    for words in said:
        assert words in str(refused.value)
    assert "Error merging" not in str(refused.value)


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ("seed: 3\n", "study.yaml: .* Make this the first line of the file: # @package _global_$"),
        ("# @package _global_\noptimizer: sgd\n", r"study.yaml: 'optimizer: sgd' .* - override /optimizer: sgd$"),
        ("# @package _global_\ndefaults: [{model: cnn}]\n", "Write there: - override /model: cnn$"),
        ("# @package _global_\ntracking: {experiment: 1.10}\n", "tracking.experiment is a text, .* Put it in quotes"),
        (
            "# @package _global_\ndefaults: [{/model: cnn}]\n",
            "model: a defaults list chooses cnn .* - override /model: cnn$",
        ),
        ("# @package _global_\ndefaults: [override /optimiser: sgd]\n", "not name a group. Did you mean 'optimizer'?"),
        ("# @package _global_\nparams: {seed: '0,1'}\n", "params: there is no such setting. .* sweeper:  params:$"),
        (
            "# @package _global_\nregime: {epochs: '5,10'}\n",
            "regime.epochs: 5,10: must be a whole number. Write several values",
        ),
        ("# @package _global_\nmodel: {hidden: 64}\n", r"study.yaml: model.hidden: must be a list of whole numbers"),
        (
            "# @package _global_\noptimizer: {lr: 1}\n",
            "study.yaml: optimizer.lr: .* Did you mean 'optimizer.learning_rate'?",
        ),
        ("# @package _global_\n- seed: 1\n", "contains a list where named settings are needed"),
        ("# @package _global_\nregime:\n\tepochs: 3\n", "study.yaml, line 3: this is not YAML .* not with tabs"),
        ("# @package _global_\nseed: 1\nseed: 2\n", "study.yaml, line 3: this is not YAML .*duplicate key"),
        (
            "# @package _global_\nseed: ${sed}\n",
            r"\$\{sed\}: there is no setting sed to refer to. Did you mean 'seed'",
        ),
        ("# @package _global_\nseed: ${oc.env:NOT_SET}\n", "the variable NOT_SET is not set"),
        ("# @package _global_\nhydra: {mode: MULTIRUN}\n", "Start a sweep with `harness sweep`"),
        ("# @package _global_\nmodel: {name: yes}\n", "model.name is a text, .* as True. Put it in quotes"),
    ],
)
def test_a_wrongly_written_experiment_is_refused_with_what_to_write(tmp_path: Path, study: str, said: str) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "study.yaml").write_text(study)
    with pytest.raises(ConfigError, match=said):
        compose_config(["experiments=study"], config_dir=str(tmp_path))


def test_config_dir_adds_options(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "wide.yaml").write_text("defaults: [mlp]\nname: wide\nhidden: [2048]\n")
    assert compose_config(["model=wide"], config_dir=str(tmp_path)).model.hidden == [2048]
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "slow.yaml").write_text("defaults: [sgd]\nlearning_rate: 1e-4\n")
    slow = compose_config(["optimizer=slow"], config_dir=str(tmp_path)).optimizer
    assert (slow.name, slow.learning_rate, slow.momentum) == ("sgd", 1e-4, 0.0)


def test_config_dir_does_not_replace_options(tmp_path: Path) -> None:
    for group, name in (("model", "cnn"), ("optimizer", "adam")):
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text("name: other\n")
    config = compose_config(["model=cnn", "optimizer=adam"], config_dir=str(tmp_path))
    assert (config.model.name, config.optimizer.name) == ("cnn", "adam")


def test_composing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness.composing import compose_config; compose_config(['model=cnn']);"
        "print({'tensorflow', 'keras', 'mlflow', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_recorded_configuration_without_a_later_setting_has_its_default() -> None:
    recorded = dataclasses.asdict(compose_config(["seed=7", "model=cnn"]))
    del recorded["palette"], recorded["regime"]["schedule"]
    assert recorded_config(yaml.safe_dump(recorded)) == compose_config(["seed=7", "model=cnn"])


def test_the_message_quotes_the_last_of_two_overrides_of_a_setting() -> None:
    with pytest.raises(ConfigError, match=r"^regime\.epochs=ten: must be a whole number"):
        compose_config(["regime.epochs=2", "regime.epochs=ten"])
