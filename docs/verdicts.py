"""The table of docs/studies/README.md, made of the verdicts on its pages: `make studies` writes it, with cog."""

from __future__ import annotations

from pathlib import Path

from harness.sweeps.study_runs import read_studies

PAGES = Path(__file__).parent / "studies"
SHOWN = ("claim", "measured", "95 % interval", "")


def verdicts() -> str:
    """A row for each claim of each study of experiments/; a study without a verdict says so."""
    lines = ["| study | claim | measured | 95 % interval | verdict |", "|---|---|---:|---:|---|"]
    for name in read_studies():
        claims = _claims(PAGES / f"{name}.md") or [("not trained yet", "", "", "")]
        studies = [f"[{name}]({name}.md)" if claims[0][1] else name, *[""] * (len(claims) - 1)]
        lines += [f"| {' | '.join((study, *cells))} |" for study, cells in zip(studies, claims, strict=True)]
    return "\n".join(lines)


def _claims(page: Path) -> list[tuple[str, ...]]:
    """The columns `SHOWN` of the table below the page's heading Verdict."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    part = text.partition("\n## Verdict\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line[:1] == "|"]
    heads = rows[0] if rows else []
    return [tuple(row[heads.index(name)] for name in SHOWN) for row in rows[2:] if len(row) == len(heads)]
