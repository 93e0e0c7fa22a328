"""The tables of a comparison image by image, in each format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.analysis.by_image import ByImage
from harness.analysis.legend import headline
from harness.analysis.measures import amount, counted, from_to, p_value
from harness.analysis.settings import headings
from harness.analysis.statistics import LEVEL
from harness.tabular import Page, Table, json_text, rendered
from harness.text import csv_text

SHOWN = 12
"""How many missed images the table shows, and confusions of many classes; files have all."""
MOST_CLASSES = 25
"""The most classes with a table of all confusions."""


def render(found: ByImage, form: str) -> str:
    """The comparison in one of `tabular.FORMATS`; CSV has a row for each image, hardest first."""
    return rendered(form, lambda: _page(found), {"json": lambda: _json(found), "csv": lambda: _csv(found)})


def _page(found: ByImage) -> Page:
    words = found.comparison.images_in_words
    above = [headline(found.comparison)]
    above.append(
        f"By image: {counted(found.runs, 'run')} of {counted(len(found.rows), 'configuration')}, "
        f"{len(found.labels):,} {words}."
    )
    if found.left_out:
        above.append(f"Left out: {'; '.join(found.left_out)}.")
    tables = [_counts(found), _missed(found)] if len(found.missed_by_all) else [_counts(found)]
    return Page(above, [*tables, _confusion(found), *([_versus(found)] if found.versus else [])], _below(found))


def _counts(found: ByImage) -> Table:
    n = len(found.labels)
    rows = [[name, f"{count:,}", f"{100 * count / n:.1f}"] for name, count in _split_up(found).items()]
    return Table("How many runs have an image right", ["", "images", "%"], rows, "l")


def _split_up(found: ByImage) -> dict[str, int]:
    n, every, none = len(found.labels), int((found.right == found.runs).sum()), len(found.missed_by_all)
    return {"all": every, "some": n - every - none, "none": none}


def _missed(found: ByImage) -> Table:
    shown = found.missed_by_all[:SHOWN]
    title = f"Images that no run has right, the {len(shown)} most unanimous of {len(found.missed_by_all):,}"
    rows = [
        [str(image), found.named(found.labels[image]), found.named(found.answered[image]),
         f"{found.agreeing[image]} of {found.runs}", f"{found.losses[image]:.2f}"]
        for image in shown
    ]  # fmt: skip
    # All columns are aligned left: a right-aligned number would separate the two classes from each other.
    return Table(title, ["image", "true", "taken for", "by runs", "loss"], rows, "lll")


def _confusion(found: ByImage) -> Table:
    classes = range(found.answers.shape[1])
    if len(classes) > MOST_CLASSES:
        return _frequent_confusions(found)
    names = [str(label) if found.named(label) == str(label) else f"{label} {found.named(label)}" for label in classes]
    rows = [
        [name, *(f"{count:.1f}" if count else "0" for count in line)]
        for name, line in zip(names, found.confusion, strict=True)
    ]
    title = "True class (lines) and answer (columns): images of a run, mean over runs"
    return Table(title, ["", *map(str, classes)], rows, "l")


def _frequent_confusions(found: ByImage) -> Table:
    counts = found.confusion.copy()
    np.fill_diagonal(counts, 0)
    places = np.argsort(-counts, axis=None, kind="stable")[:SHOWN]
    pairs = [divmod(int(place), len(counts)) for place in places if counts.flat[place] > 0]
    rows = [[found.named(true), found.named(answer), f"{counts[true, answer]:.1f}"] for true, answer in pairs]
    title = f"The {len(rows)} most frequent confusions of {len(counts):,} classes: images of a run, mean over runs"
    return Table(title, ["true", "taken for", "images"], rows, "ll")


def _versus(found: ByImage) -> Table:
    short = headings(found.comparison.settings)
    numbers = ["runs", "more often", "less often", "equal", "difference", "95 % interval", "p", "p Holm"]
    rows = [
        [*(of.settings[key] for key in short), f"{of.runs} and {of.baseline_runs}", f"{of.more:,}", f"{of.less:,}",
         f"{of.equal:,}", amount("accuracy", of.difference),
         from_to("accuracy", of.interval), p_value(of.p_value), p_value(of.corrected)]
        for of in found.versus
    ]  # fmt: skip
    title = f"Images that each row has right more or less often than {found.baseline}; accuracy in points"
    return Table(title, [*short.values(), *numbers], rows, "l" * len(short))


def _below(found: ByImage) -> list[str]:
    lines = []
    if len(found.missed_by_all):
        lines.append("loss: mean over runs, in nats; the higher, the less probability the true class was given.")
        if found.comparison.held_out == "test":
            lines.append(f"See one: harness predict {found.example.run_id[:8]} --index {found.missed_by_all[0]}")
        else:
            lines.append(
                "Images are counted from 0 in the validation split; `harness predict --index` shows test images only."
            )
    if found.versus:
        tests = {of.test for of in found.versus}
        words = ["McNemar's exact test of one run against one"] * ("mcnemar" in tests)
        words += ["t test over images of the mean difference of several runs"] * ("t" in tests)
        lines.append(
            f"p: {'; '.join(words)}. p Holm: corrected for {counted(len(found.versus), 'test')}. The interval is over "
            f"images. All of it is about these weights: it says nothing of other seeds. For both: "
            "--interval seeds+images."
        )
    return lines


def _images(found: ByImage, images: Iterable[int]) -> list[dict[str, Any]]:
    return [
        {
            "index": int(image),
            "label": int(found.labels[image]),
            "class": found.named(found.labels[image]),
            "right": int(found.right[image]),
            "runs": found.runs,
            "answered": int(found.answered[image]),
            "answered_class": found.named(found.answered[image]),
            "answered_by": int(found.agreeing[image]),
            "loss": float(found.losses[image]),
        }
        for image in images
    ]


def _json(found: ByImage) -> str:
    comparison = found.comparison
    document = {
        "title": comparison.title,
        "held_out": comparison.held_out,
        "images": len(found.labels),
        "runs": found.runs,
        "configurations": len(found.rows),
        "left_out": list(found.left_out),
        "right_in": _split_up(found),
        "missed_by_all": _images(found, found.missed_by_all),
        "classes": [found.named(label) for label in range(found.answers.shape[1])],
        "confusion": found.confusion.tolist(),
        "baseline": found.baseline,
        "level": LEVEL,
        "differences": [
            {
                **of.settings, "test": of.test, "n": of.runs, "n_baseline": of.baseline_runs, "more": of.more,
                "less": of.less, "equal": of.equal, "difference": of.difference, "interval": of.interval,
                "p": of.p_value,
                "p_holm": of.corrected,
            }
            for of in found.versus
        ],
    }  # fmt: skip
    return json_text(document)


def _csv(found: ByImage) -> str:
    records = _images(found, found.hardest_first)
    return csv_text(list(records[0]), (record.values() for record in records))
