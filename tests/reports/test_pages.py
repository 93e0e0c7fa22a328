"""A report as HTML and as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.reports.content import Report
from harness.reports.rendering import html, markdown
from tests.analysis.records import run
from tests.reports.reports import failed, report, runs

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Checked(HTMLParser):
    """Collects tags with their attributes, and the text. Checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def made() -> Report:
    return report([*runs(widths=(8, 64, 512)), failed("it <broke>", model__name="b", model__width=8)], pictures=True)


def test_the_page_is_self_contained_and_cannot_use_the_network(made: Report) -> None:
    page = html(made)
    parsed = Checked(page)
    assert len(page) < 3_000_000
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in parsed.all("img"))
    assert all(str(link["href"]).startswith("#") for link in parsed.all("a"))
    assert not any({"src", "href"} & set(attributes) for name, attributes in parsed.tags if name not in ("a", "img"))
    [policy] = [meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "://" not in re.sub(r"base64,[\w+/=]+", "", page)


def test_sections_are_in_reading_order(made: Report) -> None:
    sections = [section["id"] for section in Checked(html(made)).all("section")]
    assert sections == [
        "question", "settings", "findings", "table", "figures", "runs", "failures", "again", "method"
    ]  # fmt: skip
    headings = re.findall(r"^## (.+)$", markdown(made, "f"), flags=re.MULTILINE)
    assert len(headings) == len(sections)


def test_tables_and_figures_are_accessible(made: Report) -> None:
    parsed = Checked(html(made))
    assert all(len(str(image["alt"])) > 20 for image in parsed.all("img"))
    assert all(heading["scope"] in ("col", "row", "colgroup") for heading in parsed.all("th"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert {heading["aria-sort"] for heading in parsed.all("th") if "aria-sort" in heading} == {"none"}


def test_text_of_runs_is_never_shown_as_markup(made: Report) -> None:
    page = html(replace(made, title="<script>alert(1)</script>", answer="a < b & c"))
    assert "<script>alert" not in page
    assert "a &lt; b &amp; c" in page
    assert "it &lt;broke&gt;" in page


def test_html_and_markdown_have_the_same_content(made: Report) -> None:
    text = markdown(made, "my figures")
    words = " ".join("".join(Checked(html(made)).text).replace("\u00a0", " ").split())
    for sentence in (made.answer, made.question, *made.findings, *made.method):
        assert sentence in text
        assert sentence.replace("`", "") in words
    for picture in made.figures:
        assert f"](my%20figures/{picture.name}.png)" in text
        assert picture.caption in text


def test_a_report_of_one_run_has_no_tests_and_says_that_there_is_nothing_to_compare() -> None:
    made = report([run(0.9, 0.8, model__name="a")], pictures=True)
    page = html(made)
    assert made.answer == "The gap of accuracy on test is +10.0 points (n=1 seed, no interval)."
    assert "The tests behind these sentences" not in page
    assert "Every run finished." in markdown(made, "f")


def test_a_report_of_failures_only_is_a_page_too() -> None:
    made = report([failed("boom", model__name="a"), failed("boom", model__name="b")], pictures=True)
    assert made.figures == ()
    assert "boom" in html(made)
    assert "| failed | boom |" in markdown(made, "f")
