"""The verdict on studies as a table, JSON or Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.analysis.measures import amount, counted, p_value
from harness.analysis.studies import REACHES, Criterion, Decision, StudyOutcome, Verdict, in_words
from harness.tabular import Table, json_text, wrapped

HEADINGS = ("claim", "expected", "measured", "95 % interval", "p", "notices", "")
FIGURES = ("published figure", "published", "measured", "99 % interval", "")
_STYLES = {Verdict.FOUND: "green", Verdict.NOT_FOUND: "bold red", Verdict.UNDECIDED: "yellow"}
LEGEND = (
    "claim: stated before the run, in the experiment's file. found: shown, with p (Holm's correction over the claims "
    "of a study) below 0.05. not found: the contrary is shown. undecided: neither is. within: found if no difference "
    "is shown and the interval leaves out differences of that size. 95 % interval: over other seeds (t distribution), "
    "on these test images. notices: a number so far from its bound is shown in 80 % of studies, if runs vary as "
    "these. Published figures have no part in the verdict; 99 % interval: where one more run of ours would lie."
)


def render(outcomes: Sequence[StudyOutcome], form: str) -> str:
    """The verdicts as `table` (plain text), `json` or `markdown`, ending with a line break."""
    return FORMATS[form](outcomes)


def print_tables(outcomes: Sequence[StudyOutcome], console: Console) -> None:
    """Print the verdict on each study, and the meaning of the columns."""
    for of in outcomes:
        console.print(Text(headline(of), style="bold"), soft_wrap=True)
        # On a narrow terminal these columns are left out, so that the verdict is not cut off.
        table, _ = _decisions(of).fitted(console.width, [HEADINGS.index(name) for name in ("notices", "p", "expected")])
        console.print(table.grid(styles={place: _STYLES[item.verdict] for place, item in enumerate(of.decisions)}))
        if of.figures:
            console.print(_figures(of).grid())
        console.print(Text(summary(of)), soft_wrap=True)
        console.print()
    console.print(Text(LEGEND))


def headline(of: StudyOutcome) -> str:
    """`batch_size  Keskar et al. 2017, ...`."""
    return f"{of.study.name}  {of.study.source}"


def summary(of: StudyOutcome) -> str:
    """`2 of 3 claims found, 1 not found (5 seeds a row)`."""
    counts = {verdict: sum(item.verdict is verdict for item in of.decisions) for verdict in Verdict}
    rest = "".join(f", {counts[verdict]} {verdict}" for verdict in list(Verdict)[1:] if counts[verdict])
    seeds = f"{counted(of.seeds, 'seed')} a row"
    if of.seeds < of.study.seeds:
        seeds += f", and {of.study.seeds} were planned"
    return f"{counts[Verdict.FOUND]} of {counted(len(of.decisions), 'claim')} found{rest} ({seeds})"


def expected(of: Criterion) -> str:
    """`above +0.00 points`, `within 0.30 points`."""
    key = next(key for key in ("above", "below", "within") if getattr(of, key) is not None)
    return f"{key} {_amount(of, getattr(of, key), '' if key == 'within' else None)} {unit(of)}"


def unit(of: Criterion) -> str:
    """The unit of a criterion's number."""
    if REACHES.fullmatch(of.measure):
        return "epochs"
    if of.measure.endswith("loss"):
        return "nats"
    return "points" if of.baseline is not None or "gap" in of.measure else "%"


def _amount(of: Criterion, value: float, sign: str | None = None) -> str:
    sign = ("+" if of.baseline is not None else "") if sign is None else sign
    return f"{value:{sign}.1f}" if REACHES.fullmatch(of.measure) else amount(of.measure, value, sign=sign)


def _row(of: Decision) -> tuple[str, ...]:
    claim, number = of.criterion, of.number
    if number is None:
        return claim.claim, expected(claim), "no run", "", "", "", of.verdict
    interval = "-" if of.interval is None else " to ".join(_amount(claim, end) for end in of.interval)
    notices = "" if of.notices is None else _amount(claim, of.notices, "")
    measured = f"{_amount(claim, number.mean)} {unit(claim)}" if math.isfinite(number.mean) else "not by every run"
    return claim.claim, expected(claim), measured, interval, p_value(of.p), notices, of.verdict


def _decisions(of: StudyOutcome) -> Table:
    return Table("", HEADINGS, [_row(item) for item in of.decisions], "ll" + "r" * (len(HEADINGS) - 3) + "l")


def _figures(of: StudyOutcome) -> Table:
    rows = []
    for published, found in of.figures:
        one = Criterion("", published.measure, published.row)
        spread = "" if published.spread is None else f" ± {_amount(one, published.spread)}"
        rows.append((
            f"{published.measure}, {in_words(published.row)}", f"{_amount(one, published.value)}{spread}",
            f"{_amount(one, found.mean)} ± {_amount(one, found.deviation)}",
            f"{_amount(one, found.low)} to {_amount(one, found.high)}", "inside" if found.inside else "outside",
        ))  # fmt: skip
    return Table("", FIGURES, rows, "lrrrl")


def _plain(outcomes: Sequence[StudyOutcome]) -> str:
    lines = []
    for of in outcomes:
        lines += [headline(of), *_decisions(of).lines(), *(_figures(of).lines() if of.figures else ()), summary(of), ""]
    return "\n".join([*lines, *wrapped([LEGEND])]) + "\n"


def section(of: StudyOutcome) -> str:
    """The verdict as a part of the study's page."""
    parts = ["## Verdict", f"**{summary(of)}.** Source: {of.study.source}", _decisions(of).markdown()]
    return "\n\n".join([*parts, *([_figures(of).markdown()] if of.figures else ()), LEGEND])


def _markdown(outcomes: Sequence[StudyOutcome]) -> str:
    return "\n\n".join(f"# {of.study.name}\n\n{section(of)}" for of in outcomes) + "\n"


def _json(outcomes: Sequence[StudyOutcome]) -> str:
    return json_text({"studies": [_as_data(of) for of in outcomes]})


def _as_data(of: StudyOutcome) -> dict[str, Any]:
    return {
        "study": of.study.name, "source": of.study.source, "summary": summary(of), "seeds": of.seeds,
        "criteria": [
            {
                **vars(item.criterion), "verdict": item.verdict, "p": item.p, "notices": item.notices,
                "mean": None if item.number is None else item.number.mean,
                "interval": None if item.interval is None else list(item.interval),
            }
            for item in of.decisions
        ],
        "figures": [{**vars(published), **vars(found)} for published, found in of.figures],
    }  # fmt: skip


FORMATS: Mapping[str, Callable[[Sequence[StudyOutcome]], str]] = {"table": _plain, "json": _json, "markdown": _markdown}
