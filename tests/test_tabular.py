"""Tables as text, LaTeX and HTML; `analysis/test_presenting.py` has the other forms."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from harness.tabular import Page, Table, json_text, text_table

ODD = (
    r"a_b & 50% #1 $x^2$ ~/{home}\dir", "[300, 100]", "* star", "-0.3 ± 0.1", "--effect x-1 -- y", 'a "q" <b> c|d',
    "&amp;<script>alert(1)</script>", "naïve β 日本 🙂 → † ‡ ▲ ▼ × …", "\\textbf{x} \\\\ [2pt]",
)  # fmt: skip
TITLE = "Rows & <b> 100 %"


def odd() -> Page:
    """A page with special characters of LaTeX and HTML in every text."""
    rows = [[text, other, "-1.5"] for text, other in zip(ODD, reversed(ODD), strict=True)]
    table = Table(TITLE, ["[row]", "*", "n_1"], rows, "ll", parted=(2,))
    return Page(["a_study: 3 %", *ODD], [table, table], [*ODD])


def read_latex(text: str) -> str:
    """The text that LaTeX would print."""
    named = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "char34": '"', "dots": "…"}
    marks = {r"$\pm$": "±", r"$\times$": "×", r"$^\dagger$": "†", r"$^\ddagger$": "‡", r"$\uparrow$": "▲",
             r"$\downarrow$": "▼", "$-$": "-", "$<$": "<", "$>$": ">", "$|$": "|", r"\kern0pt{}": "", "{[}": "[",
             "{]}": "]", "{*}": "*"}  # fmt: skip
    token = re.compile("|".join([*map(re.escape, marks), *(rf"\\{name}\{{\}}" for name in named), r"\\[&%$#_{}]"]))
    rest = token.sub("", text)
    assert not set(rest) & set("\\&%$#_{}^~[]"), f"it would be read as a command: {rest}"
    meant = marks | {rf"\{name}{{}}": mark for name, mark in named.items()}
    return token.sub(lambda match: meant.get(match[0], match[0][-1]), text)


def test_latex_prints_every_text_literally() -> None:
    lines = odd().latex().splitlines()
    rows = [line.strip().removesuffix(r" \\").split(" & ") for line in lines if line.endswith(r" \\")]
    shown = [[read_latex(cell) for cell in row] for row in rows]
    heading, table = ["[row]", "*", "n_1"], [[text, ODD[-place], "-1.5"] for place, text in enumerate(ODD, 1)]
    assert shown == [heading, *table, heading, *table]
    notes = [line.strip().removesuffix(r"\par") for line in lines if line.endswith(r"\par")]
    assert [read_latex(note) for note in notes] == [*ODD, *ODD]


def test_latex_is_a_float_for_each_table_with_rules_and_its_notes() -> None:
    text = odd().latex()
    assert text.startswith("% Needs \\usepackage{booktabs}.\n")
    for part, count in ((r"\begin{table}", 2), (r"\end{table}", 2), (r"\begin{tabular}{llr}", 2), (r"\toprule", 2),
                        (r"\midrule", 4), (r"\bottomrule", 2), (r"\begin{minipage}", 2), (r"\hline", 0)):  # fmt: skip
        assert text.count(part) == count, part
    assert r"\caption{a\_study: 3 \%. Rows \& $<$b$>$ 100 \%.}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}%s\end{document}"
    (tmp_path / "a.tex").write_text(document % odd().latex(), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


class Read(HTMLParser):
    """Collects the tags of a page, and the text inside them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.tags[-1], data))


def test_html_is_a_whole_page_that_shows_every_text_literally() -> None:
    text = odd().html()
    assert text.startswith("<!DOCTYPE html>")
    assert '<meta charset="utf-8">' in text
    page = Read()
    page.feed(text)
    assert set(page.tags) == {"html", "head", "meta", "title", "style", "body", "h1", "p", "div", "table", "caption",
                              "thead", "tbody", "tr", "th", "td"}  # fmt: skip
    assert page.tags.count("tbody") == 4, "the rows are parted"
    cells = [data for tag, data in page.texts if tag == "td"]
    assert cells[: 3 * len(ODD) : 3] == list(ODD)
    assert [data for tag, data in page.texts if tag == "p"] == [*ODD, *ODD]
    assert [data for tag, data in page.texts if tag == "caption"] == [TITLE] * 2


def test_text_is_aligned_by_what_a_terminal_shows() -> None:
    table = Table("", ["name", "n"], [["模型", "1"], ["cnn", "10"], ["[red]", "2"]], "l", parted=[1])
    assert table.lines() == ["name    n", "─────────", "模型    1", "┄┄┄┄┄┄┄┄┄", "cnn    10", "[red]   2"]


def test_text_is_as_wide_as_it_needs() -> None:
    cells = ["x" * 300] * 400
    assert [len(line) for line in text_table(cells, [cells])] == [302 * 400 - 2] * 3


def test_a_narrow_terminal_drops_columns_in_order_and_wraps_the_rest() -> None:
    table = Table("", ["name", "a", "b"], [["word " * 4, "1" * 8, "2" * 8]], "l")
    assert table.fitted(100, [1, 2]) == (table, [])
    smaller, left_out = table.fitted(30, [2, 1])
    assert (smaller.header, smaller.kinds, left_out) == (["name", "a"], "lr", [2])
    console = Console(file=io.StringIO(), width=20)
    console.print(smaller.grid())
    assert isinstance(console.file, io.StringIO)
    assert max(map(len, console.file.getvalue().splitlines())) <= 20
    assert console.file.getvalue().count("word") == 4


def test_json_has_null_for_nan_and_lists_for_intervals() -> None:
    assert json.loads(json_text({"a": [math.nan, 1.5, (0, math.inf)], "b": iter([True, "x"])})) == {
        "a": [None, 1.5, [0, None]],
        "b": [True, "x"],
    }
