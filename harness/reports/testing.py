"""The tests of a report. All tests of one measure in a report are corrected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis.comparison import Comparison
from harness.analysis.differences import Finding, Findings, corrected, differences, find_row
from harness.analysis.effects import effects, values_together
from harness.analysis.settings import headings
from harness.errors import RequestError
from harness.reports.sentences import by_size, label


@dataclass(frozen=True)
class Tested:
    """Blocks of tests: the effect of each varied setting, or all rows compared with one baseline.

    `untested` has a sentence for each setting whose effect cannot be tested, with the reason. `baseline` is the label
    of the row that the others are compared with, if the user named one.
    """

    blocks: tuple[Findings, ...]
    untested: tuple[str, ...] = ()
    baseline: str | None = None

    @property
    def families(self) -> dict[str, int]:
        """The number of p-values of each measure. Each measure is corrected separately."""
        measures = dict.fromkeys(measure for block in self.blocks for measure in block.measures)
        return {measure: sum(of.testable for _, of in self.of(measure)) for measure in measures}

    def of(self, measure: str) -> list[tuple[Findings, Finding]]:
        """The findings of one measure, each with its block."""
        return [(block, finding) for block in self.blocks for finding in block.findings if finding.measure == measure]


def all_tests(comparison: Comparison, baseline: str | None = None) -> Tested:
    """Test each row against `baseline`, or each value of a varied setting against its first, with all else equal.

    Raises:
        RequestError: no row matches `baseline`, or it is the only row.
    """
    if baseline is not None:
        row = find_row(comparison, baseline)
        if len(comparison.rows) == 1:
            raise RequestError(
                f"--baseline {baseline}: there is no other row to compare with it. Leave --baseline out."
            )
        return Tested(_together([differences(comparison, row)]), baseline=row.label)
    blocks, untested = [], []
    short = headings(comparison.settings)
    for key in comparison.settings:
        if not (together := values_together(comparison, key)):
            untested.append(
                f"The effect of {short[key]} is not tested: each value is scored on different "
                f"{comparison.images_in_words}."
            )
            continue
        try:
            block = effects(comparison, key, min(together, key=by_size))
        except RequestError:
            untested.append(
                f"The effect of {short[key]} cannot be tested: no two finished runs with the same seed differ only in "
                "this setting."
            )
            continue
        place = {measure: number for number, measure in enumerate(block.measures)}
        ordered = sorted(block.findings, key=lambda finding: (place[finding.measure], by_size(finding.cells[key])))
        blocks.append(replace(block, findings=tuple(ordered)))
    return Tested(_together(blocks), tuple(untested))


def subject(block: Findings, finding: Finding) -> str:
    """The comparison in words: `optimizer sgd rather than adam`, `cnn sgd rather than cnn adam`."""
    if block.effect is None:
        return f"{name_of(block, finding)} rather than {reference(block)}"
    return f"{setting_name(block)} {name_of(block, finding)} rather than {reference(block)}"


def name_of(block: Findings, finding: Finding) -> str:
    """The compared side of a finding: a row's label, or a value of the setting."""
    return label(finding.cells) if block.effect is None else finding.cells[block.effect]


def reference(block: Findings) -> str:
    """The side that all others of a block are compared with: a row's label, or a value of the setting."""
    if block.effect is None:
        row = next(row for row in block.comparison.rows if row.label == block.baseline)
        return label(row.settings)
    return block.baseline.partition("=")[2]


def setting_name(block: Findings) -> str:
    """The short name of the setting whose effect a block tests."""
    assert block.effect is not None
    return headings(block.comparison.settings)[block.effect]


def _together(blocks: Sequence[Findings]) -> tuple[Findings, ...]:
    """The blocks, with p-values corrected over all blocks, separately for each measure."""
    every = iter(corrected([finding for block in blocks for finding in block.findings]))
    return tuple(replace(block, findings=tuple(next(every) for _ in block.findings)) for block in blocks)
