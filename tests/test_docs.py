"""The documents say what is so: settings, commands, links, floors and metrics, held to the code."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import yaml

from harness import metrics
from harness.cli import COMMANDS
from harness.composing import CONFIG_NAME, check_sweep, compose_config, expand_sweep
from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import Config, flatten
from harness.records import DatasetSpec, History, Split, Splits, Stages
from harness.run.evaluate import evaluate
from harness.run.log import data_counts
from harness.sweeps.search.request import compose_search
from tests.conftest import REPOSITORY

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "mlruns" / "README.md",
    REPOSITORY / "experiments" / "README.md",
    REPOSITORY / "docs" / "studies" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
REPORTS = [
    file
    for file in sorted((REPOSITORY / "docs" / "studies").glob("*.md"))
    if file.name not in ("README.md", "ranking.md", "foretelling.md")
]
"""Written by `harness report`."""
CONFIGURATION = REPOSITORY / "docs" / "configuration.md"
STUDIES = REPOSITORY / "docs" / "studies" / "README.md"
IMAGE_BYTES = 250_000


def named(value: object) -> str:
    return str(value.relative_to(REPOSITORY)) if isinstance(value, Path) else str(value)


def rows(document: Path, heading: str) -> dict[str, list[str]]:
    """The tables below `heading`: the other cells of each row by its first one."""
    section = re.split(r"^## ", document.read_text(), flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(f"{heading}\n")]
    lines = [line.strip("|\n ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip("`"): cells[1:] for cells in lines if "---" not in cells[0]}


def code_lines(document: Path) -> list[str]:
    """The commands in a document's code blocks, without prompts and comments."""
    blocks = re.findall(r"^```\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.*)", document.read_text(), flags=re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()] + indented


def commands(program: str) -> list[list[str]]:
    """Every command line of `program` that a document shows to be copied (what follows a prompt shows a refusal)."""
    found = []
    for document in DOCUMENTS:
        for line in code_lines(document):
            if line.startswith(f"{program} "):
                words = shlex.split(line, comments=True)
                found += [words[1:]] if words[1:] not in found else []
    return found


