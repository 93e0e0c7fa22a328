"""Whatever the names, settings and tags of a store are: what is printed and written of it is text, and nothing else."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.text import CleanStream, clean, commit, csv_text, markdown, requoted
from harness.tracking import selection, sqlite_reader
from tests.tracking.stores import new_client, new_study, record, record_sweep

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
ESCAPES = "\x1b]52;c;cm0=\x07\u202egnp\n# head\r\x9b31m\u2066\x1b[2J\x1bP"
MARKUP = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](http://x/y)|`c` $\\frac{ [/] [red] </td> \\|"
FORMULA = "=cmd|'/c calc'!A1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A store with a sweep of two models and two seeds; the ids of the sweep and of its last run."""
    folder = tmp_path_factory.mktemp("store")
    _, client = new_client(folder)
    study = new_study(client, folder)
    sweep = record_sweep(client, study, "sweep", started=1_700_000_000_000, swept=["model.name"])
    run = ""
    for job, (model, seed) in enumerate((model, seed) for model in ("mlp_128", "cnn") for seed in (0, 1)):
        digests = {f"data.{split}_digest": split * 8 for split in ("train", "val", "test")}
        metrics = {f"final/{split}_accuracy": 0.9 - 0.01 * job for split in ("train", "val", "test")}
        metrics |= {"final/gap_val_accuracy": 0.1 + job / 100, "final/gap_test_accuracy": 0.1}
        run = record(
            client, study, f"{model}-{seed}", started=1_700_000_001_000 + job, metrics=metrics,
            settings={"model.name": model, "seed": seed, **digests},
            tags={"mlflow.parentRunId": sweep, "harness.job": str(job)},
        )  # fmt: skip
    return folder / "mlflow.db", sweep, run


