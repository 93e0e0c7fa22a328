"""The configuration of every job is the one that Hydra composes, and is checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

import pytest
from hydra.types import RunMode
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from harness import paths
from harness.composing import CONFIG_NAME, check_sweep, compose_config, config_loader, expand_sweep, typed_config
from harness.composing.configs import composed
from harness.composing.explaining import explained
from harness.composing.jobs import JobComposer, SweepComposer
from harness.config.schema import Config
from harness.errors import ConfigError

OPTIONS = {
    "regime/tied": "epochs: ${harness_first:${dataset.test_size},7}\nvalidation: {seed: '${seed}'}\n",
    "regime/relative": "defaults: [standard]\nvalidation: {size: '${..batch_size}', seed: '${.size}'}\n",
    "model/linked": "defaults: [mlp]\nhidden: ['${regime.batch_size}', 8]\nname: linked-${.hidden}-${seed}\n",
    "optimizer/chained": "name: sgd\nlearning_rate: ${.momentum}\nmomentum: ${dataset.label_noise}\n",
    "experiments/steps": "# @package _global_\nregime: {epochs: '${harness_epochs:40,${dataset.test_size},${seed}}'}\n",
    "experiments/nested": "# @package _global_\nseed: ${dataset.${model.architecture}}\n",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with options whose settings are computed from others."""
    folder = tmp_path_factory.mktemp("own")
    for name, content in OPTIONS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(content)
    return str(folder)


GROUPS = {
    "model": ["mlp", "mlp_300_100", "cnn", "linked", "nosuch"],
    "optimizer": ["adam", "sgd", "chained", "5"],
    "regime": ["standard", "early_stopping", "tied", "relative"],
    "debug": ["tiny", "one_batch"],
    "experiments": ["steps", "nested", "train_size", "null"],
    "model@optimizer": ["mlp"],
}
NUMBERS = ["0", "7", "-1", "300", "1.0", "1.5", "1e-3", "nan", "-inf", "null", "true", "abc", "'5'", "'1e-3'", "[1]"]
TEXTS = [
    "a", "'a b'", "\"it's\"", "'say \"so\"'", "a\\,b", "'x=y,z'", "ü→", "''", "null", "'null'", "true", "1.50", "'???'",
    "'${seed}'", "x${seed}", "${model.architecture}", "'\\${seed}'", "'a\\\\b'", "/tmp/a-b", "{a:1}",
]  # fmt: skip
LISTS = ["[]", "[8]", "[64,32]", "[1.0]", "['3']", "[a]", "[null]", "null", "5", "[${seed},2]", "[[1]]", "'[1]'"]
TRUTHS = ["true", "false", "null", "1", "'yes'", "off", "2"]
VALUES = {
    "seed": NUMBERS, "model.width": NUMBERS, "model.dropout": NUMBERS, "optimizer.learning_rate": NUMBERS,
    "dataset.train_size": NUMBERS, "dataset.test_size": NUMBERS, "regime.batch_size": NUMBERS,
    "regime.validation.size": NUMBERS, "model.name": TEXTS, "dataset.directory": TEXTS, "resume": TRUTHS,
    "figures": TEXTS, "model.hidden": LISTS, "model.filters": LISTS, "model.batch_norm": TRUTHS,
    "regime.schedule.factor": NUMBERS, "regime.schedule": ["{name:cosine}", "{factor:0.5}", "{}", "null", "3"],
    "regime": ["{epochs:3}", "{validation:{size:9}}"], "model.hidden.0": ["3"], "optimizer.nosuch": ["1"],
}  # fmt: skip


@st.composite
def sweeps(draw: st.DrawFn) -> list[list[str]]:
    """Jobs of one command: equal keys, most of them plain settings, and different values in each job."""
    groups = draw(st.lists(st.sampled_from(sorted(GROUPS)), max_size=2, unique=True))
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3))
    prefixes = [draw(st.sampled_from(["", "", "", "+", "++"])) for _ in keys]
    items = [(group, GROUPS[group]) for group in groups]
    items += [(prefix + key, VALUES[key]) for prefix, key in zip(prefixes, keys, strict=True)]
    items = draw(st.permutations(items))
    deleted = draw(st.sampled_from([[], [], [], ["~debug"], ["~experiments"], ["~model.l2"]]))
    fixed = {key: draw(st.sampled_from(values)) for key, values in items if key in GROUPS}
    return [
        [f"{key}={fixed[key] if key in fixed else draw(st.sampled_from(values))}" for key, values in items] + deleted
        for _ in range(3)
    ]


