"""Which runs can be continued: none that was trained on images that are held out now."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.analysis.settings import settings_digest
from harness.composing import compose_config
from harness.config.schema import DatasetConfig
from harness.data import load_dataset
from harness.errors import RequestError
from harness.records import Split
from harness.run.warm_start import check_start, find_start, with_variant
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.conftest import REPOSITORY
from tests.tracking.stores import new_client
from tests.trained_runs import train
from tests.variants import forget_data, joined, part, write_variant

pytestmark = pytest.mark.slow  # runs are really trained

SMALL = ("model.hidden=[8]", "tracking.log_model=false", "engine=keras")
LAST_100 = ("regime.validation.strategy=random", "regime.validation.size=100", "regime.validation.seed=3")
FIRST_100 = ("regime.validation.strategy=first", "regime.validation.size=100")


@dataclass(frozen=True)
class Study:
    """Folders of 400 training and 100 test images, and a store with runs on some of them, by name.

    `other_test` has the training images of `plain` and other test images; `leaking` has test images that are among
    them; the training images of `second` are others, and `first_again` tests on those of `plain`.
    """

    uri: str
    folder: Path

    def data(self, name: str) -> str:
        return f"dataset.directory={self.folder / name}"

    def check(self, source: str, data: str, *overrides: str) -> None:
        settings = (f"tracking.uri='{self.uri}'", self.data(data), f"regime.continue_from={source}")
        check_start(open_store(self.uri), compose_config((*settings, "regime.epochs=1", *SMALL, *overrides)))

    def refusal(self, source: str, data: str, *overrides: str) -> str:
        with pytest.raises(RequestError) as refused:
            self.check(source, data, *overrides)
        return str(refused.value)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    uri, _ = new_client(folder)
    whole = load_dataset(DatasetConfig(directory=str(REPOSITORY / "tests" / "data")))
    first, second = part(whole.train, 0, 400), part(whole.train, 400, 800)
    test, unseen = part(whole.test, 0, 100), part(whole.test, 100, 200)
    write_variant(folder / "plain", first, test)
    write_variant(folder / "other_test", first, unseen)
    write_variant(folder / "leaking", second, joined(part(test, 0, 93), part(first, 0, 7)))
    write_variant(folder / "second", second, test)
    write_variant(folder / "third", part(whole.train, 200, 600), test)
    write_variant(folder / "gone", first, test)
    found = Study(uri, folder)

    def run(name: str, data: str, *overrides: str) -> None:
        train(uri, name, found.data(data), *SMALL, *overrides)

    run("all", "plain")
    run("validated", "plain", *FIRST_100)
    run("fifty", "plain", "dataset.train_size=50", *LAST_100)
    run("noisy", "plain", "dataset.label_noise=0.5")
    run("then second", "second", "regime.continue_from=all")
    run("second's own", "second")
    run("of a folder", "gone")
    return found


@pytest.mark.parametrize(
    ("source", "data", "overrides"),
    [
        ("all", "plain", ()),
        ("all", "plain", ("dataset.test_size=10",)),
        ("all", "other_test", ()),
        ("all", "second", ()),
        ("all", "second", FIRST_100),
        ("validated", "plain", FIRST_100),
        ("validated", "plain", ()),
        ("validated", "plain", ("regime.validation.strategy=first", "regime.validation.size=30")),
        ("validated", "plain", ("dataset.label_noise=0.2", *FIRST_100)),
        ("validated", "leaking", ("regime.validation.strategy=stratified", "regime.validation.size=20")),
        ("fifty", "plain", LAST_100),
        ("noisy", "plain", ()),
        ("then second", "second", ()),
        ("then second", "plain", ()),
    ],
)
def test_a_run_is_continued_where_what_is_held_out_is_new_to_it(
    study: Study, source: str, data: str, overrides: tuple[str, ...]
) -> None:
    study.check(f"'{source}'", data, *overrides)


@pytest.mark.parametrize(
    ("source", "data", "overrides", "told"),
    [
        ("all", "plain", FIRST_100, "all (ID) was trained on images that are held out here: 100 for validation."),
        ("all", "plain", LAST_100, "100 for validation"),
        ("all", "leaking", (), "all (ID) was trained on images that are held out here: 7 for testing."),
        ("noisy", "leaking", (), "noisy (ID) was trained on images that are held out here: 7 for testing."),
        ("all", "other_test", FIRST_100, "100 for validation"),
        ("validated", "plain", ("regime.validation.strategy=first", "regime.validation.size=130"), "30 for validation"),
        ("then second", "leaking", (), "all (ID), from which that run was continued, was trained on images that are"),
        ("then second", "second", FIRST_100, "then second (ID) was trained on images"),
        ("then second", "plain", FIRST_100, "all (ID), from which that run was continued, was tr"),
    ],
)
def test_a_run_that_was_trained_on_what_is_held_out_is_refused(
    study: Study, source: str, data: str, overrides: tuple[str, ...], told: str
) -> None:
    """Whatever the settings: images of another folder, or of a run that it was continued from, count too."""
    message = study.refusal(f"'{source}'", data, *overrides)
    assert message.startswith(f"regime.continue_from={source}: ")
    assert told in re.sub(r"\([0-9a-f]{32}\)", "(ID)", message)
    assert "Hold out the images that it held out (dataset.name=fashion_mnist dataset.directory=" in message


def test_where_the_images_of_a_run_are_gone_only_what_it_held_out_itself_is_known_to_be_new(
    study: Study, tmp_path: Path
) -> None:
    study.check("'of a folder'", "gone", "dataset.test_size=50")
    moved = tmp_path / "moved"
    shutil.copytree(study.folder / "gone", moved)
    (study.folder / "gone").rename(tmp_path / "aside")
    forget_data()
    try:
        study.check("'of a folder'", str(moved))
        assert "100 for validation" in study.refusal("'of a folder'", str(moved), *FIRST_100), "the same files, moved"
        message = study.refusal("'of a folder'", "leaking")
        assert f"was trained on are not to be found in {study.folder / 'gone'} any more" in message
        write_variant(study.folder / "gone", *_images(moved, 0, 300))
        forget_data()
        assert "any more" in study.refusal("'of a folder'", "leaking"), "other files are there now"
    finally:
        shutil.rmtree(study.folder / "gone", ignore_errors=True)
        (tmp_path / "aside").rename(study.folder / "gone")
        forget_data()


def test_a_run_whose_own_start_was_deleted_is_continued_where_it_held_out_the_same_images(study: Study) -> None:
    client = MlflowClient(study.uri)
    (first,) = (run for run in read_runs(open_store(study.uri)) if run.name == "all")
    client.delete_run(first.run_id)
    try:
        study.check("'then second'", "second")
        assert f"was continued from the run {first.run_id}, which is not" in study.refusal("'then second'", "leaking")
    finally:
        client.restore_run(first.run_id)


def test_the_same_run_earlier_is_one_that_was_trained_on_the_same_images(study: Study) -> None:
    study.check("same:1", "plain")
    study.check("same:1", "other_test")
    study.check("same:1", "plain", *FIRST_100)
    for data, overrides in (("third", ()), ("plain", ("dataset.label_noise=0.1",)), ("plain", LAST_100)):
        assert "no finished run of these settings with 1 epochs" in study.refusal("same:1", data, *overrides)
    (again,) = (run for run in read_runs(open_store(study.uri)) if run.name == "second's own")
    settings = (f"tracking.uri='{study.uri}'", study.data("second"), "regime.continue_from=same:1", *SMALL)
    start = find_start(open_store(study.uri), compose_config(settings))
    assert start.parameters["continued.from"] == f"runs:/{again.run_id}", "not one of the same settings on other images"


def test_a_run_of_a_sweep_keeps_its_state_only_where_that_was_asked_for(study: Study) -> None:
    client, made = MlflowClient(study.uri), {}
    for name, parent, asked in (
        ("in a sweep", "a" * 32, ()),
        ("asked for", "a" * 32, ("tracking.log_state=true",)),
        ("alone, without", None, ("tracking.log_state=false",)),
    ):
        given = (study.data("plain"), *SMALL, "dataset.train_size=60", *asked)
        made[name] = train(study.uri, name, *given, parent=parent)
    assert [len(client.list_artifacts(run_id, "training")) for run_id in made.values()] == [0, 1, 0]
    study.check("'asked for'", "plain")
    study.check("same:1", "plain", "dataset.train_size=60")  # takes the one of three that can be continued
    refused = study.refusal("'in a sweep'", "plain")
    assert "by default a run of a sweep keeps none" in refused
    assert "tracking.log_state=true resume=false" in refused
    assert f"harness export {made['in a sweep'][:8]} --format keras" in refused
    assert "resume=false" not in study.refusal("'alone, without'", "plain")


def test_what_was_continued_is_known_by_its_images_too(study: Study) -> None:
    """Runs of the same settings on other files are no repetitions of each other, nor is what continues them."""
    runs = {run.name: run for run in read_runs(open_store(study.uri))}
    digests = {name: settings_digest(with_variant(runs[name])) for name in ("all", "of a folder", "second's own")}
    assert digests["all"] == digests["of a folder"] != digests["second's own"]
    earlier = replace(runs["all"], parameters=without(runs["all"].parameters, "data.variant"))
    assert settings_digest(with_variant(earlier)) == digests["all"], "a run of an earlier version"


def without(parameters: Mapping[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name != key}


def _images(folder: Path, start: int, stop: int) -> tuple[Split, Split]:
    dataset = load_dataset(DatasetConfig(directory=str(folder)))
    return part(dataset.train, start, stop), dataset.test
