"""Writes a report as one self-contained HTML page, or as Markdown with its figures as files beside it.

Both use templates/report.jinja, which takes its macros from html.jinja or markdown.jinja.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.filters import do_forceescape, do_mark_safe
from markupsafe import Markup

from harness.reports.content import Report, ReportFigure
from harness.text import clean
from harness.text import markdown as markdown_line


def html(report: Report) -> str:
    """The HTML page, with style, script and figures inside. Its Content-Security-Policy forbids network access."""
    environment = _environment()
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["tied"] = _prose
    return environment.get_template("report.jinja").render(report=report, parts="html.jinja")


def markdown(report: Report, folder: str) -> str:
    """The Markdown text. Its figures are the files `folder`/NAME.png, relative to the text."""

    def image(figure: ReportFigure) -> Markup:
        alt = markdown_line(figure.alt).replace("[", "(").replace("]", ")")
        return Markup(f"![{alt}]({quote(folder)}/{figure.name}.png)")

    environment = _environment()
    environment.finalize = lambda value: value if isinstance(value, Markup) else Markup(clean(str(value)))
    environment.filters |= {"image": image, "rows": lambda table: Markup(table.plain.markdown())}
    text = environment.get_template("report.jinja").render(report=report, parts="markdown.jinja")
    own = {*map(image, report.figures), *(command for command, _ in report.rerun.commands)}
    lines = re.sub(r"\n{3,}", "\n\n", text.rstrip("\n")).split("\n")
    return "\n".join(line if line in own else markdown_line(line) for line in lines) + "\n"


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("harness.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=False,
        keep_trailing_newline=True,
    )  # fmt: skip


def _prose(text: str) -> str:
    """Make HTML of a sentence: numbers are not broken from their units, and text in backticks becomes code."""
    tied = text.replace(" %", "\u00a0%").replace("p = ", "p\u00a0=\u00a0")
    return do_mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(do_forceescape(tied))))
