"""A report as Markdown, with its figures as files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from harness.analysis.pages import markdown_row
from harness.report.content import Fact, Report, Table
from harness.text import markdown


def render(report: Report, folder: str) -> str:
    """The text. Its figures are the files `folder`/NAME.png, by a path relative to the text."""
    own = {
        picture.name: f"![{_plain(markdown(picture.alt))}]({quote(folder)}/{picture.name}.png)"
        for picture in report.pictures
    }
    kept = {*own.values(), *(command for command, _ in report.again.commands)}
    lines = [f"# {report.title}", "", f"**{report.answer}**", ""]
    for warning in report.warnings:
        lines += [f"> {warning}", ""]
    lines += ["## Question", "", report.question, ""]
    if report.expected:
        lines += [f"Expected beforehand: {report.expected}", ""]
    lines += ["## Settings", ""]
    for heading, known in (
        ("Varied", report.varied), ("Shared", report.shared), ("Data, code and machine", report.origin)
    ):  # fmt: skip
        lines += [f"{heading}:", "", *_facts(known), ""]
    lines += ["## Findings", ""]
    lines += [f"- {sentence}" for sentence in report.findings] or ["- There is nothing to compare."]
    lines += ["", report.corrected] if report.corrected else []
    lines += ["", *(_table(report.tests) if report.tests else [])]
    lines += ["## Table", "", *_table(report.ranking)]
    if report.pictures:
        lines += ["## Figures", ""]
        for picture in report.pictures:
            lines += [f"### {picture.title}", "", own[picture.name], ""]
            lines += [picture.caption, ""]
    if report.stages:
        lines += ["## Runs: last epoch, best epoch, kept weights", "", *_table(report.stages)]
    lines += ["## Failures", "", *_failures(report), "", "## Run it again", ""]
    for command, what in report.again.commands:
        lines += [f"{what[0].upper()}{what[1:]}:", "", "```", command, "```", ""]
    for note in (*report.again.notes,):
        lines += [note, ""]
    lines += ["## How it was computed", ""]
    for line in report.method:
        lines += [line, ""]
    lines.append(f"Made by `harness report`, {report.made}.")
    return "\n".join(line if line in kept else markdown(line) for line in lines) + "\n"


def _facts(known: Sequence[Fact]) -> list[str]:
    return [f"- {fact.name}: {fact.value}" for fact in known]


def _table(table: Table) -> list[str]:
    """Markdown has one row of headings: that of a group stands before its columns' own."""
    headings = [f"{column.group}: {column.heading}" if column.group else column.heading for column in table.columns]
    lines = [table.caption, "", markdown_row(headings)]
    lines.append(markdown_row(["---:" if column.is_number else "---" for column in table.columns]))
    lines += [markdown_row([cell.text for cell in line.cells]) for line in table.lines]
    lines.append("")
    for note in table.notes:
        lines += [note, ""]
    return lines


def _failures(report: Report) -> list[str]:
    if not report.failures:
        return ["Every run finished."]
    rows = [
        markdown_row([f"{failure.run} (`{failure.run_id}`)", failure.state, failure.reason, failure.log])
        for failure in report.failures
    ]
    lines = [markdown_row(["run", "state", "reason", "log"]), markdown_row(["---"] * 4), *rows]
    return [*lines, "", f"And {report.failures_left_out:,} more."] if report.failures_left_out else lines


def _plain(text: str) -> str:
    return text.replace("[", "(").replace("]", ")")