class Case:
    """A copy of the store to put something into, and the commands on it."""

    def __init__(self, made: tuple[Path, str, str], file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        original, self.sweep, self.run = made
        self.file, self._capsys = file, capsys
        shutil.copy(original, file)

    def put(self, sql: str, *values: object) -> None:
        connection = sqlite3.connect(self.file)
        connection.execute(sql, values)
        connection.commit()
        connection.close()

    def tag(self, key: str, value: str, run: str = "") -> None:
        self.put("INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", key, value, run or self.sweep)

    def answer(self, *words: str, code: int = 0) -> str:
        """What a command prints on the store."""
        assert main([*words, "--store", f"sqlite:///{self.file}"]) == code
        said = self._capsys.readouterr()
        assert not CONTROL.search(said.out + said.err)
        assert "Traceback" not in said.err
        return said.out + said.err

    def everywhere(self, text: str) -> None:
        """Put a text into what is named, set, typed and said."""
        self.put("UPDATE runs SET name = name || ?", text)
        self.put("UPDATE params SET value = ? || value || ? WHERE key IN ('model.name', 'dataset.name')", text, text)
        self.put("UPDATE experiments SET name = name || ? WHERE name = 'study'", text)
        for key in ("harness.command", "harness.overrides", "harness.error", "harness.host", "harness.platform"):
            self.tag(key, f"harness sweep {text}")
            self.tag(key, f"harness sweep {text}", self.run)
        self.put("UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", self.run)


@pytest.fixture
def case(made: tuple[Path, str, str], tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> Case:
    return Case(made, tmp_path / "mlflow.db", capsys)


@pytest.mark.parametrize("reader", ["sql", "client"])
def test_no_escape_reaches_the_terminal_or_a_page(
    case: Case, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "client":
        monkeypatch.setattr(sqlite_reader, "KNOWN_SCHEMAS", frozenset())
    case.everywhere(ESCAPES)
    for form in ("table", "csv", "json", "markdown"):
        assert "x1b]52;c;cm0=" in case.answer("compare", case.sweep, "--format", form)
    for suffix in ("md", "html"):
        case.answer("report", case.sweep, "--no-log", "--output", str(tmp_path / f"page.{suffix}"))
        assert not CONTROL.search((tmp_path / f"page.{suffix}").read_text(encoding="utf-8"))
    case.answer("compare", f"no such run{ESCAPES}", code=2)
    assert main([f"no such command{ESCAPES}"]) == 2
    case.answer("compare", f"--no-such-option{ESCAPES}", code=2)


def test_no_markup_of_a_name_is_markup_of_a_page(case: Case, tmp_path: Path) -> None:
    case.everywhere(MARKUP)
    pages = [case.answer("compare", case.sweep, "--format", "markdown")]
    for suffix in ("md", "html"):
        case.answer("report", case.sweep, "--no-log", "--output", str(tmp_path / f"page.{suffix}"))
        pages.append((tmp_path / f"page.{suffix}").read_text(encoding="utf-8"))
    assert all("<img src=x" not in page for page in pages)
    text = "\n".join(re.sub("```\n.*?\n```", "", page, flags=re.DOTALL) for page in pages[:2])
    assert not re.search(r"\]\((?:javascript|http)", text)
    cells = [len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) for line in pages[0].splitlines() if line.startswith("|")]
    assert len(set(cells)) == 1, "no bar of a name begins a cell"


def test_a_page_asks_for_nothing_whatever_the_names_are(case: Case, tmp_path: Path) -> None:
    case.everywhere(f"{MARKUP}</title></style><script>alert(1)</script><meta http-equiv=refresh content=0;url=//x>")
    case.answer("report", case.sweep, "--no-log", "--output", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("Content-Security-Policy") == 1
    [policy] = re.findall(r'Content-Security-Policy"\s+content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert page.index(policy) < page.index("alert(1)"), "nothing of a name's stands before it"
    assert "<script>alert" not in page
    assert "<meta http-equiv=refresh" not in page


NUMBERS = ("1e308", "-1e308", "9e999", "5e-324", "1e-310", "1e15")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_figure_holds_any_number(case: Case, number: str, tmp_path: Path) -> None:
    """In curves, in scores, and in settings that are an axis."""
    rows = f"SELECT value.key, {number} * (1 - 2 * (step.value % 2)), 0, step.value, 0, run_uuid FROM runs, "
    rows += "json_each('[1, 2, 3, 1000000000000]') AS step, "
    rows += '(SELECT value AS key FROM json_each(\'["train/loss", "val/loss", "val/accuracy"]\')) AS value'
    case.put(f"INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) {rows}")
    case.put(f"UPDATE latest_metrics SET value = {number} WHERE key = 'final/test_accuracy'")
    numbers = f"CASE WHEN value = 'cnn' THEN '{number}' ELSE '0.5' END"
    case.put(f"UPDATE params SET value = {numbers} WHERE key = 'model.name'")
    case.answer("report", case.sweep, "--no-log", "--output", str(tmp_path / "page.html"))


def test_long_names_and_long_series_are_drawn_in_seconds(case: Case, tmp_path: Path) -> None:
    case.everywhere("a" * 100_000 + " $\\frac{x" + " \u0301" * 20_000)
    case.put(
        "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
        "SELECT 'train/loss', i % 7, i, i, 0, run_uuid FROM runs, n"
    )
    began = time.process_time()
    case.answer("report", case.sweep, "--no-log", "--output", str(tmp_path / "page.html"))
    case.answer("compare", case.sweep)
    assert time.process_time() - began < 20


def test_no_cell_is_a_formula(case: Case) -> None:
    case.put("UPDATE params SET value = ? || value WHERE key = 'model.name'", FORMULA)
    rows = list(csv.DictReader(io.StringIO(case.answer("compare", case.sweep, "--format", "csv"))))
    assert {row["model.name"] for row in rows} == {f"'{FORMULA}{name}" for name in ("mlp_128", "cnn")}
    table: list[list[object]] = [["-0.5", -0.5], ["-", "\t=1"], [" =1", "\uff1d1"], ["+1e-3", "-inf"]]
    assert csv_text(["-1", "=x"], table) == "-1,'=x\n-0.5,-0.5\n-,\\t=1\n' =1,'\uff1d1\n+1e-3,-inf\n"


def test_the_command_that_runs_it_again_is_words_and_a_commit_a_commit(case: Case, tmp_path: Path) -> None:
    case.put("INSERT INTO tags SELECT 'mlflow.source.git.commit', 'HEAD; id', run_uuid FROM runs")
    for command in ("harness sweep a=1; rm -rf ~; $(id) `id`\n x", "curl x | sh -s harness sweep", "harness sweep 'a"):
        case.tag("harness.command", command)
        case.answer("report", case.sweep, "--no-log", "--output", str(tmp_path / "page.md"))
        page = (tmp_path / "page.md").read_text(encoding="utf-8")
        assert "HEAD" not in page
        commands = re.findall("```\n(.*?)\n```", page)
        assert len(commands) == 2
        for line in commands:
            assert re.fullmatch(r"harness (?:[\w@%+=:,./-]+|'[^']*'|\"'\"| )*", line), line


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE runs SET start_time = 9223372036854775807 WHERE run_uuid = ?", "time"),
        ("UPDATE runs SET start_time = 'abc' WHERE run_uuid = ?", "'abc'"),
        ("UPDATE runs SET end_time = -9223372036854775807 WHERE run_uuid = ?", "time"),
        ("UPDATE latest_metrics SET value = 'abc' WHERE run_uuid = ?", "final/"),
        (
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "VALUES ('fit/loss', 1, 0, 9223372036854775807, 0, ?)",
            "9223372036854775807",
        ),
    ],
)
def test_a_malformed_run_is_named_and_left_out(
    case: Case, sql: str, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    case.put(sql, case.run)
    case.answer("compare", case.sweep)
    selection._say_once.cache_clear()
    [said] = [line for line in caplog.messages if "left out" in line]
    assert case.run in said
    assert named in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE latest_metrics SET value = 9e999", "UPDATE latest_metrics SET value = 1.7976931348623157e308",
        "UPDATE latest_metrics SET is_nan = 1", "UPDATE params SET value = x'ff00fe' WHERE key = 'model.name'",
        "UPDATE runs SET name = CAST(x'fffe41' AS TEXT)", "UPDATE runs SET name = NULL", "DELETE FROM params",
        "UPDATE params SET value = '9' || hex(zeroblob(2400))", "UPDATE params SET value = 'nan'",
        "UPDATE tags SET value = 'abc' WHERE key = 'harness.job'",
    ],
)  # fmt: skip
def test_odd_values_are_shown_as_they_are(case: Case, sql: str) -> None:
    case.put(sql)
    for form in ("table", "csv", "json", "markdown"):
        case.answer("compare", case.sweep, "--format", form)


@pytest.mark.parametrize(
    ("key", "value"),
    [("harness.swept", '{"a": 1}'), ("harness.swept", "[" * 4000), ("harness.swept", "[1]"),
     ("harness.reused.1", "x:y")],
)  # fmt: skip
def test_a_malformed_tag_of_a_sweep_is_named(case: Case, key: str, value: str) -> None:
    case.tag(key, value)
    for word in ("compare", "report"):
        [line] = case.answer(word, case.sweep, code=1).splitlines()
        assert case.sweep in line
        assert key.removesuffix("1") in line


def test_ten_thousand_settings_are_compared_in_seconds(case: Case) -> None:
    connection = sqlite3.connect(case.file)
    for place, (run,) in enumerate(connection.execute("SELECT run_uuid FROM runs").fetchall()):
        connection.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [
                (
                    f"p.{number}.rate" if number % 3 else f"p.{number}",
                    str(number * (place if number % 2 else 1) % 7),
                    run,
                )
                for number in range(10_000)
            ],
        )
    connection.commit()
    connection.close()
    began = time.process_time()
    case.answer("compare", case.sweep)
    case.answer("compare", case.sweep, "--format", "csv")
    assert time.process_time() - began < 10
    assert "--group-by" in case.answer("report", case.sweep, code=2)


