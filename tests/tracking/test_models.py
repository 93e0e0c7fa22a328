"""Which trained run somebody means, and its model and artifacts as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import RequestError, StoreError, UnknownRun
from harness.records import RunRecord
from harness.tracking.models import best_run, downloaded, find_trained, model_folder, run_artifact
from harness.tracking.reading import read_runs, resolve_run
from harness.tracking.store import open_store
from tests.tracking.servers import mlflow_server
from tests.tracking.stores import new_client, new_study, record, record_model, record_sweep, scores

MINUTE = 60_000
START = 1_700_000_000_000


@dataclass(frozen=True)
class Store:
    uri: str
    client: MlflowClient
    ids: dict[str, str]

    def found(self, text: str) -> str:
        """The name of the run that `text` means."""
        run = find_trained(open_store(self.uri), text)
        assert self.ids[run.name] == run.run_id
        return run.name


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Runs of two experiments, the newer of which was used last; `shop` is registered, and the name of a run too."""
    folder = tmp_path_factory.mktemp("store")
    uri, client = new_client(folder)
    old, study = new_study(client, folder, "old"), new_study(client, folder)
    ids = {
        "older": record(client, old, "older", started=START, metrics=scores(0.99, 0.99)),
        "first": record(client, study, "first", started=START + MINUTE, metrics=scores(0.9, 0.85, val=0.7)),
        "second": record(client, study, "second", started=START + 2 * MINUTE, metrics=scores(0.9, 0.8, val=0.75)),
        "digits": record(
            client, study, "digits", started=START + 3 * MINUTE, metrics=scores(1, 0.98, val=0.99),
            settings={"dataset.name": "mnist"},
        ),
        "boots": record(client, study, "boots", started=START + 4 * MINUTE, metrics=scores(0.9, 0.7, val=0.72)),
        "broken": record(
            client, study, "broken", started=START + 5 * MINUTE, metrics=scores(1, 1, val=1), state="FAILED"
        ),
        "sweep": record_sweep(client, study, "sweep", started=START + 6 * MINUTE, swept=["seed"]),
    }  # fmt: skip
    for name in ("first", "second"):
        model_id = record_model(client, ids[name], {"MLmodel": name, "data/model.keras": f"weights of {name}"})
        ids[f"{name}'s model"] = model_id
    for name in ("shop", "boots", "it's"):
        client.create_registered_model(name)
    for name in ("first", "second"):
        client.create_model_version("shop", "file:///nowhere", run_id=ids[name])
    client.set_registered_model_alias("shop", "champion", "1")
    client.create_model_version("boots", "file:///nowhere", run_id=ids["second"])
    client.create_model_version("it's", "file:///nowhere", run_id=ids["first"])
    return Store(uri, client, ids)


def test_latest_is_the_last_that_finished_in_the_experiment_used_last(store: Store) -> None:
    assert store.found("latest") == "boots"


def test_best_is_scored_by_validation_among_runs_of_the_same_data(store: Store) -> None:
    assert store.found("best") == "second"


