from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from harness import data
from harness.commands.data import command
from harness.errors import DataError, RequestError


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, env={"COLUMNS": "200"})


def test_list_shows_both_datasets_and_their_state(project: Path) -> None:
    result = invoke("list")
    assert result.exit_code == 0
    for words in ("fashion_mnist", "mnist", "60,000 + 10,000", "not fetched"):
        assert words in result.output


def test_list_as_json_is_for_programs(project: Path, tmp_path: Path) -> None:
    rows = json.loads(invoke("list", "--format", "json").output)
    assert [row["name"] for row in rows] == ["fashion_mnist", "mnist"]
    assert rows[0]["classes"][9] == "Ankle boot"
    assert rows[1]["folder"] == str(tmp_path / "cache" / "datasets" / "mnist")


def test_list_reads_sizes_only(project: Path) -> None:
    folder = data.default_root() / "mnist"
    folder.mkdir(parents=True)
    for name, size in data.publication("mnist").bytes_by_file.items():
        with (folder / name).open("wb") as file:
            file.truncate(size)
    states = {row["name"]: row["state"] for row in json.loads(invoke("list", "--format", "json").output)}
    assert states == {"fashion_mnist": "not fetched", "mnist": "in the cache"}


@pytest.mark.parametrize("subcommand", ["fetch", "verify"])
def test_an_unknown_name_is_refused_before_any_work(project: Path, subcommand: str) -> None:
    error = invoke(subcommand, "mnist", "fashion-mnist").exception
    assert isinstance(error, RequestError)
    assert "The datasets are fashion_mnist, mnist. Did you mean 'fashion_mnist'?" in str(error)
    assert not data.default_root().exists()


def test_verify_tells_missing_files(project: Path) -> None:
    result = invoke("verify", "mnist")
    assert isinstance(result.exception, DataError)
    assert result.output.count("missing") >= 4
    assert "harness data fetch" in str(result.exception)


def test_verify_tells_a_damaged_file_from_sound_ones(subset: Path, tmp_path: Path) -> None:
    assert invoke("verify", "--directory", str(subset)).output.count("OK") == 8
    shutil.copytree(subset / "mnist", tmp_path / "mnist")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"scribble")
    result = invoke("verify", "mnist", "--directory", str(tmp_path))
    assert isinstance(result.exception, DataError)
    assert "train-labels-idx1-ubyte cannot be read" in str(result.exception)
    assert result.output.count("OK") == 3


def test_the_group_has_the_three_subcommands() -> None:
    assert isinstance(command, click.Group)
    assert sorted(command.commands) == ["fetch", "list", "verify"]


@pytest.mark.slow
def test_fetch_into_a_folder_makes_one_that_runs_can_use(project: Path, tmp_path: Path) -> None:
    result = invoke("fetch", "--directory", str(tmp_path / "carried"))
    assert result.exception is None, result.exception
    assert result.output.count("fetched from") == 2
    assert invoke("fetch", "--directory", str(tmp_path / "carried")).output.count("was there already") == 2
    assert invoke("verify", "--directory", str(tmp_path / "carried")).exit_code == 0
