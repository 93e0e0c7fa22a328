"""A report as one HTML page that needs nothing else: style, script and figures are inside it."""

from __future__ import annotations

import base64
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.filters import do_forceescape, do_mark_safe

from harness.report.content import Report


def render(report: Report) -> str:
    """The page. It asks no network, which its Content-Security-Policy also forbids it."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["tied"] = _prose
    return environment.get_template("report.html").render(report=report)


def _prose(text: str) -> str:
    """A sentence whose numbers stay with their units; what stands between backticks as code."""
    tied = text.replace(" %", "\u00a0%").replace("p = ", "p\u00a0=\u00a0")
    return do_mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(do_forceescape(tied))))
