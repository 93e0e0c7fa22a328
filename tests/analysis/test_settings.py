from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.settings import (
    Distinction,
    deciding,
    distinguish,
    headings,
    is_setting,
    setting_of,
    settings_digest,
    swept_settings,
)
from harness.config.schema import ADDED_LATER, Config, flatten


def split(*rows: dict[str, object], swept: tuple[str, ...] = ()) -> Distinction:
    keys = tuple(rows[0])
    return distinguish(keys, [tuple(str(row[key]) for key in keys) for row in rows], swept)


SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.01, "optimizer.momentum": 0.0, "optimizer.beta_1": None}
ADAM = {"optimizer.name": "adam", "optimizer.learning_rate": 0.001, "optimizer.momentum": None, "optimizer.beta_1": 0.9}


def test_options_that_follow_from_the_optimizer_are_not_shown() -> None:
    found = split(SGD, ADAM)
    assert found.shown == ("optimizer.name",)
    assert found.follows == dict.fromkeys(
        ("optimizer.learning_rate", "optimizer.momentum", "optimizer.beta_1"), "optimizer.name"
    )


def test_a_learning_rate_that_varies_within_one_optimizer_is_shown() -> None:
    found = split(SGD, ADAM, {**ADAM, "optimizer.learning_rate": 0.1})
    assert found.shown == ("optimizer.name", "optimizer.learning_rate")


def test_a_setting_swept_on_purpose_is_shown_even_where_it_follows() -> None:
    assert "optimizer.learning_rate" in split(SGD, ADAM, swept=("optimizer.learning_rate",)).shown


def test_constant_settings_are_named_once() -> None:
    found = split(
        {"seedless": 1, "regime.epochs": 5, "model.name": "a"}, {"seedless": 1, "regime.epochs": 5, "model.name": "b"}
    )
    assert found.constant == {"regime.epochs": "5", "seedless": "1"}
    assert found.shown == ("model.name",)


def test_a_dependency_between_groups_confounds_and_is_shown() -> None:
    found = split(*({"model.name": model, "regime.epochs": epochs} for model, epochs in (("a", 5), ("b", 5), ("c", 9))))
    assert found.shown == ("model.name", "regime.epochs")


LENGTHS = [
    {"dataset.train_size": 100, "regime.epochs": 8, "regime.batch_size": 50},
    {"dataset.train_size": 200, "regime.epochs": 4, "regime.batch_size": 50},
    {"dataset.train_size": 351, "regime.epochs": 2, "regime.batch_size": 50},
]


def test_epochs_that_give_every_size_as_many_steps_follow_from_the_size() -> None:
    found = split(*LENGTHS)
    assert (found.shown, found.follows) == (("dataset.train_size",), {"regime.epochs": "dataset.train_size"})


def test_epochs_by_which_sizes_differ_in_steps_are_shown() -> None:
    longer = {**LENGTHS[2], "regime.epochs": 3}
    assert split(*LENGTHS[:2], longer).shown == ("dataset.train_size", "regime.epochs")
    everything = {**LENGTHS[2], "dataset.train_size": None}
    assert split(*LENGTHS[:2], everything).shown == ("dataset.train_size", "regime.epochs")


def test_epochs_are_shown_where_batches_differ_too() -> None:
    larger = {**LENGTHS[1], "regime.epochs": 8, "regime.batch_size": 100}
    assert set(split(*LENGTHS, larger).shown) == {"dataset.train_size", "regime.epochs", "regime.batch_size"}


def test_epochs_that_were_swept_are_shown_whatever_the_steps() -> None:
    assert "regime.epochs" in split(*LENGTHS, swept=("regime.epochs",)).shown


def test_a_random_search_shows_every_setting_that_it_drew() -> None:
    draws = ((0.1, 0.0), (0.02, 0.9), (0.3, 0.5))
    found = split(*({"optimizer.learning_rate": rate, "optimizer.momentum": momentum} for rate, momentum in draws))
    assert found.shown == ("optimizer.learning_rate", "optimizer.momentum")


