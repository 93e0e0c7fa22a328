"""The space of a search, read from Hydra's sweep syntax."""

from __future__ import annotations

import pytest

from harness.composing import search_space
from harness.config.search import SearchConfig, combinations
from harness.errors import ConfigError


def sizes(*words: str) -> dict[str, tuple[str, int | None]]:
    return {key: (str(dimension), dimension.size) for key, dimension in search_space(words).space.items()}


def test_hydras_sweep_syntax_is_the_space() -> None:
    assert sizes(
        "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "model=mlp_128,cnn", "regime.batch_size=choice(16,32)",
        "model.dropout=range(0,0.6,0.1)", "model.width=interval(16,512)", "regime.epochs=tag(log,range(1,9))",
        "regime.shuffle=true,false", "optimizer.weight_decay=null,0.01", "seed=3",
    ) == {
        "optimizer.learning_rate": ("0.0001 to 0.1, log", None),
        "model": ("mlp_128, cnn", 2),
        "regime.batch_size": ("16, 32", 2),
        "model.dropout": ("0 to 0.5 in steps of 0.1", 6),
        "model.width": ("16 to 512", 497),  # a setting of whole numbers
        "regime.epochs": ("1 to 8, log", 8),
        "regime.shuffle": ("True, False", 2),
        "optimizer.weight_decay": ("null, 0.01", 2),
    }  # fmt: skip


def test_a_glob_chooses_the_options_of_a_group() -> None:
    assert search_space(["model=glob(mlp_*)"]).space["model"].choices == ("mlp_128", "mlp_128_128", "mlp_300_100")


def test_the_group_search_has_the_budget() -> None:
    found = search_space(["model=mlp_128,cnn", "search=random", "search.time=1h30m", "search.trials=7", "seed=4"])
    assert (found.settings.sampler, found.settings.seconds, found.settings.trials, found.seed) == ("random", 5400, 7, 4)
    assert (found.fixed, combinations(found.space)) == (("seed=4",), 2)
    usual = search_space(["model=mlp_128,cnn"]).settings
    assert (usual.sampler, usual.most_trials, usual.objective) == ("tpe", 50, "gap")
    assert SearchConfig(time="10m").most_trials is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=range(5)"], "a seed is never searched over"),
        (["dataset.seed=1,2"], "a seed is never searched over.* give one value of dataset.seed"),
        (["regime.validation.seed=interval(0,9)"], "a seed is never searched over"),
        (["dataset.test_seed=1,2"], "a seed is never searched over"),
        (["model.dropout=0.1"], "nothing to search over"),
        (["tracking.uri=a,b"], "tracking cannot be swept"),
        (["threads=1,2"], "threads: cannot be swept"),
        (["model.dropout=interval(0.5,0.1)"], "START below END"),
        (["model.l2=tag(log,interval(0,1))"], "log needs numbers above zero"),
        (["model.width=interval(3.1,3.9)"], "no whole number"),
        (["model=tag(log,choice(mlp_128,cnn))"], "log is for numbers"),
        (["model=mlp_128,cnn", "search.trails=3"], "Did you mean 'trials'"),
        (["model=mlp_128,cnn", "search.time=soon"], "must be a time"),
        (["model=mlp_128,cnn", "search.seeds=1,2"], "one value"),
        (["model=mlp_128,cnn", "search.objective=test"], "must be one of gap, accuracy, loss, pareto"),
        (["model=mlp_128,cnn", "search=best"], "must be one of cmaes, grid"),
        (["model=mlp_128,cnn", "search.confirm=1"], "at least two runs"),
        (["model=mlp_128,cnn", "search.trials=0"], "search.trials=0: must be at least 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search_space(words)
