"""A recorded `package.module:function` is a name that somebody else may have chosen: it is not imported for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.composing import compose_config
from harness.config.fingerprint import code_digests
from harness.config.schema import Config
from harness.run.code import DIGESTS, check_code
from harness.run.load import read_config
from harness.tracking.models import find_trained
from harness.tracking.store import open_store
from harness.user_code import allow, remember, trust
from tests.security.stranger import Stranger, settings
from tests.user_code import user_directory

EVIL = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
def build(input_shape, classes): ...
"""
REFERENCE = "evil:build"
ASKING = [
    ("predict", "RUN"), ("inspect", "RUN", "--weights"), ("export", "RUN", "out", "--format", "saved_model"),
    ("reproduce", "RUN"), ("figures", "RUN", "predictions"),
]  # fmt: skip
READING = [("compare",), ("compare", "--format", "json"), ("list",), ("inspect", "RUN", "--format", "json")]


@pytest.fixture
def code(stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stranger's run with a model of their own, and in the working directory a module of this name."""
    monkeypatch.setattr(trust, "_allowed", set())
    folder = tmp_path / "here"
    folder.mkdir()
    with user_directory(folder, evil=EVIL):
        stranger.configure(yaml.safe_dump(settings(f"model.builder={REFERENCE}")))
        stranger.execute("UPDATE params SET value = 'custom' WHERE key = 'model.architecture'")
        stranger.execute("UPDATE params SET value = ? WHERE key = 'model.builder'", REFERENCE)
        yield folder


def words(command: tuple[str, ...], stranger: Stranger) -> list[str]:
    return [*(stranger.run if word == "RUN" else word for word in command), "--store", stranger.uri]


@pytest.mark.slow
@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_a_command_that_wants_the_code_says_which_and_does_not_import_it(
    command: tuple[str, ...], code: Path, stranger: Stranger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(command, stranger)) == 2
    assert f"The run wants the code {REFERENCE}" in capsys.readouterr().err
    assert [file.name for file in code.iterdir()] == ["evil.py"]


@pytest.mark.parametrize("command", READING[:3], ids=" ".join)
def test_a_command_that_does_not_want_the_code_does_not_import_it(
    command: tuple[str, ...], code: Path, stranger: Stranger
) -> None:
    assert main(words(command, stranger)) == 0
    assert [file.name for file in code.iterdir()] == ["evil.py"]


@pytest.mark.slow
def test_it_is_imported_if_the_user_names_it(
    code: Path, stranger: Stranger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(("predict", "RUN"), stranger), "--import", "evil:other"]) == 2
    assert not (code / "ran").exists(), "another name of the module is not this one"
    main([*words(("predict", "RUN"), stranger), "--import", REFERENCE])
    assert (code / "ran").exists()
    assert "The run wants the code" not in capsys.readouterr().err.partition("evil:other")[2]


def test_a_configuration_that_was_typed_is_remembered_with_its_source_and_a_recorded_one_is_not(
    code: Path, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(stranger.uri)
    record = find_trained(store, stranger.run)
    config = read_config(store, record)
    for _ in range(2):
        with pytest.raises(Exception, match="The run wants the code"):
            check_code(store, record, config)
    remember([REFERENCE])
    with pytest.raises(Exception, match="has no artifact"):  # it may be imported; the digests are not recorded
        check_code(store, record, config)
    (code / "evil.py").write_text(f"{EVIL}\n# other\n")
    with pytest.raises(Exception, match="have not trained with this code as it is now"):
        check_code(store, record, config)


@pytest.mark.parametrize("digests", ["[]", "{", "[" * 5_000, '{"model.builder": {"files": 3}}', '{"model.builder": 0}'])
def test_digests_that_are_none_are_refused(digests: str, code: Path, stranger: Stranger) -> None:
    allow([REFERENCE])
    (stranger.artifacts / "code").mkdir()
    (stranger.artifacts / DIGESTS).write_text(digests)
    store = open_store(stranger.uri)
    record = find_trained(store, stranger.run)
    with pytest.raises(Exception, match="is none of the harness"):
        check_code(store, record, read_config(store, record))


def test_a_run_is_not_trained_again_with_another_source(code: Path, stranger: Stranger) -> None:
    config = compose_config([f"model.builder={REFERENCE}"])
    assert isinstance(config, Config)
    stranger.add_parameter("code.model.builder", code_digests(config)["code.model.builder"][:8])
    allow([REFERENCE])
    store = open_store(stranger.uri)
    check_code(store, find_trained(store, stranger.run), config)
    (stranger.artifacts / "code").mkdir()
    (stranger.artifacts / DIGESTS).write_text('{"model.builder": {"files": {"evil.py": "0"}, "packages": []}}')
    (code / "evil.py").write_text(f"{EVIL}\n# other\n")
    with pytest.raises(Exception, match=r"was trained with another source of evil:build: evil\.py differs"):
        check_code(store, find_trained(store, stranger.run), config)
    assert not (code / "ran").exists()
