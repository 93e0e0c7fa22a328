"""A text setting keeps the characters that were typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from harness.composing import as_written, check_sweep, compose_config, expand_sweep
from harness.composing.words import TEXTS, quoted
from harness.errors import ConfigError

LIKE_NUMBERS = [
    "1.10", "2e1354", "007", "1e5", "0x10", "1_000", "+5", "-3", ".5", "nan", "inf", "true", "False", "yes", "no",
    "2026-11-27", "12:30:00", "1.10.0", "00", "1.10 b",
]  # fmt: skip


def test_text_settings_are_those_without_choices() -> None:
    assert {
        "dataset.name", "dataset.directory", "dataset.file", "dataset.loader", "model.augmentation", "model.builder",
        "model.name", "regime.continue_from", "tracking.uri", "tracking.experiment", "tracking.run_name",
        "tracking.parent_run",
    } == TEXTS  # fmt: skip


@pytest.mark.parametrize("text", [*LIKE_NUMBERS, "dd (v2)", "a [b", "{x", "x=1.10", "a: b"])
def test_a_text_arrives_as_it_was_written(text: str) -> None:
    assert compose_config([f"tracking.experiment={text}"]).tracking.experiment == text
    assert compose_config([f"++model.name={text}"]).model.name == text


@pytest.mark.parametrize("text", ['"1.10"', "'1.10'", '"dd (v2), e"', "'it\\'s'", "a\\(b"])
def test_quotes_and_escapes_mean_the_same_as_in_hydra(text: str) -> None:
    assert as_written([f"model.name={text}"]) == [f"model.name={text}"]


def test_settings_with_a_type_and_null_are_read_as_hydra_reads_them() -> None:
    config = compose_config(["optimizer.learning_rate=1e-2", "seed=1_000", "tracking.run_name=null", "resume=False"])
    assert (config.optimizer.learning_rate, config.seed, config.tracking.run_name) == (0.01, 1000, None)
    assert config.resume == "false"


def test_quoting_twice_changes_nothing_more() -> None:
    words = [f"regime.continue_from={text}" for text in [*LIKE_NUMBERS, "dd (v2)", "1.10 , 2e5", "choice(1.10, 2e5)"]]
    assert as_written(as_written(words)) == as_written(words)


@pytest.mark.parametrize("values", ["1.10,2e1354, 007 ,true", "choice(1.10, 2e1354, 007, true)"])
@pytest.mark.parametrize("form", ["regime.continue_from={}", "hydra.sweeper.params={{regime.continue_from:'{}'}}"])
def test_each_value_of_a_sweep_keeps_its_characters(values: str, form: str) -> None:
    configs = check_sweep(expand_sweep([form.format(values)]))
    assert [config.regime.continue_from for config in configs] == ["1.10", "2e1354", "007", "true"]


@pytest.mark.parametrize("text", ["dd (v2), e", "it's (x)", 'say "x" (y)', "a (b) \\", "null", "1.10"])
def test_the_override_that_a_message_proposes_works(text: str) -> None:
    (word,) = shlex.split(quoted("tracking.experiment", text))
    assert compose_config([word]).tracking.experiment == text


def test_an_ambiguous_text_is_refused_with_what_to_type() -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config(["dataset.directory=dd (v2), e"])
    assert str(refused.value).endswith("""'dataset.directory="dd (v2), e"'""")
    with pytest.raises(ConfigError) as refused:
        compose_config(["dataset.directory=dd, e"])
    assert str(refused.value).endswith("""'dataset.directory="dd, e"'""")
    with pytest.raises(ConfigError, match=r"""'tracking.experiment="null"'"""):
        compose_config(["tracking.experiment=null"])


def test_relative_paths_start_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = compose_config(["dataset.directory=dd", "regime.continue_from=~/old.keras"])
    assert config.dataset.directory == str(tmp_path / "dd")
    assert config.regime.continue_from == str(tmp_path / "home" / "old.keras")
    assert compose_config(["regime.continue_from=latest"]).regime.continue_from == "latest"
    found = check_sweep(expand_sweep(["dataset.directory=a,b", "seed=0,1"]))
    assert {config.dataset.directory for config in found} == {str(tmp_path / "a"), str(tmp_path / "b")}


def test_options_of_the_users_own_need_no_plus_and_a_builder_chooses_its_group() -> None:
    words = ["model.builder=my_models:build", "model.options.depth=3", "+model.options.width=1.10"]
    expected = ["model=custom", words[0], "++model.options.depth=3", "++model.options.width=1.10"]
    assert as_written(words) == as_written(expected) == expected
    assert as_written(["model=mine", words[0]])[0] == "model=mine"
    assert as_written(["model.builder=null"]) == ["model.builder=null"]