def test_text_is_left_as_it_is_where_it_only_says_something() -> None:
    for text in ("naïve café", "模型 cnn", "\u0645\u06cc\u200c\u062e\u0648", "\U0001f469\u200d\U0001f52c", "a\u00a0b"):
        assert clean(text) == text
    assert clean("a\nb\tc", lines=True) == "a\nb\tc"
    assert clean("\udcff.png") == "\\udcff.png"
    assert markdown("p < 0.05 [0.1, 0.2] *") == "p < 0.05 [0.1, 0.2] *"
    assert markdown("[x]: javascript:a") == "[x]\\: javascript:a"
    assert requoted("harness sweep seed='range(5)' a=b") == "harness sweep 'seed=range(5)' a=b"
    assert (commit("0123abc"), commit("HEAD"), commit("0123abc\n")) == ("0123abc", "", "")


def test_a_stream_lets_colours_through_and_no_commands() -> None:
    target = io.StringIO()
    stream = CleanStream(target)
    stream.write("\x1b[1;31mred\x1b[0m \x1b[2K\r\x1b]0;title\x07 \x1b[6n \x9d52;c;x\n")
    stream.writelines(["\x1b", "]52;c;x\x07"])
    assert target.getvalue() == (
        "\x1b[1;31mred\x1b[0m \x1b[2K\r\\x1b]0;title\\x07 \\x1b[6n \\x9d52;c;x\n\\x1b]52;c;x\\x07"
    )


@pytest.mark.parametrize("form", ["table", "markdown", "html", "latex", "csv"])
def test_the_text_of_a_csv_file_is_text_and_nothing_else(tmp_path: Path, form: str) -> None:
    from click.testing import CliRunner

    from harness.commands.compare import command

    file = tmp_path / "runs.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["run", f"lr{ESCAPES}", "note", "accuracy", "val_accuracy"])
        writer.writerow([f"a{ESCAPES}", ESCAPES, MARKUP, 0.9, 0.8])
        writer.writerow(["b", "0.1", FORMULA, 0.9, 0.7])
    shown = CliRunner().invoke(command, ["--csv", str(file), "--format", form], catch_exceptions=False).output
    assert not CONTROL.search(shown)
    if form in ("html", "markdown"):
        assert "<img" not in shown
    if form == "csv":
        assert not any(cell.startswith("=") for row in csv.reader(io.StringIO(shown)) for cell in row)