def default_of(key: str, value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
    return f"`{text.replace(' ', '').strip(chr(39))}`"


def test_every_setting_has_a_row_with_its_default() -> None:
    documented = rows(CONFIGURATION, "Every setting")
    options = rows(CONFIGURATION, "Options of optimizers")
    for key, value in flatten(compose_config()).items():
        if key in options:
            continue
        assert documented[key][0] == default_of(key, value), key
    assert set(flatten(Config())) == (set(documented) | set(options)) - {"setting"}


def test_every_choice_of_a_setting_is_in_its_row() -> None:
    documented = rows(CONFIGURATION, "Every setting")
    for key, choices in _choices(Config()):
        allowed = documented[key][1].removesuffix("; or `null`")
        assert allowed == ", ".join(f"`{choice}`" for choice in choices), key


def _choices(node: object, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    assert dataclasses.is_dataclass(node)
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if dataclasses.is_dataclass(value):
            yield from _choices(value, f"{prefix}{item.name}.")
        elif item.metadata.get("choices"):
            yield f"{prefix}{item.name}", item.metadata["choices"]


@pytest.mark.parametrize(("document", "target"), [(CONFIGURATION, "options"), (STUDIES, "studies")])
def test_a_table_that_is_made_by_cog_is_up_to_date(document: Path, target: str) -> None:
    cog = [sys.executable, "-m", "cogapp", "--check", "--diff", str(document)]
    path = os.pathsep.join([str(REPOSITORY / "docs"), str(REPOSITORY)])
    done = subprocess.run(cog, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`make {target}` writes it again: {done.stdout}{done.stderr}"


def test_documented_groups_and_options_are_those_of_conf() -> None:
    groups = _first_table(CONFIGURATION)
    assert set(OPTIMIZERS) == set(re.findall(r"`([a-z0-9_]+)`", groups.pop("optimizer")))
    folders = [REPOSITORY / "experiments", *(item for item in (REPOSITORY / "conf").iterdir() if item.is_dir())]
    for folder in folders:
        if folder.name != "hydra":
            options = {file.stem for file in folder.glob("*.yaml")}
            assert options == set(re.findall(r"`([a-z0-9_]+)`", groups.pop(folder.name))), folder.name
    assert set(groups) == {"group"}


def _first_table(document: Path) -> dict[str, str]:
    head = document.read_text().partition("\n## ")[0]
    lines = [line.strip("|\n ").split(" | ") for line in head.splitlines() if line.startswith("|")]
    return {cells[0].strip("`"): cells[1] for cells in lines if "---" not in cells[0]}


@pytest.fixture
def own_options(project: Path) -> Path:
    """`--config-dir` as the documents write it, filled with the files that they show."""
    folder = project / "own"
    for document, file in (("configuration.md", "model/wide.yaml"), ("sweeping.md", "experiments/dropout.yaml")):
        text = (REPOSITORY / "docs" / document).read_text()
        [block] = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block)
    for block in re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs" / "models.md").read_text(), re.M | re.S):
        Path(block.partition("\n")[0].removeprefix("# ")).write_text(block)  # in the working directory
    return folder


@pytest.mark.parametrize("words", commands("harness"), ids=" ".join)
def test_a_shown_command_is_accepted(words: list[str], own_options: Path) -> None:
    name, *arguments = words
    assert name in COMMANDS
    if name not in ("train", "sweep", "search"):
        command = importlib.import_module(COMMANDS[name][0]).command
        if isinstance(command, click.Group):
            name, *arguments = arguments
            command = command.commands[name]
        command.make_context(name, arguments)  # parses, runs nothing
        return
    directory = None
    if "--config-dir" in arguments:
        place = arguments.index("--config-dir")
        del arguments[place : place + 2]
        directory = str(own_options)
    overrides = [item for item in arguments if "=" in item]
    if name == "train":
        compose_config(overrides, config_dir=directory)
    elif name == "search":
        compose_search(overrides, CONFIG_NAME, directory)
    else:
        jobs = expand_sweep(overrides, config_dir=directory)
        assert len(jobs.jobs) > 1
        check_sweep(jobs, config_dir=directory)


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_a_shown_make_target_is_in_the_makefile(words: list[str]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("document", [*DOCUMENTS, *REPORTS], ids=named)
def test_links_have_a_target(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            file = document.parent / path if path else document
            assert file.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.+)", file.read_text(), flags=re.MULTILINE)
                assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


OLD_WORDS = re.compile(r"\b(go(es|ne|ing)? on|brought home|held to|by hand|at work|crew|foreign|judge[sd]?|anew)\b")
"""Words that made readers stumble; CONTRIBUTING.md says which ones stand for them."""


@pytest.mark.parametrize(
    "document", [item for item in DOCUMENTS if item.name not in ("CHANGELOG.md", "CONTRIBUTING.md")], ids=named
)
def test_a_page_has_no_old_words(document: Path) -> None:
    assert not [line for line in document.read_text().splitlines() if OLD_WORDS.search(line)]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"train", "sweep"}))
def test_a_help_text_has_no_old_words(name: str) -> None:
    command = importlib.import_module(COMMANDS[name][0]).command
    every = [*command.commands.values()] if isinstance(command, click.Group) else [command]
    assert not [one.name for one in every if OLD_WORDS.search(one.get_help(click.Context(one)))]


def test_a_decision_is_a_short_paragraph() -> None:
    paragraphs = (REPOSITORY / "docs" / "decisions.md").read_text().split("\n\n")
    decisions = [paragraph for paragraph in paragraphs if paragraph.startswith("**")]
    assert len(decisions) > 20
    assert not [decision for decision in decisions if len(decision.split()) > 80]


