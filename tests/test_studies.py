# ruff: noqa: E501 - sentences, as long as they are
"""Every number in docs/studies/README.md is computed again from the tables of the pages that it links to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "docs" / "studies"


@dataclass(frozen=True)
class Page:
    """The tables of one study: `rows` by the value of its setting, each cell by its heading; `tests` likewise."""

    rows: Mapping[str, Mapping[str, str]]
    tests: Mapping[tuple[str, str], Mapping[str, str]]

    def mean(self, value: object, heading: str) -> float:
        return float(self.rows[str(value)][heading].split(" ± ")[0])

    def text(self, value: object, heading: str) -> str:
        return self.rows[str(value)][heading]

    def test(self, value: object, measure: str = "gap of accuracy on validation") -> Mapping[str, str]:
        return self.tests[str(value), measure]

    def exponent(self, small: int, large: int) -> float:
        """Of the power of the size by which the gap falls from one size to another."""
        ratio = self.mean(large, GAP) / self.mean(small, GAP)
        return math.log(ratio) / math.log(large / small)


GAP, TEST_GAP, LOSS_GAP = "gap val†, points", "gap test†, points", "loss gap†, nats"
TRAIN, TEST = "train %", "test %†"


@cache
def page(name: str) -> Page:
    text = (FOLDER / f"{name}.md").read_text()
    tables = [_table(part) for part in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)]
    tests = next(table for table in tables if "p after Holm" in table[0])
    rows = next(table for table in tables if GAP in table[0])
    return Page(
        {row[next(iter(row))]: row for row in rows},
        {(_level(row["compared"]), row["measure"]): row for row in tests},
    )


def _table(text: str) -> list[dict[str, str]]:
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()]
    return [dict(zip(head, cells, strict=True)) for cells in lines]


def _level(compared: str) -> str:
    """`1024` of `width 1024 rather than 8`."""
    return compared.split()[1]


def largest_p(of: Page, measure: str) -> str:
    """`p at most 0.001`, as the page has it."""
    found = [row["p after Holm"] for (_, what), row in of.tests.items() if what == measure]
    return max(found, key=lambda text: (0.0, 0.0) if text.startswith("<") else (1.0, float(text)))


def words(p: str) -> str:
    return f"below {p[1:]}" if p.startswith("<") else f"at most {p}"


def equals(p: str) -> str:
    return f"p < {p[1:]}" if p.startswith("<") else f"p = {p}"


def capacity() -> list[str]:
    of, gap = page("capacity"), "gap of accuracy on validation"
    assert all(row["finding"].startswith("larger gap") for (_, what), row in of.tests.items() if what == gap)
    means = [of.mean(width, TEST) for width in (8, 16, 32, 64, 128, 256, 512, 1024)]
    assert means == sorted(means)
    first = of.mean(1024, GAP) - of.mean(512, GAP)
    second = of.mean(1024, TEST_GAP) - of.mean(512, TEST_GAP)
    return [
        f"From 8 to 1,024 units, on 5,000 training images, the gap of accuracy grows from {of.text(8, GAP)} to "
        f"{of.text(1024, GAP)} points; the gap of every width is larger than that of 8 units (p {words(largest_p(of, gap))}, "
        "Holm).",
        f"It does not level off. The training images are nearly memorized ({of.mean(256, TRAIN):.1f} % of them at 256 units, "
        f"{of.mean(1024, TRAIN):.1f} % at 1,024), but the mean gap still rises by {first:.1f} points from 512 to 1,024 "
        f"units on validation and by {second:.1f} on test. The page does not test this step.",
        f"The gap of loss grows as well, from {of.text(8, LOSS_GAP)} to {of.text(1024, LOSS_GAP)} nats.",
        "As expected, a wider network is not a worse one: mean test accuracy rises with every width, from "
        f"{of.text(8, TEST)} to {of.text(1024, TEST)} %.",
        "The smallest gap belongs to the least accurate network. This is why rows more than two points below the best "
        "are not ranked by their gap.",
    ]


def train_size() -> list[str]:
    of, gap = page("train_size"), "gap of accuracy on validation"
    sizes = (500, 1000, 2500, 5000, 12500, 25000, 50000)
    means = [of.mean(size, GAP) for size in sizes]
    assert means == sorted(means, reverse=True)
    assert all(row["finding"].startswith("smaller gap") for (_, what), row in of.tests.items() if what == gap)
    last = of.test(50000)
    lost = 1 - of.mean(1000, GAP) / of.mean(500, GAP)
    later = 1 - of.mean(12500, GAP) / of.mean(5000, GAP)
    return [
        f"With 4,000 steps for every size the gap falls from {of.text(500, GAP)} points on 500 images to {of.text(50000, GAP)} "
        f"on 50,000, a difference of {last['difference']} ({last['95 % interval']}). Each size has a smaller gap than 500 "
        "images.",
        f"Test accuracy rises from {of.text(500, TEST)} to {of.text(50000, TEST)} %.",
        f"We expected the gap to fall as one power of the size. It does not: from 500 to 1,000 images it falls by "
        f"{100 * lost:.0f} % (exponent {of.exponent(500, 1000):.2f}), from 5,000 to 12,500 by {100 * later:.0f} % "
        f"(exponent {of.exponent(5000, 12500):.2f}). Small sets are memorized ({of.mean(500, TRAIN):.1f} % of 500 "
        "images), so their gap is their error on held-out images; large sets are seen only a few times.",
        "The gap of 50,000 images is small for this length of training; longer training was not tried.",
    ]


def label_noise() -> list[str]:
    of, gap = page("label_noise"), "gap of accuracy on validation"
    assert all(row["finding"].startswith("larger gap") for (_, what), row in of.tests.items() if what == gap)
    last = of.test("0.9")
    loss = of.test("0.1", "gap of loss on validation")
    shown = "larger" if loss["finding"].startswith("larger") else "not shown to differ"
    return [
        "The runs show a known result again (Zhang et al. 2017): a network of 256 units fits "
        f"{of.text('0.9', TRAIN)} % of 1,000 labels, although nine in ten are wrong. Its test accuracy "
        f"is {of.text('0.9', TEST)} %; chance would be 10 %.",
        f"The gap grows from {of.text('0.0', GAP)} points without noise to {of.text('0.9', GAP)}, by {last['difference']} "
        f"({last['95 % interval']}), and is larger for every share of wrong labels (p {words(largest_p(of, gap))}, Holm).",
        f"With one tenth of the labels wrong the gap of loss is {shown} ({loss['difference']}, {equals(loss['p after Holm'])}).",
        f"Test accuracy falls less than the labels do: with 40 % wrong it is {of.text('0.4', TEST)} %, from "
        f"{of.text('0.0', TEST)} %.",
        "Tables mark the noisy rows `underfit`. This only means that they are more than two points less accurate than "
        "the best row.",
    ]


STUDIES: Mapping[str, Callable[[], list[str]]] = {
    "capacity": capacity,
    "train_size": train_size,
    "label_noise": label_noise,
}


def paragraphs() -> dict[str, str]:
    """What the README says of each study, without line breaks and without its heading."""
    text = (FOLDER / "README.md").read_text()
    found = re.findall(r"^\*\*\[[^\]]+\]\((\w+)\.md\)\.\*\* (.+?)(?=\n\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return {name: " ".join(paragraph.split()) for name, paragraph in found}


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_about_a_study_is_on_its_page(name: str) -> None:
    assert paragraphs()[name] == " ".join(STUDIES[name]())


def test_every_study_is_described_and_has_a_page() -> None:
    assert set(paragraphs()) == set(STUDIES) == {file.stem for file in FOLDER.glob("*.md")} - {"README", "ranking"}
