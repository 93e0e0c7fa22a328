"""A recorded configuration is data, of a sane size; files that only a record names are not read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness import paths
from harness.cli import main
from harness.composing import recorded_config
from harness.config.schema import Config
from harness.errors import HarnessError, RequestError
from harness.run.load import load_recorded, read_class_names, read_config, read_words
from harness.run.reproduce import find_recorded
from harness.tracking.models import find_trained
from harness.tracking.store import open_store
from tests.security.stranger import Stranger, settings


def read(stranger: Stranger) -> Config:
    store = open_store(stranger.uri)
    return read_config(store, find_trained(store, stranger.run))


COMPUTED = (
    "${oc.env:SECRET}", "${oc.env:HOME,x}", "${hydra:runtime.cwd}", "${seed}", "${now:%Y}", "a ${oc.decode:1} b",
    "\\\\${oc.env:SECRET}",
)  # fmt: skip


@pytest.mark.parametrize("value", COMPUTED)
def test_nothing_in_a_recorded_configuration_is_computed(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "the user's secret")
    places = [{"model": {"name": value}}, {"tracking": {"run_name": value}}, {"model": {"hidden": [8, value]}},
              {"dataset": {"directory": value}}, {"figures": value}, {value: 1}, {"hydra": {"job": value}}]  # fmt: skip
    for given in places:
        with pytest.raises(RequestError, match="would have to be computed") as caught:
            recorded_config(yaml.safe_dump(given))
        assert "the user's secret" not in str(caught.value)


@pytest.mark.parametrize("words", [("reproduce", "RUN"), ("predict", "RUN"), ("export", "RUN", "out")])
def test_no_command_computes_one(
    words: tuple[str, ...], stranger: Stranger, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger.configure("model: {name: '${oc.env:SECRET}'}")
    assert main([stranger.run if word == "RUN" else word for word in words] + ["--store", stranger.uri]) == 2
    said = capsys.readouterr()
    assert "would have to be computed (model.name)" in said.err
    assert "the user's secret" not in said.err + said.out


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.system ['touch ran']",
        "seed: !!python/name:os.system ''",
        "!!python/object/new:subprocess.Popen [['touch', 'ran']]",
        "seed: !env SECRET",
        "model: {_target_: os.system, command: touch ran}",
        "model: &m {name: a}\nother: *m",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nseed: [*c,*c,*c]",
        "seed: " + "[" * 20_000,
        "seed: " + "9" * 5_000,
        "- a list",
        "just words",
        "",
        "seed: [1",
        "x: \x07",
        "hydra: {job: {env_set: {LD_PRELOAD: x}}}\nmodel: {_target_: x}",
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_plain_configuration_is_refused_without_being_quoted(text: str, stranger: Stranger) -> None:
    stranger.configure(text)
    with pytest.raises(RequestError) as caught:
        read(stranger)
    assert not Path("ran").exists()
    assert len(str(caught.value)) < 500
    assert "touch" not in str(caught.value)


@pytest.mark.parametrize("name", ["config/config.yaml", "config/overrides.yaml"])
@pytest.mark.parametrize("kind", ["fifo", "huge", "socket folder"])
def test_only_regular_files_of_a_sane_size_are_read(name: str, kind: str, stranger: Stranger) -> None:
    file = stranger.artifacts / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "huge":
        with file.open("wb") as stream:
            stream.truncate(100_000_000)
    else:
        file.mkdir()
    store, began = open_store(stranger.uri), time.monotonic()
    record = find_trained(store, stranger.run)
    with pytest.raises(HarnessError) as caught:
        (read_words if "overrides" in name else read_config)(store, record)
    assert time.monotonic() - began < 5
    assert file.name in str(caught.value)


@pytest.mark.parametrize(
    "text", ["flavors: &a [*a]", "a: &a {metadata: {class_names: [x]}}\nmetadata: *a", "[" * 9_999]
)
def test_the_description_of_a_model_is_plain_data(text: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(RequestError, match="not plain YAML"):
        read_class_names(tmp_path, Config())


def test_values_that_look_like_code_stay_what_they_are() -> None:
    given = settings("model.name=os.system", "tracking.run_name='$HOME `id` {x}'")
    config = recorded_config(yaml.safe_dump(given))
    assert (config.model.name, config.tracking.run_name) == ("os.system", "$HOME `id` {x}")


@pytest.mark.parametrize("suffix", [".keras", ".npz"])
@pytest.mark.parametrize("recorded", ["configuration", "parameter"])
def test_a_file_that_a_record_goes_on_from_is_read_only_where_it_is_named_again(
    suffix: str, recorded: str, stranger: Stranger, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = private / f"mine{suffix}"
    file.write_bytes(b"private")
    if recorded == "configuration":
        stranger.configure(yaml.safe_dump(settings(f"regime.continue_from={file}")))
    else:
        stranger.add_parameter("continued.from", str(file))
    file.chmod(0)
    before = file.stat()
    assert main(["reproduce", stranger.run, "--store", stranger.uri]) == 2
    assert "name it too: harness reproduce" in capsys.readouterr().err
    assert file.stat().st_atime_ns == before.st_atime_ns


def test_files_that_are_named_again_take_the_place_of_the_recorded_ones(
    stranger: Stranger, private: Path, subset: Path
) -> None:
    stranger.configure(yaml.safe_dump(settings(f"regime.continue_from={private}/theirs.npz")))
    (private / "mine.npz").touch()
    named = {"regime.continue_from": str(private / "mine.npz"), "dataset.directory": str(subset)}
    stranger.execute("DELETE FROM params WHERE key LIKE 'data.%'")
    with pytest.raises(RequestError, match=r"does not say which training images"):
        find_recorded(open_store(stranger.uri), stranger.run, named)


@pytest.mark.parametrize("word", ["seed=1", "dataset.directory=", "regime.continue_from", "tracking.uri=x"])
def test_nothing_else_can_be_named(word: str, stranger: Stranger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", stranger.run, word, "--store", stranger.uri]) == 2
    assert "Only regime.continue_from=FILE and dataset.directory=DIR" in capsys.readouterr().err


def test_images_of_a_folder_that_a_record_names_are_used_only_by_their_recorded_digest(
    stranger: Stranger, subset: Path
) -> None:
    stranger.configure(yaml.safe_dump(settings(f"dataset.directory={subset}")))
    store = open_store(stranger.uri)
    with pytest.raises(RequestError, match="no digest"):
        load_recorded(find_trained(store, stranger.run), read(stranger))
    for split in ("train", "val", "test"):
        stranger.add_parameter(f"data.{split}_digest", "0" * 8)
    with pytest.raises(RequestError, match="are not those that the run"):
        load_recorded(find_trained(store, stranger.run), read(stranger))


def test_a_run_cannot_name_a_checkpoint_elsewhere(project: Path) -> None:
    for name in ("../private", "/tmp/private", "a/b", "", "..", "../" * 9 + "etc/x"):
        assert paths.checkpoint_file(name).resolve().parent == project / "checkpoints"
    assert paths.checkpoint_file("0a1b").name == "0a1b.npz"


def test_a_list_of_sums_is_not_quoted(private: Path) -> None:
    (private / "SHA256SUMS").write_text("root:x:private\n")
    np.save(private / "x.npy", np.zeros(1))
    config = recorded_config(yaml.safe_dump(settings(f"dataset.directory={private}")))
    from harness.data import load_splits

    with pytest.raises(HarnessError) as caught:
        load_splits(config.dataset, config.regime.validation)
    assert "root:x" not in str(caught.value)