def test_pictures_are_shown_and_small() -> None:
    shown = {
        (document.parent / target).resolve()
        for document in [*DOCUMENTS, *REPORTS]
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", document.read_text())
    }
    docs = REPOSITORY / "docs"
    stored = {file.resolve() for file in [*(docs / "images").iterdir(), *(docs / "studies").glob("*/*")]}
    assert shown == stored
    assert all(file.stat().st_size <= IMAGE_BYTES for file in stored)


@pytest.mark.parametrize("report", REPORTS, ids=named)
def test_a_report_is_of_a_study_and_says_how_to_run_it_again(report: Path) -> None:
    study = (REPOSITORY / "experiments" / f"{report.stem}.yaml").read_text()
    [question] = re.findall(r"# Question: +(.+)", study)
    text = report.read_text()
    assert question in text
    assert f"\nharness sweep experiments={report.stem}\n" in text


def test_every_report_is_of_a_study_and_has_a_paragraph() -> None:
    asked = {file.stem for file in (REPOSITORY / "experiments").glob("*.yaml") if "make studies" in file.read_text()}
    text = (REPOSITORY / "docs" / "studies" / "README.md").read_text()
    reported = {report.stem for report in REPORTS}
    assert reported <= asked
    assert set(re.findall(r"^\*\*.*\]\((\w+)\.md\)", text, flags=re.MULTILINE)) == reported


def test_the_map_gives_each_module_its_floor_in_lint() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["id"] == "floors"]
    ranks = {name: rank for rank, layer in enumerate(reversed(layers)) for name in re.findall(r"\w+", layer)}
    text = (REPOSITORY / "docs" / "structure.md").read_text()
    floors = {
        name: int(floor)
        for floor, cell in re.findall(r"^\| (\d) \| ([^|]+) \|", text, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)(?:\.py|/)`", cell)
    }
    modules = {item.stem for item in (REPOSITORY / "harness").iterdir() if item.suffix == ".py" or item.is_dir()}
    assert set(floors) == modules - {"__init__", "__pycache__"}
    assert set(floors) == set(ranks)
    for one, other in itertools.combinations(floors, 2):
        if floors[one] != floors[other]:
            assert (floors[one] < floors[other]) == (ranks[one] < ranks[other]), (one, other)
        else:
            assert ranks[one] == ranks[other] or {one, other} == {"cli", "__main__"}, (one, other)


def test_every_metric_of_a_run_is_described() -> None:
    described = set()
    for cell in rows(REPOSITORY / "docs" / "tracking.md", "Metrics").items():
        for pattern in re.findall(r"[a-z0-9]+/[a-z_{},]+", " ".join([cell[0], *cell[1]])):
            described |= set(_expanded(pattern))
    series = [f"{split}/{kind}" for split in ("fit", "train", "val") for kind in ("loss", "accuracy")]
    falling = [1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04]
    rising = [1.0, 0.5, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]
    history = History({name: rising if name == "val/loss" else falling for name in series})
    split = Split(np.zeros((40, 28, 28), np.uint8), np.zeros(40, np.uint8))
    judged = evaluate(lambda images: np.log(np.full((len(images), 2), 0.5)), split, ("a", "b"))
    final = {"train": judged, "val": judged, "test": judged}
    scalars = metrics.summarize(history, Stages(final, final, final))
    spec = DatasetSpec("made", (28, 28), ("a", "b"), {})
    counts = data_counts(Splits(spec, split, split, split))
    assert "overfit/onset_epoch" in scalars
    assert {*series, *scalars, *counts} <= described


def _expanded(pattern: str) -> Iterator[str]:
    """`a/{b,c}_{d,e}` as the shell would write it out."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ("".join(choice) for choice in itertools.product(*parts))


def test_the_map_names_every_module_of_the_large_packages() -> None:
    text = (REPOSITORY / "docs" / "structure.md").read_text()
    packages = ("sweep", "run", "tracking", "analysis", "report", "composing", "config")
    named = {name for package in packages for name in (REPOSITORY / "harness" / package).glob("[a-z]*.py")}
    assert not [str(name) for name in named if f"`{name.name}`" not in text and not name.name.endswith("_tables.py")]
