"""References to the user's code: found, checked before it is imported, imported as it is now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, RequestError
from harness.user_code import (
    allow,
    check_options,
    find_source,
    parse,
    remember,
    source_digest,
    source_files,
    trust,
)
from harness.user_code import load as load_allowed

Write = Callable[..., Path]


def load(reference: str, *arguments: Any) -> Any:
    """Of a user who has named the reference."""
    allow([reference])
    return load_allowed(reference, *arguments)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into the directory of the command."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "text",
    ["build", "my_models.build", "my-models:build", "a:b:c", "a:", ":b", "a..b:c", "lambda x: x", "f.pkl", "a:if"],
)
def test_what_is_no_reference_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Write package.module:function"):
        parse(text)


def test_a_function_of_a_notebook_cell_is_refused_with_advice() -> None:
    with pytest.raises(ConfigError, match=r"%%writefile my_models.py"):
        parse("__main__:build")


def test_a_module_is_imported_from_the_directory_of_the_command_and_no_other_module_there(write: Write) -> None:
    write("nets_a.py", "from parts_a import twice\n\ndef build(n, *, depth=2):\n    return twice(n) * depth\n")
    write("parts_a.py", "def twice(n):\n    return 2 * n\n")
    write("unasked_a.py", "")
    assert load("nets_a:build", {"depth": 3}, ["n"])(5, depth=3) == 30
    with pytest.raises(ModuleNotFoundError):
        __import__("unasked_a")


def test_packages_with_and_without_an_init_file_and_relative_imports(write: Write) -> None:
    write(
        "lab_b/nets.py",
        "from . import blocks as b\nfrom .more.deep import x\nbuild = lambda: 0\ndef make():\n    return b.one + x\n",
    )
    write("lab_b/blocks.py", "one = 1\n")
    write("lab_b/more/__init__.py", "")
    write("lab_b/more/deep.py", "x = 7\n")
    assert load("lab_b.nets:make")() == 8
    files = source_files("lab_b.nets:make")
    assert sorted(files) == ["lab_b/blocks.py", "lab_b/more/__init__.py", "lab_b/more/deep.py", "lab_b/nets.py"]
    with pytest.raises(ConfigError, match="is a lambda"):
        load("lab_b.nets:build")


def test_the_digest_follows_every_module_that_is_imported_and_no_other(write: Write) -> None:
    write("nets_c.py", "def build():\n    import parts_c\n    return parts_c.x\n")
    write("parts_c.py", "x = 1\n")
    before = source_digest("nets_c:build")
    assert load("nets_c:build")() == 1
    write("beside_c.py", "x = 1\n")
    assert source_digest("nets_c:build") == before
    write("parts_c.py", "x = 2\n")
    assert source_digest("nets_c:build") != before
    assert load("nets_c:build")() == 2, "the source as it is now, although within the same second"


def test_installed_packages_count_by_name_and_version(write: Write) -> None:
    write("nets_d.py", "import click, numpy, json\nimport yaml.nodes\ndef build():\n    pass\n")
    assert find_source("nets_d:build").packages == (f"PyYAML=={version('PyYAML')}", f"click=={version('click')}")
    assert source_files("click.utils:echo") == {}


@pytest.mark.parametrize("name", ["random", "click", "json"])
def test_a_file_with_the_name_of_another_module_is_refused(write: Write, name: str) -> None:
    write(f"{name}.py", "raise SystemExit\n")
    write("nets_e.py", f"import {name}\ndef build():\n    pass\n")
    for reference in (f"{name}:build", "nets_e:build"):
        with pytest.raises(ConfigError, match=rf"{name}.py has the name of"):
            load(reference)


SIGNATURES = """
import functools, keras_is_not_imported_for_this
def build(input_shape, classes, *, depth=2, width=64): ...
def needs(input_shape, classes, depth, *, width): ...
def anything(input_shape, classes, **more): ...
def one(input_shape): ...
class Made:
    def __init__(self, input_shape, classes, depth=1): ...
"""


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("build", {"dept": 3}, "model.options.dept=3: nets_f:build has no option dept. Its options are depth, width"),
        ("build", {"classes": 3}, "has no option classes"),
        ("needs", {"width": 3}, "needs model.options.depth, which"),
        ("one", {}, r"is called with \(input_shape, classes\)"),
        ("Made", {"width": 3}, "has no option width"),
        ("built", {}, "nets_f.py has no function built. .* Did you mean 'build'"),
    ],
)  # fmt: skip
def test_options_are_checked_without_importing(write: Write, name: str, options: dict[str, int], said: str) -> None:
    write("nets_f.py", SIGNATURES)
    with pytest.raises(ConfigError, match=said):
        check_options(f"nets_f:{name}", options, ["input_shape", "classes"], "model.options")


@pytest.mark.parametrize(("name", "options"), [("build", {"depth": 3}), ("anything", {"x": 1}), ("Made", {"depth": 2})])
def test_options_that_fit(write: Write, name: str, options: dict[str, int]) -> None:
    write("nets_f.py", SIGNATURES)
    check_options(f"nets_f:{name}", options, ["input_shape", "classes"])


def test_what_the_source_does_not_say_is_checked_after_the_import(write: Write) -> None:
    write("parts_g.py", "def build(shape, *, depth=1):\n    pass\n")
    write("nets_g.py", "from functools import partial\nfrom parts_g import build\nmade = partial(build, depth=2)\n")
    for name in ("build", "made"):
        check_options(f"nets_g:{name}", {"width": 1}, ["shape"])
        with pytest.raises(ConfigError, match="has no option width"):
            load(f"nets_g:{name}", {"width": 1}, ["shape"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_h\ndef build(): ...\n", r"No module named 'nowhere_h' \(nets_h.py, line 1\)"),
        ("x = 1 / 0\ndef build(): ...\n", r"ZeroDivisionError: division by zero \(nets_h.py, line 1\)"),
        ("def build(:\n", "nets_h.py, line 1: this is no Python"),
        ("build = 3\n", "has no function build"),
    ],
)
def test_a_module_that_does_not_work_is_one_message(write: Write, text: str, said: str) -> None:
    write("nets_h.py", text)
    with pytest.raises(ConfigError, match=said):
        load("nets_h:build")


def test_a_module_that_is_nowhere(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"there is no module nowhere_i in"):
        load("nowhere_i:build")
    with pytest.raises(ConfigError, match=r"there is no module click.nowhere"):
        source_digest("click.nowhere:build")


def test_a_file_that_another_user_may_have_put_there_is_not_imported(write: Write, tmp_path: Path) -> None:
    file = write("nets_j.py", "def build(): ...\n")
    (tmp_path / "real.py").write_text("raise SystemExit\n")
    file.unlink()
    file.symlink_to(tmp_path / "real.py")
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="is not imported: everybody may write"):
        load("nets_j:build")


def test_a_reference_that_nobody_named_is_imported_only_where_the_user_trained_with_this_source(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "_allowed", set())
    write("nets_k.py", "from parts_k import x\ndef build(): return x\ndef other(): ...\n")
    write("parts_k.py", "x = 1\n")
    with pytest.raises(RequestError, match="--import nets_k:build"):
        load_allowed("nets_k:build")
    assert "nets_k" not in sys.modules
    remember(["nets_k:build"])
    assert load_allowed("nets_k:build")() == 1
    with pytest.raises(RequestError, match="--import nets_k:other"):
        load_allowed("nets_k:other")
    write("parts_k.py", "raise SystemExit\n")
    with pytest.raises(RequestError, match="not trained with this code as it is now"):
        load_allowed("nets_k:build")