def test_best_is_scored_by_test_images_where_one_run_has_no_validation(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    record(client, study, "validated", started=START, metrics=scores(0.9, 0.8, val=0.99))
    record(client, study, "better", started=START + MINUTE, metrics=scores(0.9, 0.9))
    record(client, study, "empty", started=START + 2 * MINUTE)
    assert best_run(open_store(uri)).name == "better"


def test_best_is_the_best_of_those_that_were_scored_on_the_same_images(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")

    def trained(name: str, test: float, digests: tuple[str, str], started: int, val: float | None = None) -> None:
        parameters = dict(zip(("data.val_digest", "data.test_digest"), digests, strict=True))
        record(
            client, study, name, started=started, metrics=scores(0.9, test, val=val),
            settings={"data.train_digest": name, **parameters},
        )  # fmt: skip

    trained("on a hundred images", 0.97, ("None", "few"), START)
    trained("good", 0.88, ("None", "all"), START + 1)
    trained("last", 0.87, ("None", "all"), START + 2)
    assert best_run(open_store(uri)).name == "good"
    trained("validated", 0.5, ("v", "few"), START + 3, val=0.99)
    assert best_run(open_store(uri)).name == "on a hundred images", "one of them has no validation split"


def test_best_by_validation_is_the_best_on_the_same_validation_images(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    for number, (name, val, digest) in enumerate((("other", 0.9, "w"), ("good", 0.8, "v"), ("last", 0.7, "v"))):
        settings = {"data.train_digest": name, "data.val_digest": digest, "data.test_digest": "t"}
        record(client, study, name, started=START + number, metrics=scores(0.9, 0.8, val=val), settings=settings)
    assert best_run(open_store(uri)).name == "good"


def test_a_store_in_which_nothing_has_finished_has_neither_latest_nor_best(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    record(client, client.create_experiment("study"), "broken", started=START, state="FAILED")
    for word in ("latest", "best"):
        with pytest.raises(RequestError, match=r"no finished runs yet\. Make one with `harness train`"):
            find_trained(open_store(uri), word)


def test_a_run_is_found_by_its_id_the_beginning_of_it_and_its_name(store: Store) -> None:
    identity = store.ids["first"]
    for text in (identity, identity[:10], "first", f"runs:/{identity}", "broken"):
        assert store.found(text) == ("broken" if text == "broken" else "first")


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("shop", "second"), ("shop/1", "first"), ("shop/2", "second"), ("shop/latest", "second"),
        ("shop@champion", "first"), ("models:/shop/1", "first"), ("models:/shop@champion", "first"),
        ("models:/shop/latest", "second"), ("models:/shop", "second"), ("it's", "first"),
    ],
)  # fmt: skip
def test_a_registered_model_stands_for_the_run_that_it_comes_from(store: Store, text: str, run: str) -> None:
    assert store.found(text) == run


def test_a_logged_model_stands_for_the_run_that_it_comes_from(store: Store) -> None:
    model_id = store.ids["first's model"]
    assert store.found(f"models:/{model_id}") == "first"


def test_a_run_wins_over_a_registered_model_of_its_name(store: Store) -> None:
    assert store.found("boots") == "boots"
    assert store.found("models:/boots") == "second"
    assert store.found("boots/1") == "second"


def test_runs_that_share_a_name_win_too_and_are_listed(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    twins = [record(client, study, "twin", started=START + number) for number in range(2)]
    client.create_registered_model("twin")
    client.create_model_version("twin", "file:///nowhere", run_id=twins[0])
    with pytest.raises(RequestError, match="'twin' means 2 runs") as caught:
        find_trained(open_store(uri), "twin")
    assert all(twin in str(caught.value) for twin in twins)
    assert "registered" not in str(caught.value)


@pytest.mark.parametrize("text", ["nothing", "shop/3", "shop@nobody", "nothing/1", "a@b@c", "a/b/c", "%"])
def test_what_is_neither_run_nor_model_is_said_to_be_neither(store: Store, text: str) -> None:
    with pytest.raises(RequestError, match="No registered model is called so either") as caught:
        find_trained(open_store(store.uri), text)
    assert f"'{text}'" in str(caught.value)


@pytest.mark.parametrize("text", ["models:/nothing", "models:/shop/3", "models:/shop@nobody", f"models:/m-{'0' * 32}"])
def test_a_model_that_is_not_there_is_named(store: Store, text: str) -> None:
    with pytest.raises(RequestError, match=f"has no model '{text}'"):
        find_trained(open_store(store.uri), text)


def test_a_near_miss_of_a_run_is_suggested(store: Store) -> None:
    with pytest.raises(RequestError, match="Did you mean 'second'"):
        find_trained(open_store(store.uri), "secnd")
    with pytest.raises(UnknownRun):
        resolve_run(open_store(store.uri), "secnd")


def test_a_sweep_has_no_model_and_names_the_way_to_its_runs(store: Store) -> None:
    with pytest.raises(RequestError, match=rf"is a sweep.*harness compare {store.ids['sweep'][:8]}"):
        find_trained(open_store(store.uri), "sweep")


def test_a_model_whose_run_was_deleted_is_not_said_to_be_missing(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    run_id = record(client, client.create_experiment("study"), "gone", started=START)
    client.create_registered_model("shop")
    client.create_model_version("shop", "file:///nowhere", run_id=run_id)
    client.create_model_version("shop", "file:///nowhere")
    client.delete_run(run_id)
    with pytest.raises(RequestError, match=rf"comes from the run {run_id}.*mlflow runs restore --run-id {run_id}"):
        find_trained(open_store(uri), "shop/1")
    with pytest.raises(RequestError, match="names no run that it comes from"):
        find_trained(open_store(uri), "shop/2")


def test_a_store_that_cannot_be_reached_is_not_a_model_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9 cannot be used"):
        find_trained(open_store("http://127.0.0.1:9"), "models:/shop/1")


def opened(store: Store, name: str) -> RunRecord:
    (run,) = read_runs(open_store(store.uri), run_ids=[store.ids[name]])
    return run


def test_the_folder_of_a_local_model_is_the_stores_own(store: Store) -> None:
    with model_folder(open_store(store.uri), opened(store, "first")) as folder:
        assert (folder / "data" / "model.keras").read_text() == "weights of first"
    assert folder.is_dir(), "nothing was copied, so nothing is taken away"


def test_of_several_models_the_one_logged_last_counts(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    run_id = record(client, new_study(client, tmp_path), "a run", started=START)
    for text in ("early", "late"):
        record_model(client, run_id, {"MLmodel": text})
    (run,) = read_runs(open_store(uri))
    with model_folder(open_store(uri), run) as folder:
        assert (folder / "MLmodel").read_text() == "late"


def test_a_run_without_a_model_says_what_keeps_one(store: Store) -> None:
    with (
        pytest.raises(RequestError, match=r"boots .*FINISHED\) has no model.*tracking\.log_model=true"),
        model_folder(open_store(store.uri), opened(store, "boots")),
    ):
        pass


def test_an_artifact_is_a_local_file_and_a_missing_one_is_named(store: Store) -> None:
    store.client.log_text(store.ids["first"], "name: first\n", "config/config.yaml")
    with run_artifact(open_store(store.uri), opened(store, "first"), "config/config.yaml") as file:
        assert file.read_text() == "name: first\n"
    for name in ("config/other.yaml", "nothing.txt"):
        with (
            pytest.raises(RequestError, match=f"has no artifact {name}: was it made by the harness"),
            run_artifact(open_store(store.uri), opened(store, "first"), name),
        ):
            pass


def test_a_path_with_odd_characters_is_found_from_its_uri(tmp_path: Path) -> None:
    file = tmp_path / "mlruns" / "100 % real#.txt"
    file.parent.mkdir()
    file.write_text("here")
    for location in (file.as_uri(), str(file)):
        with downloaded(open_store(f"sqlite:///{tmp_path}/mlflow.db"), location) as found:
            assert found.read_text() == "here"


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A server with artifacts of its own, that has one run with a model, registered as `shop`."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        client = MlflowClient(uri)
        run_id = record(client, client.create_experiment("study"), "remote", started=START)
        client.log_text(run_id, "name: remote\n", "config/config.yaml")
        record_model(client, run_id, {"MLmodel": "", "data/model.keras": "weights from afar"})
        client.create_registered_model("shop")
        client.create_model_version("shop", f"runs:/{run_id}/model", run_id=run_id)
        client.set_registered_model_alias("shop", "champion", "1")
        yield Store(uri, client, {"remote": run_id})


@pytest.mark.slow
def test_a_servers_runs_and_models_are_found_in_every_way(served: Store) -> None:
    texts = ("latest", "best", "remote", served.ids["remote"][:8], "shop", "shop/1", "shop/latest", "shop@champion")
    for text in (*texts, "models:/shop/1"):
        assert served.found(text) == "remote"
    for text in ("nothing", "shop/3", "shop@nobody"):
        with pytest.raises(RequestError, match="No registered model is called so either"):
            find_trained(open_store(served.uri), text)


@pytest.mark.slow
def test_what_a_server_keeps_is_downloaded_for_the_length_of_the_block(served: Store) -> None:
    run = opened(served, "remote")
    with (
        model_folder(open_store(served.uri), run) as folder,
        run_artifact(open_store(served.uri), run, "config/config.yaml") as file,
    ):
        assert (folder / "data" / "model.keras").read_text() == "weights from afar"
        assert file.read_text() == "name: remote\n"
    assert not folder.exists()
    assert not file.exists()
