"""The comparison of the guides with our runs as a table, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from harness.analysis.guides import FEWEST, LEVEL, ComparedFigure, Curve, Reproduction
from harness.tabular import Table, json_text, wrapped

LABELS: Mapping[str, str] = {
    "final/fit_loss": "training loss",
    "final/fit_accuracy": "training accuracy",
    "final/test_loss": "test loss",
    "final/test_accuracy": "test accuracy",
    "final/gap_test_accuracy_running": "gap of accuracy",
    "fit/loss": "loss",
    "fit/accuracy": "accuracy",
}
INTERVAL, STANDS = "99 % interval", "stands at"
_STYLES = {True: "green", False: "red", None: ""}
HEADINGS = ("figure", "published", "measured", INTERVAL, STANDS, "notices", "")


def render(reproductions: Sequence[Reproduction], form: str) -> str:
    """The guides as `table` (plain text), `json` or `markdown`, ending with a line break."""
    return FORMATS[form](reproductions)


def print_tables(reproductions: Sequence[Reproduction], console: Console) -> None:
    """Print one table per guide, and the meaning of the columns."""
    for reproduction in reproductions:
        console.print(Text(headline(reproduction), style="bold"), soft_wrap=True)
        # On a narrow terminal these columns are left out, so that the verdict is not cut off.
        table, _ = _table(reproduction).fitted(console.width, [HEADINGS.index(INTERVAL), HEADINGS.index(STANDS)])
        wrong = {place: "bold red" for place, row in enumerate(table.rows) if row[-1] in ("OUTSIDE", "OTHER")}
        console.print(table.grid(styles=wrong))
        console.print(Text(verdict(reproduction), style=_STYLES[reproduction.consistent]), soft_wrap=True)
        console.print()
    console.print(Text(legend(reproductions)))


def headline(reproduction: Reproduction) -> str:
    """The guide's letter, and what it trained."""
    guide = reproduction.guide
    return f"{guide.letter}  {guide.title} (experiments={guide.experiment})"


def verdict(reproduction: Reproduction) -> str:
    """Whether the guide's figures are consistent with one more run of ours; if not, which are not."""
    words = {metric: LABELS.get(metric, "number of parameters") for metric in reproduction.outside}
    if words:
        return f"NOT consistent with one more run of ours: {', '.join(words.values())}"
    if not reproduction.guide.scalars:
        return "the guide printed no figures to compare with"
    if reproduction.consistent is None:
        return (
            f"no verdict: {len(reproduction.seeds)} seeds show next to nothing, {FEWEST} are needed (--seeds {FEWEST})"
        )
    rate = 100 * reproduction.false_rejection
    return f"consistent with one more run of ours (a correct set-up is rejected in about {rate:.0f} % of cases)"


def legend(reproductions: Sequence[Reproduction]) -> str:
    """The meaning of the columns."""
    seeds = sorted({len(reproduction.seeds) for reproduction in reproductions})
    compared = [item.false_rejection for item in reproductions if item.false_rejection]
    several = len(compared) > 1
    together = f", one of these {len(compared)} guides in about {100 * sum(compared):.0f} %" if several else ""
    return (
        "Training figures are those of the last epoch unless epochs are named: running averages, as Keras prints them. "
        f"measured: mean ± sample standard deviation over {' or '.join(map(str, seeds))} seeds. 99 % interval: where "
        "one more run would lie (prediction interval, t distribution). stands at: the share of further runs below the "
        "published figure. notices: a set-up whose mean differs from ours by so much would lie outside in 80 % of "
        "cases, if it varies as our runs do; smaller differences mostly go unnoticed. By chance a correct set-up is "
        f"rejected in about 1 % of cases for each figure compared{together}. Epochs have no part in the verdict."
    )


def rows(reproduction: Reproduction) -> list[tuple[str, ...]]:
    """The cells of a guide's table under `HEADINGS`."""
    guide = reproduction.guide
    same = reproduction.parameters == guide.parameters
    measured = f"{reproduction.parameters:,}"
    found: list[tuple[str, ...]] = [
        ("parameters", f"{guide.parameters:,}", measured, "", "", "", "same" if same else "OTHER")
    ]
    found += [_figure_row(figure) for figure in reproduction.figures]
    found += [_curve_row(curve) for curve in reproduction.curves]
    return found


def _figure_row(figure: ComparedFigure) -> tuple[str, ...]:
    measured = f"{figure.mean:.4f} ± {figure.deviation:.4f}"
    interval = f"{figure.low:.4f} to {figure.high:.4f}"
    if figure.published is None or figure.percentile is None:
        return LABELS[figure.metric], "", measured, interval, "", "", ""
    stands = f"{figure.percentile:.0f} %" if 1 <= figure.percentile <= 99 else f"{figure.percentile:.2g} %"
    if figure.percentile > 99:
        stands = f"{figure.percentile:.4g} %"
    return (
        LABELS[figure.metric], f"{figure.published:.4f}", measured, interval, stands, f"±{figure.detectable:.4f}",
        "inside" if figure.inside else "OUTSIDE",
    )  # fmt: skip


def _curve_row(curve: Curve) -> tuple[str, ...]:
    label = f"{LABELS[curve.metric]}, epochs {curve.epochs[0]} to {curve.epochs[-1]}"
    count, outside = len(curve.points), len(curve.points) - curve.inside
    return label, "", f"{curve.inside} of {count} epochs", "", "", "", f"{outside} outside" if outside else "inside"


def _table(reproduction: Reproduction) -> Table:
    return Table("", HEADINGS, rows(reproduction), "l" + "r" * (len(HEADINGS) - 2) + "l")


def _plain(reproductions: Sequence[Reproduction]) -> str:
    lines = []
    for reproduction in reproductions:
        lines += [headline(reproduction), *_table(reproduction).lines(), verdict(reproduction), ""]
    return "\n".join([*lines, *wrapped([legend(reproductions)])]) + "\n"


def _markdown(reproductions: Sequence[Reproduction]) -> str:
    parts = []
    for reproduction in reproductions:
        guide = reproduction.guide
        parts += [f"### Guide {guide.letter}: {guide.title}", f"`harness train experiments={guide.experiment}`"]
        parts += [_table(reproduction).markdown(), f"**{verdict(reproduction)}**"]
    return "\n\n".join([*parts, legend(reproductions)]) + "\n"


def _json(reproductions: Sequence[Reproduction]) -> str:
    guides = [
        {
            "guide": of.guide.letter,
            "experiment": of.guide.experiment,
            "title": of.guide.title,
            "verdict": verdict(of),
            "consistent": of.consistent,
            "false_rejection": of.false_rejection,
            "parameters": {"published": of.guide.parameters, "measured": of.parameters},
            "runs": [{"seed": seed, "run_id": run_id} for seed, run_id in zip(of.seeds, of.run_ids, strict=True)],
            "figures": [vars(figure) for figure in of.figures],
            "curves": [
                {"metric": curve.metric, "inside": curve.inside, "epochs": [
                    {"epoch": epoch, **vars(point)} for epoch, point in zip(curve.epochs, curve.points, strict=True)
                ]}
                for curve in of.curves
            ],
        }
        for of in reproductions
    ]  # fmt: skip
    return json_text({"level": LEVEL, "guides": guides})


FORMATS: Mapping[str, Callable[[Sequence[Reproduction]], str]] = {"table": _plain, "json": _json, "markdown": _markdown}
