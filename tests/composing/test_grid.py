"""A sweep has the jobs that Hydra's own sweeper would make, or is refused."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from harness.composing import CONFIG_NAME, check_sweep, config_loader, expand_sweep
from harness.errors import ConfigError

STUDIES = {"capacity": "model.width", "train_size": "dataset.train_size", "label_noise": "dataset.label_noise"}


class _Recorder(Launcher):
    """A launcher that only keeps the jobs that it gets."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, ...]]] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None: ...

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.batches.append([tuple(job) for job in job_overrides])
        return []


def hydras_batches(words: list[str], folder: Path, config_dir: str | None = None) -> list[list[tuple[str, ...]]]:
    """The jobs that Hydra's own sweeper passes to a launcher, with the set-up of `Hydra.multirun`."""
    loader = config_loader(config_dir)
    config = loader.load_configuration(CONFIG_NAME, [*words, f"hydra.sweep.dir='{folder}'"], RunMode.MULTIRUN)
    context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # Hydra has loaded it again by now

    class Unvalidated(BasicSweeper):
        def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
            """The sweeper without the check that composes every job, which is not tested here."""

    sweeper = Unvalidated(config.hydra.sweeper.max_batch_size, config.hydra.sweeper.params)
    sweeper.setup(hydra_context=context, task_function=lambda config: None, config=config)
    launcher = sweeper.launcher = _Recorder()
    sweeper.sweep(OmegaConf.to_container(config.hydra.overrides.task, resolve=False))  # type: ignore[arg-type]
    return launcher.batches


SYNTAX = [
    ["seed=1,2"],
    ["seed=5"],
    ["seed=choice(3,1)", "optimizer=choice(sgd,adam)"],
    ["seed=range(5)"],
    ["seed=range(0,10,2)"],
    ["seed=range(5,0,-1)"],
    ["seed=range(start=1,stop=4)"],
    ["model.dropout=range(0,0.5,0.1)"],
    ["model.dropout=range(0.4,0,-0.2)"],
    ["optimizer.learning_rate=1e-3,1,0.5"],
    ["optimizer.learning_rate=choice(.1,1e-05)"],
    ["seed=sort(3,1,2)"],
    ["seed=sort(3,1,2,reverse=true)"],
    ["optimizer=sort(sgd,adam)"],
    ["seed=sort(range(5,0,-1))"],
    ["seed=shuffle(range(6))"],
    ["seed=shuffle(4,5,6,7)"],
    ["seed=shuffle(choice(4,5,6,7))"],
    ["seed=tag(t,choice(1,2))"],
    ["seed=tag(a,b,range(3))"],
    ["seed=int(choice(1.0,2.0))"],
    ["seed=int(1.0,2.0)"],
    ["model.dropout=float(choice(0,1))"],
    ["seed=str(choice(1,2))"],
    ["model.batch_norm=bool(choice(0,1))"],
    ["model.batch_norm=true,false"],
    ["model.hidden=[64],[128,64]"],
    ["model.hidden=choice([],[8,4])"],
    ["model.hidden=sort([3,1,2]),[5]"],
    ["regime.schedule={name:step,factor:0.5},{name:cosine}"],
    ["model.name='a b','c,d'"],
    ['model.name="it\'s",\'say "so"\''],
    ["model.name=a\\ b,c\\,d"],
    ["model.width=null,8"],
    ["dataset.train_size=${regime.batch_size},100"],
    ["model=mlp_128,cnn", "optimizer=sgd,adam", "seed=range(2)"],
    ["model=glob(mlp_*)"],
    ["model=glob(*,exclude=mlp*)"],
    ["model=glob([mlp,cnn])", "seed=1,2"],
    ["debug=tiny,one_batch"],
    ["~debug", "seed=1,2"],
    ["+threads=2", "seed=1,2"],
    ["++seed=1,2"],
    ["++model.dropout=0.1,0.2", "seed=3"],
    ["experiments=demo"],
    ["experiments=demo", "seed=range(3)"],
    ["experiments=demo", "model=cnn", "model.dropout=0,0.5"],
    ["experiments=capacity", "model.width=1,2", "++seed=7"],
    ['hydra.sweeper.params={seed:"range(2)",model.dropout:"0,0.1"}'],
    ["+hydra.sweeper.params.seed='1,2'", "optimizer=sgd,adam"],
    ["+hydra.sweeper.params.seed='1,2'", "seed=5"],
    ["+hydra.sweeper.params.model='glob(mlp_*)'"],
    ["hydra.sweeper.params={model.hidden:[8,4],seed:3}"],
    ["hydra.sweeper.max_batch_size=2", "seed=range(5)"],
    ["hydra.launcher.workers=1", "seed=range(2)", "hydra.job.chdir=true"],
    ["seed=1", "seed=2,3"],
    ["seed=2,3", "seed=1"],
]


