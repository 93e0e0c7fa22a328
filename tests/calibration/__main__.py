"""`python -m tests.calibration [TIMES] [--into FILE]`: measure the rates and print them as a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.calibration.rates import GROUPS, Rate

BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"
TIMES = 2000


def table(rates: Sequence[Rate], times: int) -> str:
    """The rates as a Markdown table, a line for each."""
    lines = [
        f"{times:,} pseudo-sweeps for each line (intervals over images: {times // 4:,}).",
        "",
        "| | what | case | promised | measured |",
        "|---|---|---|---:|---:|",
    ]
    before = ""
    for rate in rates:
        group = "" if rate.group == before else f"**{rate.group}**"
        before = rate.group
        promised = f"{rate.nominal} {rate.unit}" if rate.nominal else ""
        value = f"{rate.value:.2f}" if rate.unit == "points" else f"{rate.value:.1f}"
        lines.append(f"| {group} | {rate.what} | {rate.case} | {promised} | {value} {rate.unit} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure the rates, and print the table or write it into a page."""
    numbers = [int(text) for text in arguments if text.isdecimal()]
    times, started, rates = (numbers or [TIMES])[0], time.perf_counter(), []
    for group in GROUPS:
        rates += list(group(times))
        print(f"{group.__name__}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    text = table(rates, times)
    if "--into" not in arguments:
        print(text)
        return
    file = Path(arguments[list(arguments).index("--into") + 1])
    page = file.read_text()
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    file.write_text(f"{page[:start]}\n\n{text}\n{page[end:]}")


if __name__ == "__main__":
    main(sys.argv[1:])