def test_what_a_regime_brings_with_it_is_shown_once_where_it_recurs() -> None:
    regimes = (
        {"regime.early_stopping.enabled": False, "regime.early_stopping.patience": 3, "regime.epochs": 5},
        {"regime.early_stopping.enabled": True, "regime.early_stopping.patience": 5, "regime.epochs": 50},
    )
    found = split(*({"model.name": model, **regime} for model, regime in itertools.product("ab", regimes)))
    assert found.shown == ("model.name", "regime.early_stopping.enabled")


def test_model_optimizer_and_dataset_come_first_then_what_was_swept() -> None:
    keys = ("dataset.name", "model.name", "optimizer.name", "regime.batch_size", "regime.epochs")
    rows = itertools.product("12", repeat=5)
    found = distinguish(keys, list(rows), swept=("regime.batch_size",))
    assert found.shown == ("model.name", "optimizer.name", "dataset.name", "regime.batch_size", "regime.epochs")


KEYS = (
    "model.name",
    "model.dropout",
    "optimizer.name",
    "optimizer.learning_rate",
    "regime.epochs",
    "regime.batch_size",
)


@given(st.sets(st.tuples(*[st.sampled_from("xyz")] * len(KEYS)), min_size=1, max_size=12))
def test_the_settings_shown_always_tell_the_configurations_apart(configurations: set[tuple[str, ...]]) -> None:
    rows = sorted(configurations)
    found = distinguish(KEYS, rows)
    places = [KEYS.index(key) for key in found.shown]
    assert len({tuple(row[place] for place in places) for row in rows}) == len(rows)
    assert sorted([*found.shown, *found.constant, *found.follows]) == sorted(KEYS)


def test_where_a_run_is_recorded_is_no_setting() -> None:
    assert not any(
        map(is_setting, ("seed", "tracking.experiment", "figures", "palette", "threads", "dataset.directory"))
    )
    assert all(map(is_setting, ("dataset.seed", "engine", "regime.validation.seed")))


def test_a_run_of_an_earlier_version_counts_as_one_with_later_settings_at_their_defaults() -> None:
    now = {key: str(value) for key, value in flatten(Config()).items()}
    before = {key: value for key, value in now.items() if key not in ADDED_LATER}
    assert len(before) == len(now) - len(ADDED_LATER)
    assert deciding(before) == deciding(now)
    assert settings_digest(before) == settings_digest(now)
    assert {key: setting_of(before, key) for key in now} == now
    for key in ADDED_LATER:
        assert (deciding(now | {key: "3"}) != deciding(now)) == is_setting(key)  # the place of the data is none


def test_the_choice_of_a_group_counts_as_its_name() -> None:
    known = ("model.name", "regime.epochs", "seed")
    assert swept_settings(["model", "+regime.epochs", "seed", "debug", "model"], known) == (
        "model.name",
        "regime.epochs",
    )


def test_headings_are_short_and_never_the_same() -> None:
    keys = ("model.name", "regime.schedule.name", "regime.early_stopping.patience", "regime.schedule.patience")
    assert list(headings(keys).values()) == [
        "model", "schedule", "early_stopping.patience", "schedule.patience",
    ]  # fmt: skip
    nested = ("a.x.rate", "b.x.rate", "b.y.rate", "rate")
    assert list(headings(nested).values()) == ["a.x.rate", "b.x.rate", "y.rate", "rate"]


def test_what_decides_the_images_is_never_hidden_behind_a_setting_that_happens_to_vary_with_it() -> None:
    """Two sweeps with two models each, of which the second has other epochs and other validation images."""
    sweeps = (
        {"regime.validation.seed": 0, "regime.epochs": 2, "dataset.train_size": 500, "dataset.test_size": 100},
        {"regime.validation.seed": 7, "regime.epochs": 3, "dataset.train_size": None, "dataset.test_size": None},
    )
    found = split(*({"model.name": model, **sweep} for model, sweep in itertools.product("ab", sweeps)))
    assert set(found.shown) == {"model.name", *sweeps[0]}


def test_headings_say_of_which_seed_and_size_they_speak() -> None:
    keys = ("dataset.seed", "regime.validation.seed", "regime.validation.size", "data.variant")
    assert list(headings(keys).values()) == ["dataset.seed", "validation.seed", "validation.size", "data"]