@pytest.mark.parametrize("words", SYNTAX, ids=" ".join)
def test_the_jobs_are_those_of_hydras_own_sweeper(words: list[str], project: Path) -> None:
    random.seed(3)
    batches = hydras_batches(words, project)
    random.seed(3)
    assert list(expand_sweep(words).jobs) == [job for batch in batches for job in batch]


def test_a_shuffled_group_has_every_option_once(project: Path) -> None:
    (batch,) = hydras_batches(["model=shuffle(mlp_128,cnn,mlp)"], project)
    assert sorted(expand_sweep(["model=shuffle(mlp_128,cnn,mlp)"]).jobs) == sorted(batch)


def test_a_pattern_finds_options_of_config_dir(project: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mlp_wide.yaml").write_text("defaults: [mlp]\nname: wide\nhidden: [2048]\n")
    where = str(tmp_path / "own")
    (batch,) = hydras_batches(["model=glob(mlp_*)"], project, where)
    jobs = expand_sweep(["model=glob(mlp_*)"], config_dir=where).jobs
    assert list(jobs) == batch
    assert ("model=mlp_wide",) in jobs


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_crosses_one_setting_with_at_least_five_seeds(name: str) -> None:
    sweep = expand_sweep([f"experiments={name}"])
    assert sweep.swept == (STUDIES[name], "seed")
    seeds = {item for job in sweep.jobs for item in job if item.startswith("seed=")}
    values = {item for job in sweep.jobs for item in job if item.startswith(f"{STUDIES[name]}=")}
    assert len(seeds) >= 5
    assert len(sweep.jobs) == len(seeds) * len(values)


def test_swept_settings_are_those_with_several_values() -> None:
    assert expand_sweep(["model=mlp_128,cnn", "optimizer=sgd", "seed=range(3)"]).swept == ("model", "seed")
    assert set(expand_sweep(["experiments=demo", "seed=range(3)", "optimizer=adam"]).swept) == {"model", "seed"}


@pytest.fixture
def studies(tmp_path: Path) -> str:
    """A folder for `--config-dir`: options with their own grids, and an experiment that sweeps them."""
    header = "# @package _global_\n"
    files = {
        "experiments/rates": "hydra: {sweeper: {params: {optimizer.learning_rate: '0.1,0.2', seed: range(2)}}}\n",
        "experiments/widths": "hydra: {sweeper: {params: {model.width: '8,16', model: mlp}}}\nseed: 4\n",
        "experiments/plain": "seed: 5\n",
        "experiments/crowded": "hydra: {launcher: {workers: 1}}\n",
        "experiments/elsewhere": "tracking: {experiment: elsewhere}\n",
        "experiments/both": "hydra: {sweeper: {params: {debug: 'short,long'}}}\n",
        "debug/short": "hydra: {sweeper: {params: {regime.epochs: '1,2'}}}\n",
        "debug/long": "regime: {epochs: 9}\n",
    }
    for name, content in files.items():
        file = tmp_path / "own" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(header + content)
    return str(tmp_path / "own")


def test_each_option_of_a_swept_group_has_its_own_grid(studies: str) -> None:
    sweep = expand_sweep(["experiments=rates,widths,plain", "regime.epochs=1,2"], config_dir=studies)
    alone = [
        expand_sweep([f"experiments={name}", "regime.epochs=1,2"], config_dir=studies).jobs
        for name in ("rates", "widths", "plain")
    ]
    assert [len(jobs) for jobs in alone] == [8, 4, 2]
    assert sweep.jobs == sum(alone, ())
    assert sweep.swept == ("experiments", "optimizer.learning_rate", "seed", "regime.epochs", "model.width")
    assert len(check_sweep(sweep, config_dir=studies)) == 14


def test_a_grid_may_sweep_a_group_whose_options_have_grids(studies: str) -> None:
    jobs = expand_sweep(["experiments=both"], config_dir=studies).jobs
    assert jobs == (
        ("debug=short", "regime.epochs=1", "experiments=both"),
        ("debug=short", "regime.epochs=2", "experiments=both"),
        ("debug=long", "experiments=both"),
    )


def test_the_command_line_replaces_a_key_of_every_grid(studies: str) -> None:
    jobs = expand_sweep(["experiments=rates,widths", "seed=9"], config_dir=studies).jobs
    assert len(jobs) == 4
    assert all("seed=9" in job for job in jobs)


@pytest.mark.parametrize("words", [["experiments=shuffle(rates,widths)"], ["experiments=glob([rates,widths])"]])
def test_options_with_grids_may_be_given_in_any_way(words: list[str], studies: str) -> None:
    assert len(expand_sweep(words, config_dir=studies).jobs) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experiments=rates,crowded"], "experiments=crowded: sets Hydra's launcher or sweeper"),
        (["experiments=rates,widths", "hydra/sweeper=basic"], "experiments=rates,widths: .* need hydra/sweeper=grid"),
        (
            ["experiments=plain,elsewhere"],
            "tracking.experiment: must be the same for all jobs of a sweep, .* and elsewhere",
        ),
        (["debug=tiny,long"], "tracking.experiment: .* options of debug set it to debug and harness. Give one value"),
    ],
)
def test_options_that_cannot_be_swept_together_are_refused(words: list[str], said: str, studies: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_sweep(expand_sweep(words, config_dir=studies), config_dir=studies)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.learning_rate=interval(0,1)"], r"=interval\(0,1\): a grid needs separate values"),
        (["optimizer.learning_rate=tag(t,interval(0,1))"], "a grid needs separate values"),
        (["+hydra.sweeper.params.seed='interval(0,1)'"], r"^seed=interval\(0,1\): a grid needs separate values"),
        (["tracking.experiment=a,b"], "tracking cannot be swept"),
        (['+hydra.sweeper.params={tracking.uri:"a,b"}'], r"tracking\.uri: tracking cannot be swept"),
        (["threads=1,2"], "threads: cannot be swept"),
        (["resume=true,false"], "resume: applies to the whole sweep"),
        (["hydra.launcher.workers=1,2"], r"hydra\.launcher\.workers: .* Give one value"),
        (["hydra/launcher=basic,pool"], r"hydra/launcher: .* Give one value"),
        (["+hydra.sweeper.params.seed=1,2"], r"grid in quotes: \"\+hydra\.sweeper\.params\.seed='1,2'\"\.$"),
        (
            ["hydra.sweeper.params.seed='1,2'"],
            r"params\.seed='1,2': Hydra's configuration has no such setting yet. .* put a \+",
        ),
        (["hydra.sweeper.params=5"], r"hydra\.sweeper\.params=5: must give the values of each key"),
        (["hydra.sweeper.max_batch_size=0", "seed=1,2"], r"max_batch_size=0: must be a whole number, at least 1"),
        (["hydra.sweeper.max_batch_size=two", "seed=1,2"], r"max_batch_size=two: must be a whole number"),
        (["seed=range(0)"], r"^seed=range\(0\): has no value\.$"),
        (["optimizer=adam,sgd", "seed=range(5,0)"], r"^seed=range\(5,0\): has no value\.$"),
        (["model=glob(vgg*)"], r"^model=glob\(vgg\*\): has no value\. The options there are cnn, mlp"),
        (["seed=glob(*)"], r"^seed=glob\(\*\): has no value\.$"),
        (["seed=range(0,4,0)"], "must not be zero"),
        (["seed=int(choice(a,b))"], "cannot be read"),
        (["model.name=str(range(2))"], r"^model\.name=str\(range\(2\)\): this override cannot be read"),
        (["~optimizer.beta_1", "seed=1,2"], "^~optimizer.beta_1: a setting cannot be removed. Give it another value"),
        (["debug=tiny,null"], "^debug=null: debug is a group, so its value is an option"),
        (["hydra.sweeper.params={seed:[0,1]}"], r"params\.seed: \[0, 1\] is a YAML list, .* seed: 0,1$"),
        (["hydra.sweeper.params={model.hidden:[[8],[8,8]]}"], r"model\.hidden: '\[8\],\[8,8\]'$"),
        (["hydra.sweeper.params={regime.continue_from:2e5}"], "YAML reads this as 200000.0, .* Put it in quotes"),
        (["model=cnn,mlpp"], "^model=mlpp: must be one of cnn, custom, mlp, .* Did you mean 'mlp'"),
    ],
)
def test_an_override_that_is_not_a_grid_is_refused_by_name(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expand_sweep(words)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir .*nowhere: there is no such folder\. Name a folder"):
        expand_sweep(["seed=1,2"], config_dir=str(tmp_path / "nowhere"))


def test_sweep_values_one_level_too_high_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"one level below: hydra\.sweeper\.params\.seed="):
        expand_sweep(["+hydra.sweeper.seed='0,1'"])