def outcome(job: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> str:
    try:
        with explained(job):
            return repr(compose(job))
    except ConfigError as error:
        return f"refused: {error}"


@pytest.mark.slow
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(jobs=sweeps())
def test_setting_values_on_a_composed_job_gives_what_hydra_composes(jobs: list[list[str]], own: str) -> None:
    loader = config_loader(own)
    composer = JobComposer(loader, CONFIG_NAME, ())
    for job in jobs:
        assert outcome(job, composer.config) == outcome(
            job, lambda words: typed_config(composed(loader, CONFIG_NAME, words), words)
        )


@pytest.mark.parametrize(
    "words",
    [
        ["seed=range(2)", "optimizer=sgd,adam", "regime=standard,early_stopping"],
        ["optimizer.learning_rate=1e-3,1", "model.hidden=[8],[8,4]", "tracking.run_name='a b'"],
        ["experiments=demo", "seed=0"],
        ["optimizer.momentum=null,0.5", "optimizer=sgd", "resume=false", "figures=few,none"],
        ["regime.schedule={name:step,factor:0.5},{name:cosine}", "seed=1,2"],
        ["regime.schedule={name:step,factor:0.5}", "regime.schedule.factor=0.1,0.2"],
        ["regime.schedule.factor=0.1,0.2", "++regime.schedule={name:step,factor:0.5}"],
        ["seed=1,2", "++seed=3,4"],
        ["model.dropout=0,0.1", "regime.schedule.factor=0.2", "++regime.schedule={name:step,factor:0.5}"],
        ["+threads=2", "model.width=8,16", "model=mlp"],
        ["hydra.job.name=other", "seed=1,2"],
        ["debug=one_batch", "regime.batch_size=8,16", "dataset.seed=1,2"],
        ["experiments=train_size", "dataset.train_size=1000,2000", "seed=1,2"],
        ["dataset.train_size=${regime.batch_size},100", "regime.batch_size=10,20"],
    ],
    ids=" ".join,
)
def test_the_configuration_of_every_job_is_what_hydra_composes(words: list[str]) -> None:
    sweep = expand_sweep(words)
    assert check_sweep(sweep) == [compose_config(job) for job in sweep.jobs]


@pytest.mark.parametrize(
    ("regime", "words", "key", "values"),
    [
        ("validation: {seed: '${seed}'}", ["seed=3,4"], "validation.seed", [3, 4]),
        ("validation: {seed: '${.size}'}", ["regime.validation.size=3,4"], "validation.seed", [3, 4]),
        ("epochs: ${harness_first:${dataset.test_size},7}", ["dataset.test_size=null,9"], "epochs", [7, 9]),
        ("batch_size: ${.epochs}\nepochs: ${dataset.seed}", ["dataset.seed=5,6"], "batch_size", [5, 6]),
        ("epochs: ${dataset.${figures}}", ["dataset.seed=5,6", "figures=seed"], "epochs", [5, 6]),
    ],
)
def test_a_setting_computed_from_others_is_computed_for_every_job(
    regime: str, words: list[str], key: str, values: list[object], tmp_path: Path
) -> None:
    (tmp_path / "regime").mkdir()
    (tmp_path / "regime" / "tied.yaml").write_text(f"defaults: [standard]\n{regime}\n")
    loader = config_loader(str(tmp_path))
    jobs = [["regime=tied", *job] for job in expand_sweep(words).jobs]
    composer = JobComposer(loader, CONFIG_NAME, ())
    hydras = [typed_config(composed(loader, CONFIG_NAME, job), job) for job in jobs]
    assert [composer.config(job) for job in jobs] == hydras
    assert [attrgetter(key)(config.regime) for config in hydras] == values


def test_a_section_that_refers_to_another_is_composed_for_every_job(tmp_path: Path) -> None:
    (tmp_path / "regime").mkdir()
    schedule = "'${oc.create:{name:step,every_epochs:${seed}}}'"
    (tmp_path / "regime" / "created.yaml").write_text(f"defaults: [standard]\nschedule: {schedule}\n")
    primary = (paths.configuration_directory() / "config.yaml").read_text()
    (tmp_path / "untyped.yaml").write_text(primary.replace("  - harness_schema\n", ""))  # a typed section refuses that
    composer = JobComposer(config_loader(str(tmp_path)), "untyped", ())
    configs = [composer.config(["regime=created", f"seed={seed}"]) for seed in (3, 4)]
    assert [config.regime.schedule.every_epochs for config in configs] == [3, 4]


def test_a_worker_composes_every_job_as_hydra_does() -> None:
    loader = config_loader(None)
    words = [
        "optimizer=sgd,adam",
        "model.hidden=[8],[9,9]",
        "+model.width=1,2",
        "dataset.train_size=${regime.batch_size}",
    ]
    given = [*words, "hydra.job.config.override_dirname.exclude_keys=[model.width]", "hydra.verbose=true"]
    sweep = loader.load_configuration(CONFIG_NAME, given, RunMode.MULTIRUN)
    folder, composer = sweep.hydra.sweep.dir, SweepComposer(loader, sweep)
    for number, job in enumerate(expand_sweep(given).jobs):
        job = (*job, "tracking.parent_run=abc", f"tracking.job={number}")
        found, hydras = composer.config(job), loader.load_sweep_config(sweep, list(job))
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(hydras)
        assert found.hydra.sweep.dir == hydras.hydra.sweep.dir == folder, "the time of day is that of the sweep"


def test_jobs_that_differ_in_values_only_are_composed_once() -> None:
    loader = config_loader(None)
    composer = JobComposer(loader, CONFIG_NAME, ())
    for job in expand_sweep(["model=mlp,cnn", "optimizer=sgd,adam", "seed=range(20)", "model.dropout=0,0.1"]).jobs:
        composer.config(job)
    assert len(composer.examples) == 4


def test_a_change_to_one_jobs_configuration_does_not_reach_another() -> None:
    one, two = check_sweep(expand_sweep(["model.dropout=0,0.5"]))
    assert (one.model.dropout, two.model.dropout) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=mlp_128,mlpp"], "^model=mlpp: must be one of"),
        (["seed=1,2,x"], "^seed=x: must be a whole number"),
        (["seed=range(100)", "model.dropout=0,2"], r"^model\.dropout=2\.0: must be at least 0 and below 1"),
        (["+seed=1,2"], r"Could not append to config. An item is already at 'seed'"),
        (["model.nosuch=1,2"], r"^model\.nosuch=1: there is no such setting"),
        (["experiments=train_size", "dataset.train_size=100,null"], r"^dataset\.train_size=null: .* 4,000 steps"),
        (["experiments=train_size", "dataset.train_size=100,0"], r"^dataset\.train_size=0: must be at least 1"),
        (
            ["regime.epochs=range(1,100)", "regime.schedule.warmup_epochs=range(0,99)", "regime.schedule.name=cosine"],
            r"^regime\.schedule\.warmup_epochs=1: must be below regime\.epochs=1",
        ),
        (
            ["seed=range(500)", "regime.schedule.name=plateau", "regime.schedule.monitor=train/loss",
             "regime.schedule.warmup_epochs=0,1"],
            r"^regime\.schedule\.warmup_epochs=1: the schedule plateau cannot have a warm-up",
        ),
    ],
)  # fmt: skip
def test_one_wrong_job_refuses_the_whole_sweep(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_sweep(expand_sweep(overrides))


@pytest.mark.parametrize("name", [file.stem for file in paths.experiments_directory().glob("*.yaml")])
def test_every_experiment_composes(name: str) -> None:
    assert check_sweep(expand_sweep([f"experiments={name}"]))


def test_every_size_of_a_training_set_is_trained_for_the_same_number_of_steps() -> None:
    configs = check_sweep(expand_sweep(["experiments=train_size"]))
    sizes = [config.dataset.train_size or 0 for config in configs]
    steps = {
        config.regime.epochs * math.ceil(size / config.regime.batch_size)
        for config, size in zip(configs, sizes, strict=True)
    }
    assert (min(sizes), max(sizes), steps) == (500, 50_000, {4000})
